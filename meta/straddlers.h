// Alterations of files' content that are under way outside the gate, because the disk makes them
// wait: a cut need not wait for them. They straddle it.
//
// Such an alteration has not returned at the cut, so the cut may hold any mixture of what its range
// held before and what it holds afterwards. What it may not lack is the range: the file's size and
// times, which are read as they are, may already be the later ones. So the range is recorded as
// changed before the alteration begins, in every epoch that begins while it is under way, and when
// it has ended.
//
// Any thread. Add and Remove only inside the gate, so that a thread that holds the gate finds the
// list complete and at rest.
#pragma once

#include <optional>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/range_set.h"
#include "meta/change_set.h"

namespace tandem::meta {

class Straddlers {
 public:
  // One of them. Stands on the stack of the thread that does it.
  struct Entry {
    const ObjectRef* file;
    ByteRange range;
    Epoch begun;  // the open epoch then
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
  // The epoch in which the oldest of them began. Nothing: there are none.
  std::optional<Epoch> Oldest() EXCLUDES(mutex_) {
    std::optional<Epoch> oldest;
    ForEach([&oldest](const Entry& entry) {
      if (!oldest || entry.begun < *oldest) oldest = entry.begun;
    });
    return oldest;
  }

 private:
  Mutex mutex_;
  Entry* first_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace tandem::meta
