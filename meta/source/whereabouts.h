// The table of the names that objects were last known to have, for sources whose handles cannot be
// opened (meta/WHEREABOUTS.md). It is bounded: the objects that have not been looked up for longest
// are forgotten first.
//
// Any thread, also inside the gate. Its mutexes are leaves.
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
  // A path with more names is a cycle, made of names that were noted at different times.
  static constexpr size_t kMaxDepth = size_t{1} << 14;

  explicit Whereabouts(size_t max_objects = kMaxObjects);

  struct Known {
    std::vector<EntryKey> names;  // the latest first
    // The object has none of these names any more. Only an operation through the mount can give it
    // one.
    bool nameless = false;
    // Changes whenever anything about the object is noted. 0 if nothing is known of the object.
    uint64_t version = 0;
  };
  Known Find(const ObjectId& object);
  // Returns the latest name, or nullopt if none is known.
  std::optional<EntryKey> NameOf(const ObjectId& object);

  // Notes that the object once had this name. Does nothing if anything is known of the object, or
  // if another object would have to be forgotten.
  void NoteFormer(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // Notes that the object was seen under this name.
  void Note(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // Does the same, unless another object would have to be forgotten.
  void NoteIfRoom(const ObjectId& object, const ObjectId& parent, std::string_view name);
  // Notes that an operation has given the object this name. A running search must look there too.
  void NoteNameAdded(const ObjectId& object, const ObjectId& parent, std::string_view name);
  enum class OtherNames { kNone, kMaybe };
  // Notes that an operation has removed this name. `others` says whether the object may have other
  // names.
  void NoteNameRemoved(const ObjectId& object, const ObjectId& parent, std::string_view name,
                       OtherNames others);
  // Notes that the object has no name.
  void NoteNameless(const ObjectId& object);
  // Does the same, unless something has been noted of the object since `version` was read. Keeps
  // its names, which no operation is known to have removed.
  void NoteNamelessUnlessChanged(const ObjectId& object, uint64_t version);

  // Returns how many objects with a name have been forgotten. While this is 0, an object that is
  // not in the table has never been noted under a name.
  uint64_t forgotten() const { return forgotten_; }

  // ---- For a search ----
  // Until StopWatching, NoteNameAdded records the objects for TakeNewlyNamed.
  void StartWatching() EXCLUDES(newly_named_mutex_);
  // Returns the recorded objects and forgets them, or nullopt if there were too many.
  std::optional<std::vector<ObjectId>> TakeNewlyNamed() EXCLUDES(newly_named_mutex_);
  void StopWatching() EXCLUDES(newly_named_mutex_);

  // ---- For the state database ----
  struct Row {
    ObjectId object;
    EntryKey name;
  };
  // Returns the rows of the object and of the directories above it that the database does not hold
  // yet. From now on they count as written.
  std::vector<Row> TakeUnwritten(const ObjectId& object);
  // From now on no row counts as written.
  void ForgetWritten() { ++generation_; }
  // Returns the rows of objects that got another name after their row was written. They count as
  // written again.
  std::vector<Row> TakeOutdated() EXCLUDES(outdated_mutex_);

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kMaxNames = 4;

  struct Entry {
    std::vector<EntryKey> names;
    bool nameless = false;
    bool used = false;     // looked up since it was last considered for being forgotten
    uint32_t written = 0;  // the generation_ in which its row was written
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
