// Bounds the memory that requests take while they are handled, whatever the number of peers. A
// request waits for its share; among those that wait, the account that holds least goes first, and
// none holds more than one account may.
//
// There are two: of chunks that are being decoded, and of content that is read for signatures and
// deltas. A request that needs a share of both takes the former first.
//
// Any thread. Takes no other lock.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <string>

#include "meta/base/mutex.h"

namespace tandem::replica {

class MemoryBudget {
 public:
  MemoryBudget(size_t total, size_t of_account) : total_(total), of_account_(of_account) {}

  // Held while the memory is in use. `bytes` is cut off at the limit of an account.
  class Share {
   public:
    Share(MemoryBudget& budget, const std::string& account, size_t bytes);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    MemoryBudget& budget_;
    const std::string account_;
    const size_t bytes_;
  };

  size_t taken() EXCLUDES(mutex_);
  size_t waiting() EXCLUDES(mutex_);  // requests
  // Returns true, once, if so much has been decoded that memory should go back to the system, and
  // nothing is being decoded.
  bool ShouldTrim(size_t after) EXCLUDES(mutex_);

 private:
  struct Waiter {
    const std::string& account;
    const size_t bytes;
    bool admitted = false;
  };
  void Take(const std::string& account, size_t bytes) EXCLUDES(mutex_);
  void Return(const std::string& account, size_t bytes) EXCLUDES(mutex_);
  void Admit() REQUIRES(mutex_);

  const size_t total_;
  const size_t of_account_;
  Mutex mutex_;
  CondVar admitted_;
  std::list<Waiter*> waiting_ GUARDED_BY(mutex_);  // in order of arrival
  size_t taken_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, size_t> by_account_ GUARDED_BY(mutex_);
  size_t decoded_ GUARDED_BY(mutex_) = 0;  // since ShouldTrim returned true
};

}  // namespace tandem::replica
