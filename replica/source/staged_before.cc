#include "replica/source/staged_before.h"

#include <algorithm>
#include <chrono>
#include <ratio>
#include <utility>

#include "replica/source/tuning.h"
#include "replica/wire/record_digest.h"

namespace tandem::replica {

Status StagedBefore::Expect(std::span<const ObjectId> objects) {
  known_.clear();
  for (size_t at = 0; at < objects.size(); at += kFindAtATime) {
    const auto page = objects.subspan(at, std::min(kFindAtATime, objects.size() - at));
    GetStaged ask;
    ask.stage = stage_;
    ask.objects.assign(page.begin(), page.end());
    ASSIGN_OR_RETURN(StagedObjects staged, peer_.AskFor<StagedObjects>(std::move(ask)));
    if (staged.objects.size() != page.size()) {
      return MakeError(ErrorKind::kProtocol,
                       "get staged: replica answered for another number of objects");
    }
    for (size_t i = 0; i < page.size(); ++i) known_[page[i]] = std::move(staged.objects[i]);
  }
  return {};
}

// A clock that ticks in whole milliseconds may tick in whole seconds.
bool StagedBefore::MayHaveChangedSince(const meta::Timestamp& ctime) const {
  constexpr uint32_t kMillisecond = 1'000'000;
  const std::chrono::nanoseconds margin =
      ctime.nanoseconds % kMillisecond == 0 ? kCoarsestClock : kFineClock;
  const int64_t since = begun_ns_ - margin.count();
  const int64_t second = since / std::nano::den;
  return std::pair(ctime.seconds, int64_t{ctime.nanoseconds}) >=
         std::pair(second, since - second * std::nano::den);
}

Result<StagedBefore::Found> StagedBefore::Find(const ObjectRecord& record) {
  auto known = known_.find(record.object);
  if (known == known_.end()) {
    RETURN_IF_ERROR(Expect(std::span(&record.object, 1)));
    known = known_.find(record.object);
  }
  StagedObject& object = known->second;
  if (!object.known) return Found{};
  if (object.record != DigestOf(record) || MayHaveChangedSince(record.attributes.change_time)) {
    return Found{Sent::kOlder, {}};
  }
  return Found{Sent::kSame, std::move(object.ranges)};
}

}  // namespace tandem::replica
