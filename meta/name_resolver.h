// Opens objects of SOURCE by the names they were last known to have, where their handles cannot be
// opened. How, and what is done when a name turns out to be wrong: meta/WHEREABOUTS.md.
//
// Any thread. With Effort::kSearch it may wait for running operations and walk the whole tree: not
// inside the gate, and with no lock held.
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
#include "meta/whereabouts.h"

namespace tandem::meta {

enum class Effort {
  kAtOnce,  // what is not known is an error, see IsUnknown
  kSearch,
};

// Where the object is would have to be searched for.
bool IsUnknown(const Error& error);

class NameResolver {
 public:
  // `root_fd` is borrowed; `mount_id` is that of the mount the volume stands on.
  NameResolver(int root_fd, int mount_id, size_t max_objects = Whereabouts::kMaxObjects)
      : root_fd_(root_fd), mount_id_(mount_id), whereabouts_(max_objects) {}

  Whereabouts& whereabouts() { return whereabouts_; }
  // Waits until every operation that has changed something has recorded it. To be set before the
  // first search, and taken away (empty) before what it needs goes.
  void SetSettle(std::function<Status()> settle) { settle_ = std::move(settle); }

  // O_PATH. Nothing: the object is gone.
  Result<std::optional<UniqueFd>> Open(const ObjectId& object, Effort effort)
      EXCLUDES(search_mutex_);
  // Finds out where all of these are, those that are not known by one search.
  Status Locate(std::span<const ObjectId> objects) EXCLUDES(search_mutex_);
  // The latest name of an object that is gone though no operation is known to have taken that name;
  // said once.
  std::optional<EntryKey> TakeLostName(const ObjectId& object);
  // Its latest name, from the root down: "a/b". Empty: unknown.
  std::string PathOf(const ObjectId& object);
  // From here on a search ends with kCancelled.
  void StopSearching() { stopped_ = true; }

  uint64_t searches() const { return searches_; }

 private:
  struct Found {
    UniqueFd fd;  // invalid: its names lead to something else, or nowhere
    bool nameless = false;
    uint64_t version = 0;
    std::vector<std::vector<std::string>> tried;
    bool settled() const { return fd.valid() || nameless; }
  };
  // A directory on the way of a search.
  struct Place {
    ObjectId id;
    std::shared_ptr<const Place> parent;  // null: the root
    std::string name;
  };
  using Wanted = std::unordered_set<ObjectId>;

  Result<Found> TryNames(const ObjectId& object);
  Result<Found> TryNamesForSure(const ObjectId& object);
  // The names from the root down to (parent, name). Nothing: a directory above is unknown.
  std::optional<std::vector<std::string>> NamesDownTo(const EntryKey& entry);
  // Invalid: it leads nowhere.
  Result<UniqueFd> OpenDown(const std::vector<std::string>& names) const;
  // What a name leads to is the object, on the volume's mount.
  Result<bool> IsObject(const UniqueFd& fd, const ObjectId& object) const;
  Result<std::optional<UniqueFd>> OpenOrSearch(const ObjectId& object) EXCLUDES(search_mutex_);
  bool KnowsAll() const REQUIRES(search_mutex_);

  // Notes where the wanted are, and what else there is room for; takes from `wanted` what it met.
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
  // openat2 is refused here.
  mutable std::atomic<bool> one_by_one_{false};

  Mutex search_mutex_;
  // Of the last search that came to its end: how much had been forgotten before it began, and, if a
  // directory of our own could not be entered, that error.
  std::optional<uint64_t> forgotten_before_ GUARDED_BY(search_mutex_);
  std::optional<Error> skipped_directory_error_ GUARDED_BY(search_mutex_);
};

}  // namespace tandem::meta
