#include "replica/apply/damaged_objects.h"

#include "replica/apply/tuning.h"
#include "replica/wire/little_endian.h"

namespace tandem::replica {
namespace {

constexpr char kCount[] = "SELECT count(*) FROM damaged";
constexpr char kFind[] = "SELECT object, whole, ranges, what FROM damaged WHERE object = ?";
constexpr char kList[] =
    "SELECT object, whole, ranges, what FROM damaged WHERE object > ? ORDER BY object LIMIT ?";
constexpr char kNote[] = "INSERT OR REPLACE INTO damaged VALUES (?, ?, ?, ?)";
constexpr char kClear[] = "DELETE FROM damaged WHERE object = ?";
constexpr char kScrubbed[] = "SELECT ended_s FROM scrubbed";
constexpr char kNoteScrubbed[] = "INSERT OR REPLACE INTO scrubbed VALUES (1, ?)";

DamagedObjects::Row RowOf(const Statement& statement) {
  DamagedObjects::Row row;
  row.object = statement.Id<ObjectId>(0);
  row.whole = statement.Int(1) != 0;
  Unpacker ranges(statement.Bytes(2));
  while (!ranges.AtEnd()) {
    const uint64_t start = ranges.Number();
    const uint64_t end = ranges.Number();
    if (!ranges.good() || start >= end || end > ByteRange::kEndOfFile) {
      row.whole = true;  // the row itself is damaged
      break;
    }
    row.ranges.Add({start, end});
  }
  row.what = statement.Bytes(3);
  return row;
}

}  // namespace

Result<DamagedObjects> DamagedObjects::Open(Database& database) {
  DamagedObjects opened;
  const std::pair<Statement*, const char*> all[] = {
      {&opened.count_, kCount},
      {&opened.find_, kFind},
      {&opened.list_, kList},
      {&opened.note_, kNote},
      {&opened.clear_, kClear},
      {&opened.scrubbed_, kScrubbed},
      {&opened.note_scrubbed_, kNoteScrubbed},
  };
  for (const auto& [statement, sql] : all) {
    ASSIGN_OR_RETURN(*statement, database.Prepare(sql));
  }
  return opened;
}

Result<uint64_t> DamagedObjects::Count() {
  ASSIGN_OR_RETURN(const bool found, count_.Step());
  const auto count = found ? static_cast<uint64_t>(count_.Int(0)) : 0;
  count_.Reset();
  return count;
}

Result<std::optional<DamagedObjects::Row>> DamagedObjects::Find(ObjectId object) {
  ASSIGN_OR_RETURN(const bool found, find_.Bind(1, object).Step());
  if (!found) return std::nullopt;
  Row row = RowOf(find_);
  find_.Reset();
  return row;
}

Result<std::vector<DamagedObjects::Row>> DamagedObjects::List(size_t limit, ObjectId after) {
  list_.Bind(1, after).Bind(2, static_cast<int64_t>(limit));
  std::vector<Row> rows;
  while (true) {
    ASSIGN_OR_RETURN(const bool found, list_.Step());
    if (!found) return rows;
    rows.push_back(RowOf(list_));
  }
}

Status DamagedObjects::Note(const Row& row) {
  RangeSet ranges = row.ranges;
  if (ranges.count() > kMaxDamagedRanges) ranges.Coarsen(kMaxDamagedRanges);
  Packer packed;
  for (const ByteRange& range : ranges.ToVector()) packed.Number(range.start).Number(range.end);
  return note_.Bind(1, row.object)
      .Bind(2, int64_t{row.whole})
      .BindBlob(3, packed.bytes())
      .BindBlob(4, row.what)
      .Run();
}

Status DamagedObjects::Clear(ObjectId object) { return clear_.Bind(1, object).Run(); }

Result<std::optional<int64_t>> DamagedObjects::ScrubbedAt() {
  ASSIGN_OR_RETURN(const bool found, scrubbed_.Step());
  if (!found) return std::nullopt;
  const int64_t seconds = scrubbed_.Int(0);
  scrubbed_.Reset();
  return seconds;
}

Status DamagedObjects::NoteScrubbed(int64_t seconds) {
  return note_scrubbed_.Bind(1, seconds).Run();
}

}  // namespace tandem::replica
