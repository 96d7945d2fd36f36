// What the volumes of one account take, and what its quota leaves. Bytes are those of
// CatalogTotals: files at their full length in blocks of 4 KiB, holes counted like data. The
// figures of a volume stay when it is closed.
//
// A change set is asked for twice: its content while it is staged (RefuseStaged), and what it adds
// when it is committed (Promise). The first lets through what may still turn out to add nothing, so
// for a while an account takes up to twice its quota.
//
// Any thread. Takes no other lock.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "meta/base/mutex.h"
#include "replica/accounts/rights.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

// What a change set adds; negative: takes away.
struct Growth {
  int64_t bytes = 0;
  int64_t objects = 0;
};

class AccountUsage {
 public:
  using Time = CondVar::Clock::time_point;

  explicit AccountUsage(std::string account) : account_(std::move(account)) {}

  const std::string& account() const { return account_; }
  void SetQuota(const Quota& quota) EXCLUDES(mutex_);
  bool has_limit() EXCLUDES(mutex_);
  CatalogTotals Total() EXCLUDES(mutex_);

  // The catalog of the volume has these totals now. What was promised for it is in them.
  void SetApplied(const std::string& volume, const CatalogTotals& totals) EXCLUDES(mutex_);
  // The volume belongs to another account now.
  void Forget(const std::string& volume) EXCLUDES(mutex_);

  // These return what is exceeded and what to do, in words, or nullopt.
  // `bytes`: the content that a stage of the volume has, or will have.
  std::optional<std::string> RefuseStaged(const std::string& volume, uint64_t bytes)
      EXCLUDES(mutex_);
  // `records`: those of a stage. They are remembered until it is committed.
  std::optional<std::string> RefuseRecords(uint64_t records) EXCLUDES(mutex_);
  // `count`: of the volumes with the one that is to be made. Takes a volume from those that may be
  // made by now, unless refused.
  std::optional<std::string> RefuseVolume(uint64_t count, Time now) EXCLUDES(mutex_);
  // Counts what a commit adds, until SetApplied. What does not exceed the quota further is never
  // refused: a volume that is above it may always become smaller.
  std::optional<std::string> Promise(const std::string& volume, const Growth& growth)
      EXCLUDES(mutex_);
  // The commit has failed.
  void Withdraw(const std::string& volume, const Growth& growth) EXCLUDES(mutex_);

 private:
  struct Share {
    CatalogTotals applied;
    Growth promised;
  };
  // In case of negative sums (a promise of less that was not applied yet), returns 0.
  CatalogTotals TotalLocked() const REQUIRES(mutex_);
  std::string InWords(const char* what, uint64_t taken, uint64_t added, uint64_t limit,
                      bool in_mib) const;

  const std::string account_;
  Mutex mutex_;
  Quota quota_ GUARDED_BY(mutex_);
  std::map<std::string, Share> shares_ GUARDED_BY(mutex_);
  double may_make_ GUARDED_BY(mutex_) = -1;  // volumes; -1: none has been made
  Time made_ GUARDED_BY(mutex_){};
};

// One volume's share of its account.
struct VolumeUsage {
  std::shared_ptr<AccountUsage> account;
  std::string volume;
};

}  // namespace tandem::replica
