// Opens objects of SOURCE by the names they were last known to have. Used if their handles cannot
// be opened. meta/WHEREABOUTS.md describes how, and what happens if a name turns out to be wrong.
//
// Any thread. With Effort::kSearch a call may wait for running operations and walk the whole tree,
// so it must not be made inside the gate or with a lock held.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/source/whereabouts.h"

namespace tandem::meta {

enum class Effort {
  kAtOnce,  // fails if no name of the object is known, see IsNameUnknown
  kSearch,  // searches the tree if need be
};

// Returns whether an open with kAtOnce failed because the tree would have to be searched.
bool IsNameUnknown(const Error& error);

class NameResolver {
 public:
  // `root_fd` is borrowed. `mount_id` is the id of the mount that the volume is on.
  NameResolver(int root_fd, int mount_id, size_t max_objects = Whereabouts::kMaxObjects)
      : root_fd_(root_fd), mount_id_(mount_id), whereabouts_(max_objects) {}

  Whereabouts& whereabouts() { return whereabouts_; }
  // `settle` waits until every operation that has changed something has recorded it. Set it before
  // the first search, and reset it to an empty function before what it refers to is destroyed.
  void SetSettle(std::function<Status()> settle) { settle_ = std::move(settle); }

  // Returns an O_PATH descriptor, or nullopt if the object is gone.
  Result<std::optional<UniqueFd>> Open(const ObjectId& object, Effort effort)
      EXCLUDES(search_mutex_);
  // Notes the names of all these objects. Makes one search for those whose names are not known.
  Status Locate(std::span<const ObjectId> objects) EXCLUDES(search_mutex_);
  // Returns the latest name of an object that is gone although no operation is known to have
  // removed that name. Returns each such name once.
  std::optional<EntryKey> TakeLostName(const ObjectId& object);
  // Returns the object's latest path relative to the root, such as "a/b". Empty if it is not known.
  std::string PathOf(const ObjectId& object);
  // Makes running and future searches return kCancelled.
  void StopSearching() { stopped_ = true; }

  uint64_t searches() const { return searches_; }

 private:
  struct Found {
    UniqueFd fd;  // invalid if all known names lead to other objects or nowhere
    bool nameless = false;
    uint64_t version = 0;                         // of what the table knew of it
    std::vector<std::vector<std::string>> tried;  // the paths that were tried
    bool settled() const { return fd.valid() || nameless; }
  };
  // A directory that a search visits.
  struct Place {
    ObjectId id;
    std::shared_ptr<const Place> parent;  // null if this is the root
    std::string name;
  };
  using Wanted = std::unordered_set<ObjectId>;

  Result<Found> TryNames(const ObjectId& object);
  Result<Found> TryNamesForSure(const ObjectId& object);
  // Returns the names from the root down to (parent, name), or nullopt if the name of a directory
  // above is not known.
  std::optional<std::vector<std::string>> NamesDownTo(const EntryKey& entry);
  // Returns an invalid descriptor if the path leads nowhere.
  Result<UniqueFd> OpenDown(const std::vector<std::string>& names) const;
  // Returns whether `fd` is open on this object, on the volume's mount.
  Result<bool> IsObject(const UniqueFd& fd, const ObjectId& object) const;
  Result<std::optional<UniqueFd>> OpenOrSearch(const ObjectId& object) EXCLUDES(search_mutex_);
  bool KnowsAll() const REQUIRES(search_mutex_);

  // Walks the tree. Notes the names of the objects in `wanted` and of all directories, and other
  // names as far as there is room. Removes from `wanted` the objects it meets.
  Status Search(Wanted& wanted) REQUIRES(search_mutex_);
  Status Visit(const std::shared_ptr<const Place>& place, Wanted& wanted,
               std::vector<std::shared_ptr<const Place>>& left) REQUIRES(search_mutex_);
  Status Settle() const { return settle_ ? settle_() : Status(); }
  static std::vector<std::string> NamesOf(const Place& place);

  const int root_fd_;
  const int mount_id_;
  Whereabouts whereabouts_;
  std::function<Status()> settle_;
  std::atomic<uint64_t> searches_{0};
  std::atomic<bool> stopped_{false};
  // Set if openat2 is not available; then every name is opened separately.
  mutable std::atomic<bool> one_by_one_{false};

  Mutex search_mutex_;
  // The value of Whereabouts::forgotten() before the last complete search began. Nullopt if none
  // has completed.
  std::optional<uint64_t> forgotten_before_ GUARDED_BY(search_mutex_);
  // The error, if the last search could not enter a directory in which the object may be.
  std::optional<Error> skipped_directory_error_ GUARDED_BY(search_mutex_);
};

}  // namespace tandem::meta
