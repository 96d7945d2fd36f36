#include "tests/programs/lib/numbered_logs.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "tests/programs/lib/fd.h"

namespace tandem::programs {
namespace {

constexpr size_t kHeaderBytes = 8 + 8 + 4;
constexpr size_t kPageBytes = 4096;

// FNV-1a.
uint64_t Checksum(std::string_view bytes, uint64_t start = 0xcbf29ce484222325) {
  for (const char byte : bytes) {
    start = (start ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }
  return start;
}

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

template <typename T>
T Take(std::string_view& bytes) {
  T value;
  memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

uint64_t ChecksumOf(uint64_t number, std::string_view payload) {
  return Checksum(payload, Checksum(BytesOf(number)));
}

// Takes whole records, from `next` on, out of `bytes`; what is left is part of one. Empty: they are
// what they were.
std::string TakeRecords(std::string_view& bytes, uint64_t& next) {
  for (; bytes.size() >= kHeaderBytes; ++next) {
    const std::string record = "record " + std::to_string(next) + " ";
    std::string_view rest = bytes;
    const auto number = Take<uint64_t>(rest);
    const auto checksum = Take<uint64_t>(rest);
    const auto length = Take<uint32_t>(rest);
    if (number != next) return record + "is called " + std::to_string(number);
    if (rest.size() < length) return {};
    if (checksum != ChecksumOf(number, rest.substr(0, length))) return record + "is damaged";
    bytes = rest.substr(length);
  }
  return {};
}

std::string CheckFile(const RecordFile& file, std::string_view bytes, uint64_t& next) {
  const bool may_end_anywhere = file.last == 0 && bytes.size() % kPageBytes == 0;
  std::string why = TakeRecords(bytes, next);
  if (!why.empty()) return why;
  if (!bytes.empty() && !may_end_anywhere) {
    return "of record " + std::to_string(next) + " there are " + std::to_string(bytes.size()) +
           " bytes";
  }
  if (file.last != 0 && file.last + 1 != next) return "ends before record " + std::to_string(next);
  return {};
}

}  // namespace

std::string MakeRecord(uint64_t number, std::string_view payload) {
  std::string record;
  record += BytesOf(number);
  record += BytesOf(ChecksumOf(number, payload));
  record += BytesOf(static_cast<uint32_t>(payload.size()));
  record += payload;
  return record;
}

std::string MakeManifest(const std::vector<RecordFile>& files) {
  std::ostringstream manifest;
  for (const RecordFile& file : files) {
    manifest << file.name << " " << file.first << " " << file.last << "\n";
  }
  return manifest.str() + "end " + std::to_string(Checksum(manifest.str())) + "\n";
}

bool ReadManifest(const std::string& bytes, std::vector<RecordFile>& files) {
  const size_t end = bytes.rfind("end ");
  if (end == std::string::npos) return false;
  const std::string lines = bytes.substr(0, end);
  if (bytes.substr(end) != "end " + std::to_string(Checksum(lines)) + "\n") return false;
  std::istringstream in(lines);
  files.clear();
  for (RecordFile file; in >> file.name >> file.first >> file.last;) files.push_back(file);
  return !files.empty();
}

bool ReadFile(const std::string& path, std::string& bytes) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return false;
  bytes.clear();
  char part[1 << 16];
  ssize_t count = 0;
  while ((count = read(fd.get(), part, sizeof part)) > 0) {
    bytes.append(part, static_cast<size_t>(count));
  }
  return count == 0;
}

std::string CheckStore(const std::string& directory, uint64_t& last) {
  std::string current, bytes;
  if (!ReadFile(directory + "/CURRENT", current)) return "no CURRENT";
  if (!current.starts_with("MANIFEST-") || !current.ends_with('\n')) {
    return "CURRENT says: " + current;
  }
  current.pop_back();
  if (!ReadFile(directory + "/" + current, bytes)) return current + " is not there";
  std::vector<RecordFile> files;
  if (!ReadManifest(bytes, files)) return current + " is not whole: " + bytes;
  uint64_t next = 1;
  for (const RecordFile& file : files) {
    const std::string failure = file.name + " (of " + current + "): ";
    if (file.first != next) return failure + "does not begin where the one before ends";
    if (file.last == 0 && &file != &files.back()) return failure + "is not the last one";
    if (!ReadFile(directory + "/" + file.name, bytes)) return failure + strerror(errno);
    const std::string why = CheckFile(file, bytes, next);
    if (!why.empty()) return failure + why;
  }
  last = next - 1;
  return {};
}

}  // namespace tandem::programs
