#include "replica/store/growth.h"

#include <algorithm>
#include <unordered_map>

namespace tandem::replica {
namespace {

// Sums of what peers say may overflow.
int64_t Clamped(__int128 sum) {
  constexpr __int128 kMost = __int128{1} << 61;
  return static_cast<int64_t>(std::clamp(sum, -kMost, kMost));
}

}  // namespace

Result<Growth> GrowthOf(const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
                        Catalog& catalog) {
  std::unordered_map<ObjectId, uint64_t> after;
  uint64_t first = 1;
  for (const auto& stage : stages) {
    for (const Outline* outline : stage->Outlines()) {
      for (const Outline::Object& object : outline->objects) {
        const Plan::Object* planned = plan.Find(object.object);
        const uint64_t at = first + object.index;
        if (planned == nullptr || planned->fate == Plan::Fate::kDrop) continue;
        if (plan.Ignores(object.object, *planned, at)) continue;
        after[object.object] = Catalog::BytesOf(object.kind, object.size);
      }
      first += outline->record_count;
    }
  }
  __int128 bytes = 0;
  int64_t objects = 0;
  for (const auto& [object, content] : after) {
    ASSIGN_OR_RETURN(const auto before, catalog.FindBytes(object));
    bytes += __int128{content} - (before ? before->content : 0);
    objects += before ? 0 : 1;
  }
  for (const ObjectId object : plan.dead()) {
    ASSIGN_OR_RETURN(const auto before, catalog.FindBytes(object));
    if (!before) continue;
    bytes -= __int128{before->content} + before->beside;
    objects -= 1;
  }
  return Growth{Clamped(bytes), objects};
}

}  // namespace tandem::replica
