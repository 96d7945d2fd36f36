// What a verify has found so far. Any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"

namespace tandem::replica {

struct Difference {
  // name, kind, link, attribute, xattr, content, allocation, unreadable
  std::string kind;
  std::string path;  // below the volume's root; "." is the root itself
  std::string what;  // a phrase for people
  bool repaired = false;
  Epoch cut = {};  // at which it was judged
};

struct VerifyReport {
  uint64_t objects = 0;
  uint64_t bytes = 0;  // of content
  // About how many there are if everything is compared; 0: unknown.
  uint64_t total_objects = 0;
  uint64_t total_bytes = 0;
  // How many differences there are, and those that were requested.
  size_t difference_count = 0;
  std::vector<Difference> differences;
  // Objects that could not be judged, because they changed during each comparison.
  std::vector<std::string> unjudged;
  bool finished = false;
  std::string error;  // why it could not run, or not to the end
};

class VerifyTally {
 public:
  // Begins with what an interrupted verify had found.
  explicit VerifyTally(VerifyReport before = {}) : report_(std::move(before)) {}

  void AddObject() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++report_.objects;
  }
  void AddBytes(uint64_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    report_.bytes += bytes;
  }
  void AddUnjudged(std::string path) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    report_.unjudged.push_back(std::move(path));
  }
  void Report(Difference difference) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    report_.differences.push_back(std::move(difference));
  }
  std::vector<Difference> TakeDifferences() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return std::exchange(report_.differences, {});
  }
  void Finish(std::string error) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    report_.error = std::move(error);
    report_.finished = true;
  }

  // What the replica has in total, to estimate how long it takes; 0: unknown.
  void SetTotals(uint64_t objects, uint64_t bytes) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    report_.total_objects = objects;
    report_.total_bytes = bytes;
  }

  // Returns a copy, with `limit` of the differences from `skip` on.
  VerifyReport report(size_t skip, size_t limit) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    VerifyReport copy;
    copy.objects = report_.objects;
    copy.bytes = report_.bytes;
    copy.total_objects = report_.total_objects;
    copy.total_bytes = report_.total_bytes;
    copy.difference_count = report_.differences.size();
    copy.unjudged = report_.unjudged;
    copy.finished = report_.finished;
    copy.error = report_.error;
    const size_t first = std::min(skip, report_.differences.size());
    const size_t end = first + std::min(limit, report_.differences.size() - first);
    copy.differences.assign(report_.differences.begin() + static_cast<ptrdiff_t>(first),
                            report_.differences.begin() + static_cast<ptrdiff_t>(end));
    return copy;
  }

 private:
  Mutex mutex_;
  VerifyReport report_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
