// What a verify has found so far. Any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "replica/source/tuning.h"

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
  // How many differences were kept, and those of them that were requested.
  size_t difference_count = 0;
  std::vector<Difference> differences;
  // How many there were beyond those: too many to keep. Repairs of these are not confirmed.
  size_t more_differences = 0;
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
    if (unjudged_.insert(path).second) report_.unjudged.push_back(std::move(path));
  }
  // Returns false if it is only counted, because too many were kept already.
  bool Report(Difference difference) EXCLUDES(mutex_) {
    const size_t bytes = difference.path.size() + difference.what.size();
    MutexLock lock(mutex_);
    const bool keep =
        report_.differences.size() < kMaxDifferences && kept_bytes_ + bytes <= kMaxDifferenceBytes;
    if (!keep) {
      ++report_.more_differences;
      return false;
    }
    kept_bytes_ += bytes;
    report_.differences.push_back(std::move(difference));
    return true;
  }
  std::vector<Difference> TakeDifferences() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    kept_bytes_ = 0;
    return std::exchange(report_.differences, {});
  }
  void Finish(std::string error) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    report_.error = std::move(error);
    report_.finished = true;
    finished_.NotifyAll();
  }
  // Returns whether it has finished by the deadline.
  bool WaitUntilFinished(CondVar::Clock::time_point deadline) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!report_.finished && CondVar::Clock::now() < deadline) {
      finished_.WaitUntil(mutex_, deadline);
    }
    return report_.finished;
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
    copy.more_differences = report_.more_differences;
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
  CondVar finished_;
  VerifyReport report_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> unjudged_ GUARDED_BY(mutex_);
  size_t kept_bytes_ GUARDED_BY(mutex_) = 0;  // of texts
};

}  // namespace tandem::replica
