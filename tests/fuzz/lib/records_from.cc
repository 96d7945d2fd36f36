#include "tests/fuzz/lib/records_from.h"

#include <sys/sysmacros.h>

#include <iterator>

namespace tandem::fuzz {
namespace {

using replica::DataRecord;
using replica::Encoding;
using replica::EntryRecord;
using replica::ObjectRecord;

template <typename T, size_t n>
const T& OneOf(FuzzedDataProvider& data, const T (&choices)[n]) {
  return choices[data.ConsumeIntegralInRange<size_t>(0, n - 1)];
}

// One in eight, and never once the input has ended.
bool Rarely(FuzzedDataProvider& data) { return data.ConsumeIntegralInRange(0, 7) == 7; }

meta::Timestamp TimeFrom(FuzzedDataProvider& data) {
  static constexpr int64_t kOdd[] = {0, -1, INT64_MIN, INT64_MAX, 1 << 30, int64_t{1} << 34};
  if (!Rarely(data)) return {1'700'000'000, 5};
  return {OneOf(data, kOdd), data.ConsumeIntegralInRange<uint32_t>(0, 999'999'999)};
}

void AddXattrs(FuzzedDataProvider& data, meta::Xattrs& xattrs) {
  static const std::string kNames[] = {"user.a",
                                       "user." + std::string(250, 'x'),
                                       "trusted.overlay.opaque",
                                       "security.capability",
                                       "security.selinux",
                                       "system.posix_acl_access",
                                       "system.posix_acl_default",
                                       "user."};
  // A valid ACL (u::rwx, u:1000:rwx, g::r-x, m::rwx, o::r-x), and a valid capability.
  static const std::string kValues[] = {
      std::string("\2\0\0\0\1\0\7\0\xff\xff\xff\xff\2\0\7\0\xe8\3\0\0\4\0\5\0\xff\xff\xff\xff"
                  "\x10\0\7\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff",
                  44),
      std::string("\1\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20), std::string(70'000, 'v'), "y"};
  const int count = data.ConsumeIntegralInRange(0, 3);
  for (int i = 0; i < count; ++i) {
    const std::string& name = OneOf(data, kNames);
    xattrs[name] = Rarely(data) ? data.ConsumeRandomLengthString(64) : OneOf(data, kValues);
  }
}

// The kinds of the objects that ObjectFrom returns, by the number.
constexpr meta::Kind kUsualKinds[] = {
    meta::Kind::kFile, meta::Kind::kDirectory, meta::Kind::kDirectory, meta::Kind::kDirectory,
    meta::Kind::kFile, meta::Kind::kFile,      meta::Kind::kSymlink,   meta::Kind::kFifo};
constexpr char kWayOut[] = "../../../outside";

meta::Kind UsualKind(ObjectId object) {
  return object.high() == 0 && object.low() < std::size(kUsualKinds) ? kUsualKinds[object.low()]
                                                                     : meta::Kind::kFile;
}

meta::Attributes AttributesFrom(FuzzedDataProvider& data, ObjectId object, bool odd) {
  static const std::string kTargets[] = {
      "../../../outside",    "../../../outside/canary", "/proc/self/root", "name", ".",
      std::string(4095, 't')};
  meta::Attributes attributes;
  attributes.kind = UsualKind(object);
  if (object != kRootObject && Rarely(data)) {
    attributes.kind = static_cast<meta::Kind>(data.ConsumeIntegralInRange(1, odd ? 8 : 7));
  }
  if (odd && Rarely(data)) {
    attributes.permissions = data.ConsumeIntegral<uint16_t>();
    attributes.uid = data.ConsumeIntegral<uint32_t>();
    attributes.gid = data.ConsumeIntegral<uint32_t>();
    attributes.link_count = data.ConsumeIntegral<uint32_t>();
  } else {
    attributes.permissions = data.ConsumeIntegralInRange<uint32_t>(0, 07777);
    attributes.link_count = 1;
  }
  switch (attributes.kind) {
    case meta::Kind::kFile:
      attributes.size = odd ? NumberFrom(data) : data.ConsumeIntegral<uint16_t>();
      break;
    case meta::Kind::kSymlink:
      attributes.link_target = OneOf(data, kTargets);
      break;
    case meta::Kind::kCharDevice:
    case meta::Kind::kBlockDevice:
      attributes.device = Rarely(data) ? data.ConsumeIntegral<uint64_t>() : makedev(1, 3);
      break;
    default:
      break;
  }
  attributes.access_time = TimeFrom(data);
  attributes.modify_time = TimeFrom(data);
  if (Rarely(data)) AddXattrs(data, attributes.xattrs);
  return attributes;
}

DataRecord DataFrom(FuzzedDataProvider& data, bool odd) {
  DataRecord record;
  record.object = ObjectFrom(data);
  record.offset = odd ? NumberFrom(data) : data.ConsumeIntegral<uint16_t>();
  record.fresh = data.ConsumeBool();
  record.encoding = static_cast<Encoding>(odd ? data.ConsumeIntegralInRange(0, 4)
                                              : data.ConsumeIntegralInRange(0, 1));
  if (record.encoding == Encoding::kLiteral) {
    constexpr size_t kLarge = 200 << 10;  // goes to a file of its own
    record.bytes = Rarely(data) ? std::string(kLarge, 'd') : data.ConsumeRandomLengthString(64);
    if (!odd && record.bytes.empty()) record.bytes = "d";
    record.length = record.bytes.size();
    return record;
  }
  record.length = odd ? NumberFrom(data) : data.ConsumeIntegral<uint16_t>() + 1;
  if (record.encoding == Encoding::kHole) return record;
  record.bytes = data.ConsumeRandomLengthString(64);
  record.basis = ObjectFrom(data);
  record.basis_offset = NumberFrom(data);
  record.basis_length = NumberFrom(data);
  record.checksum = data.ConsumeIntegral<uint64_t>();
  return record;
}

ObjectId KnownObjectFrom(FuzzedDataProvider& data) {
  return ObjectId(0, data.ConsumeIntegralInRange<uint64_t>(1, std::size(kUsualKinds)));
}

std::string UsualNameFrom(FuzzedDataProvider& data) {
  static const std::string kNames[] = {"a", "b", "c", "name"};
  return OneOf(data, kNames);
}

EntryRecord EntryFrom(FuzzedDataProvider& data, bool odd) {
  if (odd) {
    return {ObjectFrom(data), NameFrom(data), Rarely(data) ? ObjectId() : ObjectFrom(data)};
  }
  const ObjectId parent(0, data.ConsumeIntegralInRange<uint64_t>(1, 3));
  const std::string name = UsualNameFrom(data);
  const ObjectId child(0, data.ConsumeIntegralInRange<uint64_t>(2, std::size(kUsualKinds)));
  return {parent, name, child == parent || Rarely(data) ? ObjectId() : child};
}

}  // namespace

ObjectId ObjectFrom(FuzzedDataProvider& data) {
  constexpr uint64_t kKnown = std::size(kUsualKinds);  // 1 is the root
  const auto number = data.ConsumeIntegralInRange<uint64_t>(0, 31);
  if (number == 31) return ObjectId(data.ConsumeIntegralInRange<uint64_t>(0, 9), 99);
  if (number == 30) return {};
  return ObjectId(0, number % kKnown + 1);
}

std::string NameFrom(FuzzedDataProvider& data) {
  static const std::string kOdd[] = {"..",
                                     ".",
                                     "",
                                     "a/b",
                                     "../outside",
                                     std::string("a\0b", 3),
                                     std::string(255, 'n'),
                                     std::string(256, 'n'),
                                     "\xff\xfe",
                                     "...",
                                     ".trash",
                                     "applied",
                                     "00000000000000000000000000000002",
                                     "\n"};
  if (!Rarely(data)) return UsualNameFrom(data);
  return data.ConsumeBool() ? OneOf(data, kOdd) : data.ConsumeRandomLengthString(16);
}

uint64_t NumberFrom(FuzzedDataProvider& data) {
  static constexpr uint64_t kOdd[] = {0,          1,          4095,           4096,
                                      1 << 16,    16 << 20,   (16 << 20) + 1, uint64_t{1} << 32,
                                      1ull << 43, 1ull << 44, 1ull << 62,     INT64_MAX - 1,
                                      INT64_MAX,  1ull << 63, UINT64_MAX};
  return Rarely(data) ? OneOf(data, kOdd) : data.ConsumeIntegral<uint8_t>();
}

std::vector<replica::Record> RecordsFrom(FuzzedDataProvider& data, bool odd) {
  std::vector<replica::Record> records;
  const int count = data.ConsumeIntegralInRange(0, 8);
  for (int i = 0; i < count && data.remaining_bytes() > 0; ++i) {
    switch (data.ConsumeIntegralInRange(0, 5)) {
      case 0:
      case 1: {
        const ObjectId object = odd ? ObjectFrom(data) : KnownObjectFrom(data);
        const bool whole = data.ConsumeBool();
        const bool with_xattrs = data.ConsumeBool();
        records.push_back(
            ObjectRecord{object, whole, with_xattrs, AttributesFrom(data, object, odd)});
        break;
      }
      case 2:
      case 3:
        records.push_back(DataFrom(data, odd));
        break;
      default:
        records.push_back(EntryFrom(data, odd));
    }
  }
  return records;
}

ObjectRecord WholeObject(ObjectId object) {
  ObjectRecord record{object, true, true, {}};
  record.attributes.kind = UsualKind(object);
  record.attributes.permissions = 0755;
  if (record.attributes.kind == meta::Kind::kSymlink) record.attributes.link_target = kWayOut;
  return record;
}

std::vector<replica::Record> SmallTree() {
  std::vector<replica::Record> records;
  for (uint64_t number = 1; number <= std::size(kUsualKinds); ++number) {
    records.push_back(WholeObject(ObjectId(0, number)));
  }
  records.push_back(DataRecord{ObjectId(0, 4), 0, 4, Encoding::kLiteral, "four", {}, 0, 0, 0});
  const auto name = [&records](uint64_t parent, const char* text, uint64_t child) {
    records.push_back(EntryRecord{ObjectId(0, parent), text, ObjectId(0, child)});
  };
  name(1, "a", 2);
  name(1, "c", 3);
  name(1, "b", 4);
  name(2, "b", 5);
  name(3, "a", 4);
  name(1, "name", 6);
  name(3, "name", 7);
  name(3, "c", 8);
  return records;
}

}  // namespace tandem::fuzz
