// Where objects were last known to be, for filesystems whose handles cannot be opened
// (meta/WHEREABOUTS.md). A bounded table: what has not been asked for longest is forgotten first.
//
// Any thread; may be called inside the gate. Its mutexes are leaves.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"

namespace tandem::meta {

class Whereabouts {
 public:
  static constexpr size_t kMaxObjects = size_t{1} << 18;

  explicit Whereabouts(size_t max_objects = kMaxObjects);

  struct Known {
    std::vector<EntryKey> names;  // the latest first
    // It has none of these any more, and gets one only by an operation through the mount.
    bool nameless = false;
    // Changes whenever anything is noted of the object; 0: nothing is known.
    uint64_t version = 0;
  };
  Known Find(const ObjectId& object);
  // The latest name. Nothing: unknown, or it has none.
  std::optional<EntryKey> NameOf(const ObjectId& object);

  // The object had this name once; counts if nothing better is known.
  void NoteFormer(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // The object was seen under this name.
  void Note(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // The same, if that forgets no other.
  void NoteIfRoom(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // An operation has given it this name: a search that is under way has to look there too.
  void NoteNameAdded(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // An operation has taken this name away, its last one or not.
  enum class OtherNames { kNone, kMaybe };
  void NoteNameRemoved(const ObjectId& object, const ObjectId& parent, std::string_view name,
                       OtherNames others);
  void NoteNameless(const ObjectId& object);
  // The same, if nothing has been noted of it since `version` was read; what it was called, while
  // no operation has taken that, is remembered.
  void NoteNamelessUnlessChanged(const ObjectId& object, uint64_t version);

  // Named objects forgotten so far: what is not known now was never met if this is still 0.
  uint64_t forgotten() const { return forgotten_; }

  // ---- For a search ----
  // From here on NoteNameAdded remembers objects for TakeNewlyNamed, until StopWatching.
  void StartWatching() EXCLUDES(newly_named_mutex_);
  // Nothing: too many to remember.
  std::optional<std::vector<ObjectId>> TakeNewlyNamed() EXCLUDES(newly_named_mutex_);
  void StopWatching() EXCLUDES(newly_named_mutex_);

  // ---- For the state database ----
  struct Row {
    ObjectId object;
    EntryKey name;
  };
  // What was not written down as it is, of the object and the directories above; they count as
  // written from now on.
  std::vector<Row> TakeUnwritten(const ObjectId& object);
  // Nothing counts as written any more.
  void ForgetWritten() { ++generation_; }
  // What was written down, and has got another name since.
  std::vector<Row> TakeOutdated() EXCLUDES(outdated_mutex_);

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kMaxNames = 4;

  struct Entry {
    std::vector<EntryKey> names;
    bool nameless = false;
    bool used = false;     // since it was last considered for being forgotten
    uint32_t written = 0;  // in which `generation_`
    uint64_t version = 0;
    std::list<ObjectId>::iterator place;
  };
  struct Shard {
    Mutex mutex;
    std::unordered_map<ObjectId, Entry> objects GUARDED_BY(mutex);
    std::list<ObjectId> order GUARDED_BY(mutex);
  };

  Shard& ShardOf(const ObjectId& object) { return shards_[object.low() % kShards]; }
  Entry& EntryOf(Shard& shard, const ObjectId& object) REQUIRES(shard.mutex);
  void AddName(const ObjectId& object, const ObjectId& parent, std::string_view name,
               bool only_if_room);
  void ForgetOldest(Shard& shard) REQUIRES(shard.mutex);

  const size_t max_in_shard_;
  std::array<Shard, kShards> shards_;
  std::atomic<uint64_t> last_version_{0};
  std::atomic<uint64_t> forgotten_{0};
  std::atomic<uint32_t> generation_{1};

  std::atomic<bool> watching_{false};
  Mutex newly_named_mutex_;
  std::vector<ObjectId> newly_named_ GUARDED_BY(newly_named_mutex_);
  bool newly_named_overflow_ GUARDED_BY(newly_named_mutex_) = false;

  Mutex outdated_mutex_;
  std::vector<ObjectId> outdated_ GUARDED_BY(outdated_mutex_);
};

}  // namespace tandem::meta
