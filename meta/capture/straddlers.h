// The list of straddlers: alterations of file content that run outside the gate, because the disk
// makes them wait. A cut does not wait for them, so they can straddle it.
//
// Such an alteration has not returned at the instant of the cut, so the cut may hold any mixture of
// the old and the new content of its range. But the cut must contain the range, because the size
// and times in it may already be those after the alteration. So the range is recorded as changed
// before the alteration begins, in every epoch that begins while it runs, and when it has ended.
//
// Any thread. Add and Remove may be called only inside the gate, so that the list does not change
// while a thread holds the gate exclusively.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/range_set.h"
#include "meta/change/change_set.h"

namespace tandem::meta {

class Straddlers {
 public:
  // One alteration. It is on the stack of the thread that runs it.
  struct Entry {
    const ObjectRef* file;
    ByteRange range;
    Epoch begun;  // the open epoch when it began
    std::chrono::system_clock::time_point begun_at;
    Entry* next = nullptr;
    Entry* previous = nullptr;
  };

  void Add(Entry& entry) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    entry.next = first_;
    if (first_ != nullptr) first_->previous = &entry;
    first_ = &entry;
  }
  void Remove(Entry& entry) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    (entry.previous != nullptr ? entry.previous->next : first_) = entry.next;
    if (entry.next != nullptr) entry.next->previous = entry.previous;
  }

  template <typename Visit>
  void ForEach(Visit visit) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (const Entry* entry = first_; entry != nullptr; entry = entry->next) visit(*entry);
  }
  // Returns the epoch in which the oldest one began, or nullopt if there are none.
  std::optional<Epoch> Oldest() EXCLUDES(mutex_) {
    std::optional<Epoch> oldest;
    ForEach([&oldest](const Entry& entry) {
      if (!oldest || entry.begun < *oldest) oldest = entry.begun;
    });
    return oldest;
  }
  // Returns when the first of them began, or `now` if there are none.
  std::chrono::system_clock::time_point Since(std::chrono::system_clock::time_point now)
      EXCLUDES(mutex_) {
    ForEach([&now](const Entry& entry) { now = std::min(now, entry.begun_at); });
    return now;
  }

 private:
  Mutex mutex_;
  Entry* first_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace tandem::meta
