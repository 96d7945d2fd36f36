#include "replica/store/memory_budget.h"

#include <algorithm>

namespace tandem::replica {

MemoryBudget::Share::Share(MemoryBudget& budget, const std::string& account, size_t bytes)
    : budget_(budget), account_(account), bytes_(std::min(bytes, budget.of_account_)) {
  budget_.Take(account_, bytes_);
}

MemoryBudget::Share::~Share() { budget_.Return(account_, bytes_); }

void MemoryBudget::Take(const std::string& account, size_t bytes) {
  MutexLock lock(mutex_);
  Waiter waiter{account, bytes};
  waiting_.push_back(&waiter);
  Admit();
  while (!waiter.admitted) admitted_.Wait(mutex_);
}

void MemoryBudget::Return(const std::string& account, size_t bytes) {
  MutexLock lock(mutex_);
  taken_ -= bytes;
  decoded_ += bytes;
  const auto held = by_account_.find(account);
  held->second -= bytes;
  if (held->second == 0) by_account_.erase(held);
  Admit();
}

// The next one in turn is waited for if it does not fit yet: smaller ones must not keep passing it.
void MemoryBudget::Admit() {
  const auto held = [this](const Waiter* waiter) REQUIRES(mutex_) {
    const auto found = by_account_.find(waiter->account);
    return found == by_account_.end() ? size_t{0} : found->second;
  };
  while (true) {
    auto next = waiting_.end();
    for (auto one = waiting_.begin(); one != waiting_.end(); ++one) {
      if (held(*one) + (*one)->bytes > of_account_) continue;
      if (next == waiting_.end() || held(*one) < held(*next)) next = one;
    }
    if (next == waiting_.end() || taken_ + (*next)->bytes > total_) return;
    Waiter* const waiter = *next;
    waiting_.erase(next);
    taken_ += waiter->bytes;
    by_account_[waiter->account] += waiter->bytes;
    waiter->admitted = true;
    admitted_.NotifyAll();
  }
}

size_t MemoryBudget::taken() {
  MutexLock lock(mutex_);
  return taken_;
}

size_t MemoryBudget::waiting() {
  MutexLock lock(mutex_);
  return waiting_.size();
}

bool MemoryBudget::ShouldTrim(size_t after) {
  MutexLock lock(mutex_);
  if (taken_ != 0 || decoded_ < after) return false;
  decoded_ = 0;
  return true;
}

}  // namespace tandem::replica
