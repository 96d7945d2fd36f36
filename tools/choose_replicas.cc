#include "tools/choose_replicas.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

namespace tandem::tools {
namespace {

using Json = nlohmann::json;
using meta::ReplicaRecord;

// Replicas that are remembered apart at most.
constexpr size_t kMostLeftOut = 32;

// Finds a replica by its name, or by its URL if it has a new name. (Its cut will show whether it is
// the same replica.)
const ReplicaRecord* FindRemembered(const std::vector<ReplicaRecord>& known,
                                    const std::vector<ReplicaArgument>& arguments,
                                    const ReplicaArgument& argument) {
  const auto same = std::ranges::find(known, argument.name, &ReplicaRecord::name);
  if (same != known.end()) return &*same;
  const auto renamed = std::ranges::find_if(known, [&](const ReplicaRecord& old) {
    return old.url == argument.url &&
           std::ranges::find(arguments, old.name, &ReplicaArgument::name) == arguments.end();
  });
  return renamed != known.end() ? &*renamed : nullptr;
}

std::optional<CutName> CutFrom(const Json& json) {
  const auto id = CutId::FromHex(json.at("id").get<std::string>());
  if (!id) return std::nullopt;
  return CutName{Epoch(json.at("epoch").get<uint64_t>()), *id};
}

// Returns the replicas stored apart whose cut is still known. Ignores what cannot be parsed.
Result<std::vector<ReplicaRecord>> LoadLeftOut(meta::StateDatabase& database) {
  std::vector<ReplicaRecord> records;
  ASSIGN_OR_RETURN(const auto text, database.Get(meta::kLeftOutKey));
  if (!text || text->empty()) return records;
  ASSIGN_OR_RETURN(const std::vector<meta::CutRecord> cuts, database.LoadCuts());
  const auto is_known = [&cuts](const CutName& cut) {
    return std::ranges::find(cuts, cut, &meta::CutRecord::name) != cuts.end();
  };
  try {
    for (const Json& json : Json::parse(*text)) {
      const auto cut = CutFrom(json);
      if (!cut || !is_known(*cut)) continue;
      ReplicaRecord record;
      record.name = json.at("name");
      record.url = json.at("url");
      record.durable = record.applied = *cut;
      records.push_back(std::move(record));
    }
  } catch (const Json::exception&) {
    records.clear();
  }
  return records;
}

Status StoreLeftOut(meta::StateDatabase& database, const std::vector<ReplicaRecord>& records) {
  Json all = Json::array();
  for (const ReplicaRecord& record : records) {
    if (all.size() >= kMostLeftOut) break;
    all.push_back({{"name", record.name},
                   {"url", record.url},
                   {"epoch", record.applied.epoch.number()},
                   {"id", record.applied.id.ToHex()}});
  }
  return database.Put(meta::kLeftOutKey, all.dump(-1, ' ', true, Json::error_handler_t::replace));
}

}  // namespace

Result<std::vector<ReplicaRecord>> ChooseReplicas(meta::StateDatabase& database,
                                                  const std::vector<ReplicaArgument>& arguments,
                                                  bool database_was_lost) {
  ASSIGN_OR_RETURN(const std::vector<ReplicaRecord> known, database.LoadReplicas());
  if (arguments.empty()) return known;
  ASSIGN_OR_RETURN(const std::vector<ReplicaRecord> left_out, LoadLeftOut(database));
  std::vector<ReplicaRecord> chosen;
  std::vector<const ReplicaRecord*> taken;
  for (const ReplicaArgument& argument : arguments) {
    ReplicaRecord record;
    record.reconcile_owed = true;
    const auto* old = FindRemembered(known, arguments, argument);
    if (old == nullptr) old = FindRemembered(left_out, arguments, argument);
    if (old != nullptr) record = *old;
    taken.push_back(old);
    record.name = argument.name;
    record.url = argument.url;
    if (database_was_lost) record.reconcile_owed = true;
    chosen.push_back(std::move(record));
  }
  std::vector<ReplicaRecord> remaining;
  for (const auto* records : {&known, &left_out}) {
    for (const ReplicaRecord& old : *records) {
      const bool is_taken = std::ranges::find(taken, &old) != taken.end();
      // A replica with a cut that is durable but not applied is not stored: its next Hello tells.
      const bool at_one_cut = old.applied.epoch != Epoch() && old.applied == old.durable;
      if (!is_taken && !old.reconcile_owed && at_one_cut) remaining.push_back(old);
    }
  }
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database.database()));
  for (const ReplicaRecord& old : known) RETURN_IF_ERROR(database.DeleteReplica(old.name));
  for (const ReplicaRecord& record : chosen) RETURN_IF_ERROR(database.PutReplica(record));
  RETURN_IF_ERROR(StoreLeftOut(database, remaining));
  RETURN_IF_ERROR(transaction.Commit());
  return chosen;
}

}  // namespace tandem::tools
