// gate_stall DIRECTORY OBJECTS SECONDS: eight writers of 4 KiB each about every millisecond, beside
// a thread that keeps the disk busy with fsync, a cut every ten milliseconds, a look at what is
// pending every second, and a replica that is away and is owed OBJECTS changed objects. Without a
// mount: what is measured is capture alone. Prints the 99th percentile and the maximum, in
// milliseconds, of how long an operation waited to begin; then the same without any cuts.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "meta/capture/recovery.h"
#include "meta/capture/tracker.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kWriters = 8;
constexpr uint64_t kFileBytes = 16 << 20;

template <typename T>
T Must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "gate_stall: %s\n", result.error().ToString().c_str());
    std::exit(EXIT_FAILURE);
  }
  return std::move(*result);
}

class Bench {
 public:
  explicit Bench(const std::string& directory)
      : source_(directory + "/source"),
        root_((std::filesystem::create_directories(source_),
               open(source_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC))),
        tree_(Must(SourceTree::Open(root_.get()))) {
    const std::string state = directory + "/state";
    std::filesystem::create_directories(state);
    StateDatabase database = Must(StateDatabase::Open(state));
    Tracker::Recovered recovered = Must(Recover(database, tree_));
    writer_ = std::make_unique<StateWriter>(std::move(database));
    spill_ = std::make_unique<Spill>(state, Spill::Limits());
    tracker_ = std::make_unique<Tracker>(tree_, *writer_, *spill_, std::move(recovered));
  }

  // As if so many files had been made while a replica was away.
  void MakePending(uint64_t objects) {
    constexpr uint64_t kInADirectory = 1000;
    for (uint64_t i = 0; i < objects; ++i) {
      const ObjectRef directory{ObjectId(1, i / kInADirectory), tree_.root().handle};
      const ObjectRef file{ObjectId(2, i), tree_.root().handle};
      Operation operation = Must(tracker_->Begin(Intent().Entries(directory)));
      operation.SetEntry(directory, std::to_string(i), file.id, ObjectId());
      operation.Born(file);
      operation.End();
      // Layers pile up, as they do with another replica that follows.
      if (i % (objects / 50 + 1) == 0) Must(tracker_->TakeCut(tracker_->open_epoch()));
    }
  }

  // How long each operation waited, in milliseconds, in order of size.
  std::vector<double> Measure(std::chrono::seconds time, bool cuts) {
    std::atomic<bool> stop{false};
    std::vector<std::vector<double>> waits(kWriters);
    std::vector<std::thread> threads;
    for (int i = 0; i < kWriters; ++i) {
      threads.emplace_back([&, i] { Write(i, stop, waits[static_cast<size_t>(i)]); });
    }
    threads.emplace_back([&] { KeepDiskBusy(stop); });
    if (cuts) threads.emplace_back([&] { Cut(stop); });
    std::this_thread::sleep_for(time);
    stop = true;
    for (std::thread& thread : threads) thread.join();
    std::vector<double> all;
    for (const auto& one : waits) all.insert(all.end(), one.begin(), one.end());
    std::ranges::sort(all);
    return all;
  }

 private:
  void Write(int number, const std::atomic<bool>& stop, std::vector<double>& waits) {
    const std::string name = "file" + std::to_string(number);
    const UniqueFd fd(open((source_ + "/" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    const ObjectRef file = *Must(tree_.Lookup(root_.get(), name.c_str()));
    const std::string bytes(4096, 'x');
    std::mt19937_64 random(static_cast<uint64_t>(number));
    while (!stop) {
      const ByteRange range = ByteRange::Of(random() % kFileBytes, bytes.size());
      const auto begun = Clock::now();
      Operation operation = Must(tracker_->Begin(Intent().Data(file, range)));
      waits.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
      if (pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(range.start)) < 0) {
        std::perror("pwrite");
      }
      operation.Wrote(file, range);
      operation.End();
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  void KeepDiskBusy(const std::atomic<bool>& stop) const {
    const UniqueFd fd(
        open((source_ + "/busy").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    const std::string bytes(1 << 20, 'y');
    while (!stop) {
      if (pwrite(fd.get(), bytes.data(), bytes.size(), 0) < 0 || fsync(fd.get()) != 0) {
        std::perror("fsync");
      }
    }
  }

  void Cut(const std::atomic<bool>& stop) {
    auto next_look = Clock::now();
    Epoch after = tracker_->open_epoch();
    while (!stop) {
      after = Must(tracker_->TakeCut(after))->cut().name.epoch;
      if (Clock::now() >= next_look) {
        tracker_->PendingAfter(Epoch());
        next_look += std::chrono::seconds(1);
      }
      std::this_thread::sleep_for(milliseconds(10));
    }
  }

  const std::string source_;
  const UniqueFd root_;
  const SourceTree tree_;
  std::unique_ptr<StateWriter> writer_;
  std::unique_ptr<Spill> spill_;
  std::unique_ptr<Tracker> tracker_;
};

int Run(const char* directory, uint64_t objects, std::chrono::seconds time) {
  Bench bench(directory);
  bench.MakePending(objects);
  for (const bool cuts : {true, false}) {
    const std::vector<double> waits = bench.Measure(time, cuts);
    std::printf("%.2f %.2f ", waits[waits.size() * 99 / 100], waits.back());
  }
  std::printf("\n");
  return 0;
}

}  // namespace
}  // namespace tandem::meta

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: gate_stall DIRECTORY OBJECTS SECONDS\n");
    return 2;
  }
  return tandem::meta::Run(argv[1], std::strtoull(argv[2], nullptr, 10),
                           std::chrono::seconds(std::atoi(argv[3])));
}
