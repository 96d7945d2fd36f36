#include "replica/wire/object_columns.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_set>

namespace tandem::replica {
namespace {

// Beside the kind.
constexpr uint64_t kKindMask = 15;
constexpr uint64_t kWhole = 1 << 4;
constexpr uint64_t kWithXattrs = 1 << 5;
constexpr uint64_t kAgain = 1 << 6;
constexpr uint64_t kFlagsEnd = 1 << 7;

uint64_t Zigzag(uint64_t difference) {
  return difference << 1 ^ (difference >> 63 != 0 ? ~uint64_t{0} : 0);
}
uint64_t Unzigzag(uint64_t number) { return number >> 1 ^ ((number & 1) != 0 ? ~uint64_t{0} : 0); }

// The numbers of one record, one for each column.
enum Column : size_t {
  kFlags,
  kIdHigh,
  kIdLow,
  kPermissions,
  kUid,
  kGid,
  kSize,
  kLinkCount,
  kModifySeconds,
  kModifyNanoseconds,
  kAccessSeconds,
  kAccessNanoseconds,
  kChangeSeconds,
  kChangeNanoseconds,
  kColumns
};
using Numbers = std::array<uint64_t, kColumns>;

// How the number of a column is written.
enum class Form { kPlain, kFixed, kToLast, kToModifySeconds, kToModifyNanoseconds };
constexpr std::array<Form, kColumns> kForms = {
    Form::kPlain,  Form::kFixed,  Form::kFixed,           Form::kToLast,
    Form::kToLast, Form::kToLast, Form::kToLast,          Form::kToLast,
    Form::kToLast, Form::kToLast, Form::kToModifySeconds, Form::kToModifyNanoseconds,
    Form::kToLast, Form::kToLast};

uint64_t BaseOf(size_t column, const Numbers& last, const Numbers& now) {
  switch (kForms[column]) {
    case Form::kPlain:
    case Form::kFixed:
      return 0;
    case Form::kToLast:
      return last[column];
    case Form::kToModifySeconds:
      return now[kModifySeconds];
    case Form::kToModifyNanoseconds:
      return now[kModifyNanoseconds];
  }
  return 0;
}

Numbers NumbersOf(const ObjectRecord& record) {
  const meta::Attributes& attributes = record.attributes;
  return {static_cast<uint64_t>(attributes.kind) | (record.whole ? kWhole : 0) |
              (record.with_xattrs ? kWithXattrs : 0) | (record.again ? kAgain : 0),
          record.object.high(),
          record.object.low(),
          attributes.permissions,
          attributes.uid,
          attributes.gid,
          attributes.size,
          attributes.link_count,
          static_cast<uint64_t>(attributes.modify_time.seconds),
          attributes.modify_time.nanoseconds,
          static_cast<uint64_t>(attributes.access_time.seconds),
          attributes.access_time.nanoseconds,
          static_cast<uint64_t>(attributes.change_time.seconds),
          attributes.change_time.nanoseconds};
}

Result<ObjectRecord> RecordOf(const Numbers& numbers) {
  for (const Column column : {kPermissions, kUid, kGid, kLinkCount, kModifyNanoseconds,
                              kAccessNanoseconds, kChangeNanoseconds}) {
    if (numbers[column] > UINT32_MAX) return Malformed("a number beyond 2^32");
  }
  if (numbers[kFlags] >= kFlagsEnd) return Malformed("unknown flags of an object");
  const uint64_t kind = numbers[kFlags] & kKindMask;
  ObjectRecord record;
  record.object = ObjectId(numbers[kIdHigh], numbers[kIdLow]);
  record.whole = (numbers[kFlags] & kWhole) != 0;
  record.with_xattrs = (numbers[kFlags] & kWithXattrs) != 0;
  record.again = (numbers[kFlags] & kAgain) != 0;
  if (kind == 0 || kind > static_cast<uint64_t>(meta::Kind::kBlockDevice)) {
    return Malformed("no kind of object");
  }
  meta::Attributes& attributes = record.attributes;
  attributes.kind = static_cast<meta::Kind>(kind);
  attributes.permissions = static_cast<uint32_t>(numbers[kPermissions]);
  attributes.uid = static_cast<uint32_t>(numbers[kUid]);
  attributes.gid = static_cast<uint32_t>(numbers[kGid]);
  attributes.size = numbers[kSize];
  attributes.link_count = static_cast<uint32_t>(numbers[kLinkCount]);
  const auto time = [&numbers](Column seconds, Column nanoseconds) {
    return meta::Timestamp{static_cast<int64_t>(numbers[seconds]),
                           static_cast<uint32_t>(numbers[nanoseconds])};
  };
  attributes.modify_time = time(kModifySeconds, kModifyNanoseconds);
  attributes.access_time = time(kAccessSeconds, kAccessNanoseconds);
  attributes.change_time = time(kChangeSeconds, kChangeNanoseconds);
  return record;
}

bool IsDifference(size_t column) {
  return kForms[column] != Form::kPlain && kForms[column] != Form::kFixed;
}

void AppendFixed(std::string& column, uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) column.push_back(static_cast<char>(number >> shift));
}

void Append(std::string& column, uint64_t number) {
  for (; number >= 128; number >>= 7) column.push_back(static_cast<char>(number | 128));
  column.push_back(static_cast<char>(number));
}

class ColumnReader {
 public:
  explicit ColumnReader(const WireBytes* bytes) : bytes_(bytes) {}
  // Returns nullopt if there is no number, or one beyond 2^64.
  std::optional<uint64_t> Next() {
    uint64_t number = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (bytes_ == nullptr || at_ == bytes_->size()) return std::nullopt;
      const uint64_t byte = (*bytes_)[at_++];
      if (shift == 63 && byte > 1) return std::nullopt;
      number |= (byte & 127) << shift;
      if (byte < 128) return number;
    }
    return std::nullopt;
  }
  std::optional<uint64_t> NextFixed() {
    uint64_t number = 0;
    for (int shift = 0; shift < 64; shift += 8) {
      if (bytes_ == nullptr || at_ == bytes_->size()) return std::nullopt;
      number |= uint64_t{(*bytes_)[at_++]} << shift;
    }
    return number;
  }
  bool AtEnd() const { return bytes_ == nullptr || at_ == bytes_->size(); }

