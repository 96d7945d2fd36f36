#include "tests/programs/lib/compare_object.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "tests/programs/lib/compare_xattrs.h"
#include "tests/programs/lib/escape.h"

namespace tandem::compare {
namespace {

bool Stat(std::string_view path, Object* object, Report* report) {
  if (fstatat(object->at.directory, object->at.name, &object->stat, AT_SYMLINK_NOFOLLOW) == 0) {
    return true;
  }
  report->Error(object->at.side, path, "lstat", errno);
  return false;
}

std::string Octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}

std::string Time(const timespec& time) {
  char text[48];
  std::snprintf(text, sizeof text, "%" PRId64 ".%09ld", static_cast<int64_t>(time.tv_sec),
                time.tv_nsec);
  return text;
}

std::string Device(dev_t device) {
  return std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

void CompareText(const ObjectPair& pair, const char* what, const std::string& a,
                 const std::string& b, Report* report) {
  if (a != b) report->Difference(pair.path, what, a, b);
}

void CompareNumber(const ObjectPair& pair, const char* what, uint64_t a, uint64_t b,
                   Report* report) {
  CompareText(pair, what, std::to_string(a), std::to_string(b), report);
}

// Preallocation and the filesystem's own rounding make small differences.
void CompareAllocation(const ObjectPair& pair, Report* report) {
  constexpr uint64_t kBlock = 512;
  constexpr uint64_t kNegligible = 1 << 20;
  const uint64_t a = static_cast<uint64_t>(pair.a.stat.st_blocks) * kBlock;
  const uint64_t b = static_cast<uint64_t>(pair.b.stat.st_blocks) * kBlock;
  const auto [smaller, larger] = std::minmax(a, b);
  if (larger - smaller <= std::max(kNegligible, smaller / 4)) return;
  CompareNumber(pair, "allocated bytes", a, b, report);
}

bool ReadTarget(std::string_view path, const Object& object, std::string* target, Report* report) {
  std::vector<char> buffer(static_cast<size_t>(object.stat.st_size) + 4096);
  const ssize_t length =
      readlinkat(object.at.directory, object.at.name, buffer.data(), buffer.size());
  if (length < 0) {
    report->Error(object.at.side, path, "readlink", errno);
    return false;
  }
  target->assign(buffer.data(), static_cast<size_t>(length));
  return true;
}

void CompareTargets(const ObjectPair& pair, Report* report) {
  std::string a;
  std::string b;
  if (!ReadTarget(pair.path, pair.a, &a, report) || !ReadTarget(pair.path, pair.b, &b, report)) {
    return;
  }
  CompareText(pair, "symlink target", programs::Escape(a), programs::Escape(b), report);
}

}  // namespace

bool Examine(ObjectPair* pair, Report* report) {
  const bool a = Stat(pair->path, &pair->a, report);
  const bool b = Stat(pair->path, &pair->b, report);
  return a && b;
}

std::string KindName(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "FIFO";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "character device";
    case S_IFBLK:
      return "block device";
    default:
      return "unknown kind";
  }
}

void CompareAttributes(const ObjectPair& pair, const Options& options, Report* report) {
  const struct stat& a = pair.a.stat;
  const struct stat& b = pair.b.stat;
  CompareText(pair, "mode", Octal(a.st_mode), Octal(b.st_mode), report);
  CompareNumber(pair, "uid", a.st_uid, b.st_uid, report);
  CompareNumber(pair, "gid", a.st_gid, b.st_gid, report);
  if (options.mtime) {
    CompareText(pair, "mtime", Time(a.st_mtim), Time(b.st_mtim), report);
  }
  if (options.atime) {
    CompareText(pair, "atime", Time(a.st_atim), Time(b.st_atim), report);
  }
  if (!S_ISDIR(a.st_mode)) {
    CompareNumber(pair, "link count", a.st_nlink, b.st_nlink, report);
  }
  if (S_ISREG(a.st_mode) || S_ISLNK(a.st_mode)) {
    CompareNumber(pair, "size", a.st_size, b.st_size, report);
  }
  if (S_ISREG(a.st_mode) && options.holes) CompareAllocation(pair, report);
  if (S_ISCHR(a.st_mode) || S_ISBLK(a.st_mode)) {
    CompareText(pair, "device number", Device(a.st_rdev), Device(b.st_rdev), report);
  }
  if (S_ISLNK(a.st_mode)) CompareTargets(pair, report);
  CompareXattrs(pair, report);
}

}  // namespace tandem::compare
