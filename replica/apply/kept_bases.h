// What redoes take away stays for a while: files that were removed, replaced or truncated to zero,
// from 64 KiB on, moved to stage/kept/OBJECT. What is written anew is mostly what stood there
// before (replica/known/KNOWN.md), and by then the cut that took it away has long been applied.
//
// No redo and no start needs any of it: it can be dropped at any time, and goes first when room is
// short. It has the newest version of each object, for an hour, of as many bytes as the budget
// allows. When the volume is closed all of it goes.
//
// Any thread. Within the budget's lock those of its KeptBases are taken.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::replica {

class KeptBases;

// How much all volumes of a store may keep together.
class KeptBudget {
 public:
  // So many bytes, or if that is 0, so much of what would be free without what is kept.
  KeptBudget(uint64_t bytes, uint32_t percent) : bytes_(bytes), percent_(percent) {}

  // Returns how many bytes may be kept in all on the filesystem of `fd`.
  uint64_t LimitOn(int fd) const;
  // Drops what any volume has.
  void DropAll() EXCLUDES(mutex_);
  // Drops what has been there for an hour. To be called now and then.
  void DropOld() EXCLUDES(mutex_);
  bool IsEmpty() const { return used_ == 0; }

 private:
  friend class KeptBases;
  void Join(KeptBases& bases) EXCLUDES(mutex_);
  void Leave(KeptBases& bases) EXCLUDES(mutex_);

  const uint64_t bytes_;
  const uint32_t percent_;
  std::atomic<uint64_t> used_{0};
  Mutex mutex_;
  std::unordered_set<KeptBases*> all_ GUARDED_BY(mutex_);
};

class KeptBases {
 public:
  static constexpr uint64_t kLeast = 64 << 10;
  static constexpr size_t kMost = 10'000;
  static constexpr std::chrono::hours kLongest{1};

  // Without a budget nothing is kept.
  explicit KeptBases(std::shared_ptr<KeptBudget> budget);
  ~KeptBases();
  KeptBases(const KeptBases&) = delete;
  KeptBases& operator=(const KeptBases&) = delete;

  // Makes stage/kept, and drops what an earlier run has left there. Called first, once. After an
  // error nothing is kept.
  Status Open(int stage_fd);

  // Returns whether the object at the name is a file that is worth keeping, and has no other name.
  static bool MayBeOfUse(int directory_fd, const std::string& name);

  bool keeps() const { return budget_ != nullptr && fd_.valid(); }
  bool IsEmpty() const { return budget_ == nullptr || budget_->IsEmpty(); }
  // Moves the file at the name away, instead of whatever was kept of the object. Returns false if
  // it has to be removed instead: it is small, no file, has other names, or there is no room.
  bool Take(int directory_fd, const std::string& name, ObjectId object) EXCLUDES(mutex_);
  // Returns the file that was kept of the object, open for reading; or an invalid descriptor.
  UniqueFd Find(ObjectId object) EXCLUDES(mutex_);
  // Returns `standing`, the file that the object is now (or an invalid descriptor); but if that
  // ends before `end`, what was kept of the object, if there is something.
  UniqueFd Reaching(uint64_t end, ObjectId object, UniqueFd standing) EXCLUDES(mutex_);
  // Drops what any volume of the store has: room is short.
  void DropAll() {
    if (budget_ != nullptr) budget_->DropAll();
  }

 private:
  friend class KeptBudget;
  struct Kept {
    ObjectId object;
    uint64_t bytes;  // on the disk
    std::chrono::steady_clock::time_point since;
  };
  using Order = std::list<Kept>;  // oldest first

  void DropOld() EXCLUDES(mutex_);
  void DropOwn() EXCLUDES(mutex_);
  void Drop(Order::iterator kept) REQUIRES(mutex_);
  void MakeRoom(uint64_t limit) REQUIRES(mutex_);

  const std::shared_ptr<KeptBudget> budget_;
  UniqueFd fd_;  // stage/kept
  Mutex mutex_;
  Order order_ GUARDED_BY(mutex_);
  std::unordered_map<ObjectId, Order::iterator> by_object_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
