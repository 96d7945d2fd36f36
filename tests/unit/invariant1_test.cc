// Mark before change: at whatever moment the daemon is killed, what the state database says covers
// every change that a replica may lack. Threads change a directory through the tracker, cuts are
// taken and dropped, marks cool; meanwhile the database is copied again and again, as a kill would
// leave it, and recovered. Each change was noted down as soon as it stood in the directory, before
// the tracker was told of it.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "tests/unit/tracked_directory.h"

namespace tandem::meta {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

struct Change {
  enum class What { kData, kAttributes, kName } what;
  uint64_t epoch;
  ObjectRef object;  // of names: the directory
  ByteRange range;
  std::string name;
  std::string path;  // of the object; for messages
};

// What has been made in this run: no replica that is older than `epoch` has ever heard of it.
struct Birth {
  uint64_t epoch;
  ObjectId parent;
  std::string name;
};

class Journal {
 public:
  void Note(Change change) {
    const MutexLock lock(mutex_);
    changes_.push_back(std::move(change));
  }
  void NoteBirth(const ObjectId& object, Birth birth) {
    const MutexLock lock(mutex_);
    births_.emplace(object, std::move(birth));
  }
  size_t size() {
    const MutexLock lock(mutex_);
    return changes_.size();
  }
  std::vector<Change> First(size_t count) {
    const MutexLock lock(mutex_);
    return {changes_.begin(), changes_.begin() + static_cast<ptrdiff_t>(count)};
  }
  std::map<ObjectId, Birth> births() {
    const MutexLock lock(mutex_);
    return births_;
  }

 private:
  Mutex mutex_;
  std::vector<Change> changes_;
  std::map<ObjectId, Birth> births_;
};

// What a replica that has applied `applied` is going to be told after the recovery.
class Coverage {
 public:
  Coverage(const Tracker::Recovered& recovered, uint64_t applied, std::map<ObjectId, Birth> births)
      : applied_(applied), births_(std::move(births)) {
    for (const auto& layer : recovered.layers) {
      if (layer->cut.name.epoch.number() > applied) all_.MergeNewer(*layer);
    }
    all_.MergeNewer(recovered.open);
  }

  bool Covers(const Change& change) const {
    if (change.epoch <= applied_) return true;
    if (change.what == Change::What::kName) return ListsName(change.object.id, change.name);
    if (IsNewToReplica(change.object.id) && IsShippedWhole(change.object.id)) return true;
    const ObjectChange* pending = all_.Find(change.object.id);
    if (pending == nullptr) return false;
    if (change.what == Change::What::kAttributes) return pending->attributes == kAllAttributes;
    RangeSet covered = pending->data;
    covered.AddAll(pending->suspect);
    return covered.Contains(change.range);
  }

 private:
  bool IsNewToReplica(const ObjectId& object) const {
    const auto birth = births_.find(object);
    return birth != births_.end() && birth->second.epoch > applied_;
  }
  bool IsWhole(const ObjectId& object) const {
    const ObjectChange* pending = all_.Find(object);
    return pending != nullptr && pending->whole;
  }
  // By its own rows, or because the replica is shown a name that leads to it and asks.
  bool IsShippedWhole(const ObjectId& object) const {
    if (IsWhole(object)) return true;
    const Birth& birth = births_.at(object);
    return ListsName(birth.parent, birth.name);
  }
  bool ListsName(const ObjectId& directory, const std::string& name) const {
    const ObjectChange* pending = all_.Find(directory);
    if (pending != nullptr && (pending->listing || pending->entries.contains(name))) return true;
    // New to the replica and not known to be shipped by itself: it is walked with all its names.
    return IsNewToReplica(directory) && !IsWhole(directory) && IsShippedWhole(directory);
  }

  const uint64_t applied_;
  const std::map<ObjectId, Birth> births_;
  Layer all_;
};

class Mutator {
 public:
  Mutator(TrackedDirectory& directory, Journal& journal, int number)
      : directory_(directory), journal_(journal), random_(static_cast<unsigned>(number)) {
    home_ = "home" + std::to_string(number);
    Create(home_, true);
    for (int i = 0; i < 6; ++i) Create(home_ + "/file" + std::to_string(i), false);
  }

  // Works on a few objects for a while, so that the others cool.
  void Run(const std::atomic<bool>& stop) {
    while (!stop) {
      const auto end = Clock::now() + milliseconds(Number(700));
      const std::string focus = home_ + "/file" + std::to_string(Number(6));
      while (!stop && Clock::now() < end) {
        switch (Number(12)) {
          case 0:
            Create(home_ + "/new" + std::to_string(next_++), false);
            break;
          case 1:
            MakeSubdirectory();
            break;
          case 2:
            Chmod(focus);
            break;
          case 3:  // far off: the file outgrows its regions
            Write(focus, uint64_t{Number(40)} << 25);
            break;
          default:
            Write(focus, Number(16) << 20);
        }
        std::this_thread::sleep_for(milliseconds(Number(4)));
      }
    }
  }

