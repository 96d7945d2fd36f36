#include "replica/apply/standing_names.h"

#include <string>

namespace tandem::replica {
namespace {

constexpr char kList[] = "SELECT directory, name FROM standing";
constexpr char kNote[] = "INSERT OR REPLACE INTO standing VALUES (?, ?)";
constexpr char kClear[] = "DELETE FROM standing";

}  // namespace

Result<StandingNames> StandingNames::Open(Database& database) {
  StandingNames opened;
  ASSIGN_OR_RETURN(opened.list_, database.Prepare(kList));
  ASSIGN_OR_RETURN(opened.note_, database.Prepare(kNote));
  ASSIGN_OR_RETURN(opened.clear_, database.Prepare(kClear));
  return opened;
}

Result<std::vector<EntryKey>> StandingNames::List() {
  std::vector<EntryKey> names;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, list_.Step());
    if (!found) return names;
    std::string name(list_.Bytes(1));
    // Another name cannot have been written here. It would lead elsewhere.
    if (IsIdAt(list_, 0) && IsName(name)) {
      names.push_back({list_.Id<ObjectId>(0), std::move(name)});
    }
  }
}

Status StandingNames::Note(const EntryKey& key) {
  return note_.Bind(1, key.parent).BindBlob(2, key.name).Run();
}

Status StandingNames::Clear() { return clear_.Run(); }

}  // namespace tandem::replica