 private:
  const WireBytes* bytes_;
  flatbuffers::uoffset_t at_ = 0;
};

}  // namespace

bool FitsColumns(const Record& record) {
  const auto* object = std::get_if<ObjectRecord>(&record);
  return object != nullptr && object->attributes.xattrs.empty() &&
         object->attributes.link_target.empty() && object->attributes.device == 0;
}

void SortForColumns(std::span<Record> records) {
  std::unordered_set<ObjectId> objects;
  for (const Record& record : records) {
    const auto& object = std::get<ObjectRecord>(record);
    if (object.whole || !objects.insert(object.object).second) return;
  }
  std::ranges::stable_sort(records, {}, [](const Record& record) {
    return std::get<ObjectRecord>(record).attributes.change_time;
  });
}

flatbuffers::Offset<wire::ObjectColumns> WriteColumns(WireBuilder& builder,
                                                      std::span<const Record> records) {
  std::array<std::string, kColumns> columns;
  Numbers last{};
  for (const Record& record : records) {
    const Numbers now = NumbersOf(std::get<ObjectRecord>(record));
    for (size_t i = 0; i < kColumns; ++i) {
      if (kForms[i] == Form::kFixed) {
        AppendFixed(columns[i], now[i]);
      } else {
        Append(columns[i], IsDifference(i) ? Zigzag(now[i] - BaseOf(i, last, now)) : now[i]);
      }
    }
    last = now;
  }
  std::vector<flatbuffers::Offset<wire::Column>> written;
  for (const std::string& column : columns) {
    written.push_back(wire::CreateColumn(builder, WriteBytes(builder, column)));
  }
  return wire::CreateObjectColumns(builder, static_cast<uint32_t>(records.size()),
                                   builder.CreateVector(written));
}

Status ReadColumns(const wire::ObjectColumns& table, size_t most, std::vector<Record>& records) {
  if (records.size() > most || table.count() > most - records.size()) {
    return Malformed("too many records in a chunk");
  }
  if (table.columns()->size() != kColumns) return Malformed("not as many columns as there are");
  std::vector<ColumnReader> columns;
  for (const wire::Column* column : *table.columns()) columns.emplace_back(column->numbers());
  Numbers last{};
  for (uint32_t row = 0; row < table.count(); ++row) {
    Numbers now{};
    for (size_t i = 0; i < kColumns; ++i) {
      const auto number = kForms[i] == Form::kFixed ? columns[i].NextFixed() : columns[i].Next();
      if (!number) return Malformed("a column that is too short");
      now[i] = IsDifference(i) ? Unzigzag(*number) + BaseOf(i, last, now) : *number;
    }
    ASSIGN_OR_RETURN(ObjectRecord record, RecordOf(now));
    RETURN_IF_ERROR(CheckAttributes(record.attributes));
    records.emplace_back(std::move(record));
    last = now;
  }
  for (const ColumnReader& column : columns) {
    if (!column.AtEnd()) return Malformed("a column that is too long");
  }
  return {};
}

}  // namespace tandem::replica
