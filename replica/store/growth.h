// What a change set adds to the totals of a volume's catalog. One thread.
#pragma once

#include <memory>
#include <vector>

#include "meta/base/result.h"
#include "replica/apply/catalog.h"
#include "replica/apply/plan.h"
#include "replica/apply/stage.h"
#include "replica/store/account_usage.h"

namespace tandem::replica {

// `plan` was made of `stages` and `catalog`. Looks up every object that the plan changes. Extended
// attributes and link targets of changed objects count as before: Catalog::Totals has them once the
// plan is carried out.
Result<Growth> GrowthOf(const Plan& plan, const std::vector<std::shared_ptr<Stage>>& stages,
                        Catalog& catalog);

}  // namespace tandem::replica
