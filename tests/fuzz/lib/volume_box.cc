#include "tests/fuzz/lib/volume_box.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "replica/apply/tuning.h"
#include "tests/fuzz/lib/fuzz.h"

namespace tandem::fuzz {
namespace {

namespace stdfs = std::filesystem;

constexpr char kCanary[] = "nobody writes here";

std::set<std::string> NamesIn(const std::string& directory) {
  std::set<std::string> names;
  for (const auto& entry : stdfs::directory_iterator(directory))
    names.insert(entry.path().filename());
  return names;
}

struct stat StatOf(const std::string& path) {
  struct stat found = {};
  Require(lstat(path.c_str(), &found) == 0, "what stands outside stays there");
  return found;
}

void CheckUntouched(const std::string& path, mode_t mode, nlink_t links) {
  const struct stat now = StatOf(path);
  Require(now.st_mode == mode, "what stands outside keeps its kind and mode");
  Require(now.st_nlink == links, "what stands outside gets no more names");
  Require(now.st_uid == getuid() && now.st_mtim.tv_sec == 1000,
          "what stands outside keeps its owner and times");
}

void SetTime(const std::string& path) {
  const timespec times[2] = {{1000, 0}, {1000, 0}};
  Require(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0, "a time can be set");
}

// A volume writes its spare files full; they are there already, and take no time.
void MakeSpares(const std::string& stage) {
  stdfs::create_directory(stage);
  const auto make = [&stage](const std::string& name, uint64_t bytes) {
    PutFile(stage + "/" + name, "");
    stdfs::resize_file(stage + "/" + name, bytes);
  };
  for (int i = 0; i < 2; ++i) make("spare." + std::to_string(i), replica::kSpareStageBytes);
  for (int i = 0; i < replica::kSpareObjects; ++i) {
    make("spare.object." + std::to_string(i), replica::kSpareObjectBytes);
  }
}

}  // namespace

VolumeBox::VolumeBox()
    : box_(ScratchPath() + "/box"), outside_(box_ + "/outside"), path_(box_ + "/store/" + kName) {
  std::error_code ignored;
  stdfs::remove_all(box_, ignored);
  stdfs::create_directories(outside_ + "/inner");
  stdfs::create_directories(path_);
  PutFile(outside_ + "/canary", kCanary);
  for (const char* name : {"/canary", "/inner", ""}) SetTime(outside_ + name);
  const UniqueFd fd(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Require(replica::Volume::Prepare(fd.get(), {kVolume, kName}).has_value(), "a volume can be made");
  MakeSpares(path_ + "/stage");
  Open();
}

VolumeBox::~VolumeBox() { volume_.reset(); }

void VolumeBox::Open() {
  UniqueFd fd(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto opened = replica::Volume::Open(std::move(fd), path_, {kVolume, kName});
  if (!opened) fprintf(stderr, "%s\n", opened.error().ToString().c_str());
  Require(opened.has_value(), "a volume opens, whatever it was told");
  volume_ = std::move(*opened);
}

void VolumeBox::Reopen() {
  volume_.reset();
  Open();
}

void VolumeBox::CheckContained() const {
  Require(NamesIn(box_) == std::set<std::string>{"outside", "store"},
          "nothing is beside the store");
  Require(NamesIn(box_ + "/store") == std::set<std::string>{kName}, "nothing is beside the volume");
  Require(NamesIn(outside_) == std::set<std::string>{"canary", "inner"}, "nothing is made outside");
  Require(NamesIn(outside_ + "/inner").empty(), "nothing is made outside");
  CheckUntouched(outside_, S_IFDIR | 0755, 3);
  CheckUntouched(outside_ + "/inner", S_IFDIR | 0755, 2);
  CheckUntouched(outside_ + "/canary", S_IFREG | 0600, 1);
  std::ifstream canary(outside_ + "/canary");
  Require(std::string(std::istreambuf_iterator<char>(canary), {}) == kCanary,
          "nothing is written outside");
  static const std::set<std::string> own = {"volume", "applied", "applied.spare", "tree", "stage"};
  for (const std::string& name : NamesIn(path_)) {
    const bool is_database = name.starts_with("replica.db") || name.starts_with("chunks.db");
    Require(own.contains(name) || is_database, "a volume has only its own files");
  }
}

}  // namespace tandem::fuzz
