// log_writer run DIRECTORY SEED: makes a store (lib/numbered_logs.h) and appends records until
//   SIGTERM; says of each on stdout, once it is written: NUMBER SECONDS.MICROSECONDS. Meanwhile
//   another thread merges what is full.
// log_writer check DIRECTORY: opens it as after a crash; prints the number of the last record.
//
// Everything is in the order in which LevelDB does it: a file is complete before a manifest names
// it, a manifest before CURRENT does, and CURRENT is another before what it no longer leads to
// goes.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/programs/lib/fd.h"
#include "tests/programs/lib/numbered_logs.h"
#include "tests/programs/lib/random.h"

namespace {

using tandem::programs::Fd;
using tandem::programs::RecordFile;

constexpr size_t kLogBytes = 64 << 10;
constexpr uint64_t kLongestPayload = 1000;
// Full files that are merged into one; of a kind, so that old records are rarely copied again.
constexpr size_t kMergedAtOnce = 4;

std::atomic<bool> stop = false;  // lock-free: set by a signal

[[noreturn]] void Die(const std::string& what) {
  fprintf(stderr, "%s: %s\n", what.c_str(), strerror(errno));
  exit(1);
}

void Append(const Fd& fd, const std::string& bytes) {
  if (write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    Die("write");
  }
}

// The files of the store as they are on disk. Any thread; a file that was made complete is only
// read, and only Merge removes it.
class Store {
 public:
  explicit Store(std::string directory) : directory_(std::move(directory)) {}

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  std::string NewName(const char* kind) { return std::to_string(++last_name_) + kind; }

  Fd Create(const std::string& name) const {
    Fd fd(open(Path(name).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0644));
    if (!fd.ok()) Die("create " + name);
    return fd;
  }
  // Under another name until it is complete.
  void Put(const std::string& name, const std::string& bytes) const {
    const std::string temporary = name + ".tmp";
    const Fd fd = Create(temporary);
    Append(fd, bytes);
    if (fsync(fd.get()) != 0) Die("fsync " + temporary);
    if (rename(Path(temporary).c_str(), Path(name).c_str()) != 0) Die("rename to " + name);
  }
  void Remove(const std::string& name) const {
    if (unlink(Path(name).c_str()) != 0) Die("unlink " + name);
  }

  // The log that was written so far ends with `last`; the next one.
  Fd BeginLog(uint64_t last) {
    const std::string name = NewName(".log");
    Fd fd = Create(name);
    const std::lock_guard lock(mutex_);
    if (!files_.empty()) files_.back().last = last;
    files_.push_back({name, last + 1, 0});
    SwitchManifest();
    return fd;
  }

  // Merges neighbours that are full, if there are enough of one kind. False: there are not.
  bool Merge() {
    std::vector<RecordFile> merged;
    {
      const std::lock_guard lock(mutex_);
      merged = FullOfOneKind();
    }
    if (merged.empty()) return false;
    std::string all, bytes;
    for (const RecordFile& file : merged) {
      if (!tandem::programs::ReadFile(Path(file.name), bytes)) Die("read " + file.name);
      all += bytes;
    }
    const RecordFile table = {NewName(".table"), merged.front().first, merged.back().last};
    Put(table.name, all);
    {
      const std::lock_guard lock(mutex_);
      auto at = files_.begin();
      while (at->first != table.first) ++at;
      at = files_.erase(at, at + static_cast<ptrdiff_t>(merged.size()));
      files_.insert(at, table);
      SwitchManifest();
    }
    for (const RecordFile& file : merged) Remove(file.name);
    return true;
  }

 private:
  // The size of a kind is that of the one before, times kMergedAtOnce, more or less.
  static int KindOf(const RecordFile& file) {
    int kind = 0;
    for (uint64_t n = (file.last - file.first) / 100; n >= kMergedAtOnce; n /= kMergedAtOnce)
      ++kind;
    return kind;
  }
  std::vector<RecordFile> FullOfOneKind() const {
    std::vector<RecordFile> found;
    for (const RecordFile& file : files_) {
      if (file.last == 0) break;
      if (!found.empty() && KindOf(found.back()) != KindOf(file)) found.clear();
      found.push_back(file);
      if (found.size() == kMergedAtOnce) return found;
    }
    return {};
  }

  // Needs mutex_.
  void SwitchManifest() {
    const std::string old = manifest_;
    manifest_ = "MANIFEST-" + NewName("");
    const Fd fd = Create(manifest_);
    Append(fd, tandem::programs::MakeManifest(files_));
    if (fsync(fd.get()) != 0) Die("fsync " + manifest_);
    Put("CURRENT", manifest_ + "\n");
    if (!old.empty()) Remove(old);
  }

  const std::string directory_;
  std::atomic<uint64_t> last_name_ = 0;
  std::mutex mutex_;
  std::vector<RecordFile> files_;
  std::string manifest_;
};

void MergeUntilStopped(Store& store) {
  while (!stop) {
    if (!store.Merge()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

void Note(uint64_t number) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  printf("%" PRIu64 " %jd.%06ld\n", number, static_cast<intmax_t>(now.tv_sec), now.tv_nsec / 1000);
}

// In bursts, so that the disk is not what ends the test.
void AppendUntilStopped(Store& store, uint64_t seed) {
  tandem::programs::Random random({seed});
  Fd log;
  size_t written = kLogBytes;
  std::vector<char> payload(kLongestPayload);
  for (uint64_t number = 1; !stop; ++number) {
    if (written >= kLogBytes) {
      log = store.BeginLog(number - 1);
      written = 0;
    }
    const std::span<char> bytes(payload.data(), random.Below(kLongestPayload));
    random.Fill(bytes);
    const std::string record = tandem::programs::MakeRecord(number, {bytes.data(), bytes.size()});
    Append(log, record);
    written += record.size();
    Note(number);
    if (random.OneIn(50) && fdatasync(log.get()) != 0) Die("fdatasync");
    if (random.OneIn(20)) {
      fflush(stdout);
      std::this_thread::sleep_for(std::chrono::milliseconds(random.Below(20)));
    }
  }
}

int Run(const std::string& directory, uint64_t seed) {
  signal(SIGTERM, [](int) { stop = true; });
  if (mkdir(directory.c_str(), 0755) != 0) Die("make " + directory);
  Store store(directory);
  std::thread merging([&store] { MergeUntilStopped(store); });
  AppendUntilStopped(store, seed);
  merging.join();
  return 0;
}

int Check(const std::string& directory) {
  uint64_t last = 0;
  const std::string failure = tandem::programs::CheckStore(directory, last);
  if (failure.empty()) {
    printf("%" PRIu64 "\n", last);
  } else {
    fprintf(stderr, "%s\n", failure.c_str());
  }
  return failure.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "run") == 0) return Run(argv[2], strtoull(argv[3], nullptr, 10));
  if (argc == 3 && strcmp(argv[1], "check") == 0) return Check(argv[2]);
  fprintf(stderr, "usage: %s run DIRECTORY SEED | check DIRECTORY\n", argv[0]);
  return 2;
}
