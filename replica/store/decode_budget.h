// Bounds the memory of the chunks that are being decoded, whatever the number of peers. A request
// waits for its share; among those that wait, the account that holds least goes first, and none
// holds more than kMaxDecodingOfAccount.
//
// Any thread. Takes no other lock.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <string>

#include "meta/base/mutex.h"

namespace tandem::replica {

class DecodeBudget {
 public:
  DecodeBudget(size_t total, size_t of_account) : total_(total), of_account_(of_account) {}

  // Held while a chunk is decoded and staged. `bytes` is cut off at the limit of an account.
  class Share {
   public:
    Share(DecodeBudget& budget, const std::string& account, size_t bytes);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    DecodeBudget& budget_;
    const std::string account_;
    const size_t bytes_;
  };

  size_t taken() EXCLUDES(mutex_);
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