 private:
  unsigned Number(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  uint64_t epoch() { return directory_.tracker().open_epoch().number(); }

  void Create(const std::string& path, bool is_directory) {
    const ObjectRef parent = directory_.Find(TrackedDirectory::ParentOf(path));
    const std::string name = TrackedDirectory::LeafOf(path);
    Operation operation = directory_.Begin(Intent().Entries(parent));
    if (is_directory) {
      mkdir(directory_.Path(path).c_str(), 0755);
    } else {
      UniqueFd(open(directory_.Path(path).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    }
    const ObjectRef made = directory_.Find(path);
    journal_.NoteBirth(made.id, {epoch(), parent.id, name});
    journal_.Note({Change::What::kName, epoch(), parent, {}, name, path});
    operation.SetEntry(parent, name, made.id, ObjectId());
    operation.Born(made);
  }
  void MakeSubdirectory() {
    const std::string path = home_ + "/directory" + std::to_string(next_++);
    Create(path, true);
    Create(path + "/file", false);
    Write(path + "/file", 0);
    Create(path + "/below", true);
    Create(path + "/below/file", false);
  }
  void Write(const std::string& path, uint64_t offset) {
    const ObjectRef file = directory_.Find(path);
    const ByteRange range = ByteRange::Of(offset, 1 + Number(3000));
    Operation operation = directory_.Begin(Intent().Data(file, range));
    const UniqueFd fd(open(directory_.Path(path).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(pwrite(fd.get(), "x", 1, static_cast<off_t>(offset)), 1);
    journal_.Note({Change::What::kData, epoch(), file, range, {}, path});
    if (Number(20) == 0) std::this_thread::sleep_for(milliseconds(Number(30)));
    operation.Wrote(file, range);
  }
  void Chmod(const std::string& path) {
    const ObjectRef file = directory_.Find(path);
    Operation operation = directory_.Begin(Intent().Attributes(file));
    ASSERT_EQ(chmod(directory_.Path(path).c_str(), 0600 | Number(077)), 0);
    journal_.Note({Change::What::kAttributes, epoch(), file, {}, {}, path});
    operation.ChangedAttributes(file, kAllAttributes);
  }

  TrackedDirectory& directory_;
  Journal& journal_;
  std::mt19937 random_;
  std::string home_;
  unsigned next_ = 0;
};

// The file as it is, however it grows meanwhile. The log only grows (nobody checkpoints here), and
// a beginning of it is what some instant left.
void Copy(const std::string& from, const std::string& to) {
  std::ifstream in(from, std::ios::binary);
  std::ofstream(to, std::ios::binary) << in.rdbuf();
}

TEST(Invariant1, EveryChangeIsCoveredWheneverTheDaemonIsKilled) {
  constexpr int kThreads = 4;
  constexpr int kCopies = 40;
  TrackedDirectory directory;
  Journal journal;
  test::Scratch copies;
  std::atomic<bool> stop{false};
  std::vector<std::unique_ptr<Mutator>> mutators;
  for (int i = 0; i < kThreads; ++i) {
    mutators.push_back(std::make_unique<Mutator>(directory, journal, i));
  }
  std::vector<std::thread> threads;
  for (const auto& mutator : mutators) threads.emplace_back([&] { mutator->Run(stop); });

  // A replica that follows for some time, then stays away for some, so that layers pile up.
  std::atomic<uint64_t> dropped{0};
  threads.emplace_back([&] {
    std::mt19937 random(99);
    while (!stop) {
      const auto cut = directory.tracker().TakeCut(Epoch(dropped));
      ASSERT_TRUE(cut) << cut.error().ToString();
      if (random() % 40 == 0) std::this_thread::sleep_for(milliseconds(random() % 2500));
      if (random() % 3 == 0) {
        dropped = (*cut)->cut().name.epoch.number();
        ASSERT_TRUE(directory.tracker().DropThrough((*cut)->cut().name.epoch));
      }
      std::this_thread::sleep_for(milliseconds(random() % 30));
    }
  });

  size_t checked = 0;
  std::mt19937 random(5);
  for (int i = 0; i < kCopies; ++i) {
    std::this_thread::sleep_for(milliseconds(random() % 500));
    const std::string copy = copies.Directory(std::to_string(i));
    const size_t made = journal.size();
    for (const char* file : {"/state.db", "/state.db-wal"})
      Copy(directory.state() + file, copy + file);
    const uint64_t applied = dropped;

    StateDatabase database = std::move(StateDatabase::Open(copy).value());
    const auto recovered = Recover(database, directory.tree());
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    const Coverage coverage(*recovered, applied, journal.births());
    const std::vector<Change> changes = journal.First(made);
    for (const Change& change : changes) {
      EXPECT_TRUE(coverage.Covers(change))
          << "copy " << i << ", epoch " << change.epoch << " (applied: " << applied << "), "
          << change.path << (change.what == Change::What::kData ? " data at " : " ")
          << change.range.start;
      checked += change.epoch > applied ? 1 : 0;
    }
    if (testing::Test::HasFailure()) break;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(checked, 0u);
}

}  // namespace
}  // namespace tandem::meta
