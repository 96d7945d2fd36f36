#include "replica/apply/lacking_objects.h"

#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

constexpr char kCount[] =
    "SELECT count(*), ifnull(sum(xattrs != x''), 0), max(xattrs),"
    " ifnull(sum(withheld != x''), 0), max(withheld)"
    " FROM (SELECT xattrs, withheld FROM lacking LIMIT ?)";
constexpr char kListWithheld[] =
    "SELECT object, withheld FROM lacking WHERE withheld != x'' LIMIT ?";
constexpr char kFind[] = "SELECT xattrs, withheld FROM lacking WHERE object = ?";
constexpr char kIsWithheld[] = "SELECT 1 FROM lacking WHERE object = ? AND withheld != x''";
constexpr char kNote[] = "INSERT OR REPLACE INTO lacking VALUES (?, ?, ?)";
constexpr char kClear[] = "DELETE FROM lacking WHERE object = ?";

}  // namespace

Result<LackingObjects> LackingObjects::Open(Database& database) {
  LackingObjects opened;
  const std::pair<Statement*, const char*> all[] = {
      {&opened.count_, kCount},
      {&opened.find_, kFind},
      {&opened.list_withheld_, kListWithheld},
      {&opened.is_withheld_, kIsWithheld},
      {&opened.note_, kNote},
      {&opened.clear_, kClear},
  };
  for (const auto& [statement, sql] : all) {
    ASSIGN_OR_RETURN(*statement, database.Prepare(sql));
  }
  return opened;
}

Result<LackingAttributes> LackingObjects::Count() {
  Statement& row = count_;
  row.Bind(1, static_cast<int64_t>(kMaxCountedLacking + 1));
  ASSIGN_OR_RETURN(const bool found, row.Step());
  if (!found) return LackingAttributes();
  LackingAttributes lacking;
  lacking.unset = {static_cast<uint64_t>(row.Int(1)), std::string(row.Bytes(2))};
  lacking.withheld = {static_cast<uint64_t>(row.Int(3)), std::string(row.Bytes(4))};
  // The rest is not counted: it may be of either sort.
  if (static_cast<uint64_t>(row.Int(0)) > kMaxCountedLacking) {
    for (LackingNames* names : {&lacking.unset, &lacking.withheld}) {
      if (names->objects > 0) names->objects = kMaxCountedLacking + 1;
    }
  }
  row.Reset();
  return lacking;
}

Result<std::vector<std::pair<ObjectId, std::string>>> LackingObjects::ListWithheld(size_t limit) {
  Statement& row = list_withheld_;
  row.Bind(1, static_cast<int64_t>(limit));
  std::vector<std::pair<ObjectId, std::string>> objects;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, row.Step());
    if (!more) return objects;
    objects.emplace_back(row.Id<ObjectId>(0), row.Bytes(1));
  }
}

Result<bool> LackingObjects::IsWithheld(ObjectId object) {
  ASSIGN_OR_RETURN(const bool found, is_withheld_.Bind(1, object).Step());
  is_withheld_.Reset();
  return found;
}

Result<std::pair<std::string, std::string>> LackingObjects::Find(ObjectId object) {
  std::pair<std::string, std::string> lacking;
  ASSIGN_OR_RETURN(const bool found, find_.Bind(1, object).Step());
  if (found) lacking = {std::string(find_.Bytes(0)), std::string(find_.Bytes(1))};
  find_.Reset();
  return lacking;
}

Status LackingObjects::Note(ObjectId object, const std::string& unset,
                            const std::string& withheld) {
  if (unset.empty() && withheld.empty()) return clear_.Bind(1, object).Run();
  return note_.Bind(1, object).BindBlob(2, unset).BindBlob(3, withheld).Run();
}

}  // namespace tandem::replica
