#include "replica/store/account_usage.h"

#include <algorithm>
#include <chrono>

#include "replica/store/tuning.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kMiB = 1 << 20;

bool Exceeds(uint64_t taken, int64_t added, uint64_t limit) {
  return limit != 0 && added > 0 && taken + static_cast<uint64_t>(added) > limit;
}

// Sums of 64 bits may overflow: sizes are what peers say.
uint64_t Clamped(__int128 sum) {
  constexpr __int128 kMost = __int128{1} << 62;
  return static_cast<uint64_t>(std::clamp<__int128>(sum, 0, kMost));
}

}  // namespace

void AccountUsage::SetQuota(const Quota& quota) {
  MutexLock lock(mutex_);
  quota_ = quota;
}

bool AccountUsage::has_limit() {
  MutexLock lock(mutex_);
  return quota_.bytes != 0 || quota_.objects != 0;
}

CatalogTotals AccountUsage::TotalLocked() const {
  __int128 bytes = 0;
  __int128 objects = 0;
  for (const auto& [volume, share] : shares_) {
    bytes += __int128{share.applied.bytes} + share.promised.bytes;
    objects += __int128{share.applied.objects} + share.promised.objects;
  }
  return {Clamped(bytes), Clamped(objects)};
}

CatalogTotals AccountUsage::Total() {
  MutexLock lock(mutex_);
  return TotalLocked();
}

void AccountUsage::SetApplied(const std::string& volume, const CatalogTotals& totals) {
  MutexLock lock(mutex_);
  shares_[volume] = {totals, {}};
}

void AccountUsage::Forget(const std::string& volume) {
  MutexLock lock(mutex_);
  shares_.erase(volume);
}

std::string AccountUsage::InWords(const char* what, uint64_t taken, uint64_t added, uint64_t limit,
                                  bool in_mib) const {
  const auto named = [in_mib](uint64_t number) {
    return in_mib ? std::to_string((number + kMiB - 1) / kMiB) + " MiB" : std::to_string(number);
  };
  return std::string("the quota of account ") + account_ + " is " + named(limit) + what +
         ", its volumes have " + named(taken) + ", and this adds " + named(added) +
         ": raise it with `tandemd account`, or remove files at the source";
}

std::optional<std::string> AccountUsage::RefuseStaged(const std::string& volume, uint64_t bytes) {
  MutexLock lock(mutex_);
  const auto share = shares_.find(volume);
  const uint64_t own = share == shares_.end() ? 0 : share->second.applied.bytes;
  if (bytes <= own) return std::nullopt;  // it may all replace what is there
  const uint64_t added = bytes - own;
  const uint64_t taken = TotalLocked().bytes;
  if (quota_.bytes == 0 || (added <= quota_.bytes && taken <= quota_.bytes - added)) {
    return std::nullopt;
  }
  return InWords("", taken, added, quota_.bytes, true);
}

std::optional<std::string> AccountUsage::RefuseRecords(uint64_t records) {
  MutexLock lock(mutex_);
  if (quota_.objects == 0 || records / kRecordsOfObject <= quota_.objects + kMaxChunkRecords) {
    return std::nullopt;
  }
  return "the change set has " + std::to_string(records) + " records, which is too much for " +
         std::to_string(quota_.objects) + " files and directories, the quota of account " +
         account_ + ": raise it with `tandemd account`";
}

std::optional<std::string> AccountUsage::RefuseVolume(uint64_t count, Time now) {
  MutexLock lock(mutex_);
  const uint64_t limit = quota_.volumes != 0 ? quota_.volumes : kMostVolumes;
  if (count > limit) {
    return "account " + account_ + " may have " + std::to_string(limit) +
           " volumes: raise its quota with `tandemd account`, or mount with the --volume NAME of "
           "one "
           "that is there";
  }
  const std::chrono::duration<double> passed = now - made_;
  may_make_ = may_make_ < 0
                  ? kVolumesAtOnce
                  : std::min<double>(kVolumesAtOnce, may_make_ + passed.count() * kVolumesASecond);
  made_ = now;
  if (may_make_ < 1) return "account " + account_ + " makes volumes too fast; ask again";
  may_make_ -= 1;
  return std::nullopt;
}

std::optional<std::string> AccountUsage::Promise(const std::string& volume, const Growth& growth) {
  MutexLock lock(mutex_);
  const CatalogTotals taken = TotalLocked();
  if (Exceeds(taken.bytes, growth.bytes, quota_.bytes)) {
    return InWords("", taken.bytes, static_cast<uint64_t>(growth.bytes), quota_.bytes, true);
  }
  if (Exceeds(taken.objects, growth.objects, quota_.objects)) {
    return InWords(" files and directories", taken.objects, static_cast<uint64_t>(growth.objects),
                   quota_.objects, false);
  }
  Growth& promised = shares_[volume].promised;
  promised.bytes += growth.bytes;
  promised.objects += growth.objects;
  return std::nullopt;
}

void AccountUsage::Withdraw(const std::string& volume, const Growth& growth) {
  MutexLock lock(mutex_);
  Growth& promised = shares_[volume].promised;
  promised.bytes -= growth.bytes;
  promised.objects -= growth.objects;
}

}  // namespace tandem::replica
