#include "replica/wire/wire_codec.h"

#include <linux/limits.h>

#include <vector>

#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

static_assert(static_cast<int>(wire::Kind::MAX) == static_cast<int>(meta::Kind::kBlockDevice));

wire::Timestamp ToWire(const meta::Timestamp& time) {
  return wire::Timestamp(time.seconds, time.nanoseconds);
}

meta::Timestamp FromWire(const wire::Timestamp& time) {
  return {time.seconds(), time.nanoseconds()};
}

bool IsDevice(meta::Kind kind) {
  return kind == meta::Kind::kCharDevice || kind == meta::Kind::kBlockDevice;
}

}  // namespace

Status CheckAttributes(const meta::Attributes& attributes) {
  const bool is_link = attributes.kind == meta::Kind::kSymlink;
  for (const meta::Timestamp& time :
       {attributes.access_time, attributes.modify_time, attributes.change_time}) {
    if (time.nanoseconds >= 1'000'000'000) return Malformed("nanoseconds beyond one second");
  }
  if (attributes.permissions > 07777) return Malformed("permissions beyond 07777");
  if (attributes.size > ByteRange::kEndOfFile) return Malformed("a size beyond 2^63");
  if (attributes.size != 0 && attributes.kind != meta::Kind::kFile) {
    return Malformed("a size, but no regular file");
  }
  if (attributes.device != 0 && !IsDevice(attributes.kind)) {
    return Malformed("a device number, but no device");
  }
  if (attributes.link_target.empty() == is_link)
    return Malformed("a link target, or none, against its kind");
  if (attributes.link_target.find('\0') != std::string::npos)
    return Malformed("NUL in a link target");
  return {};
}

Result<Epoch> EpochFromWire(uint64_t number) {
  if (Epoch(number) > kNewestEpoch) {
    return Malformed("cut " + std::to_string(number) + ", which no source can have reached");
  }
  return Epoch(number);
}

Result<CutName> FromWire(const wire::CutName& name) {
  ASSIGN_OR_RETURN(const Epoch epoch, EpochFromWire(name.epoch()));
  return CutName{epoch, FromWire<CutId>(&name.id())};
}

bool IsValidName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

flatbuffers::Offset<WireBytes> WriteBytes(WireBuilder& builder, std::string_view bytes) {
  return builder.CreateVector(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

flatbuffers::Offset<wire::Attributes> WriteAttributes(WireBuilder& builder,
                                                      const meta::Attributes& attributes) {
  std::vector<flatbuffers::Offset<wire::Xattr>> xattrs;
  for (const auto& [name, value] : attributes.xattrs) {
    const auto name_bytes = WriteBytes(builder, name);
    xattrs.push_back(wire::CreateXattr(builder, name_bytes, WriteBytes(builder, value)));
  }
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::Xattr>>> xattr_vector;
  if (!xattrs.empty()) xattr_vector = builder.CreateVector(xattrs);
  flatbuffers::Offset<WireBytes> target;
  if (!attributes.link_target.empty()) target = WriteBytes(builder, attributes.link_target);

  const auto access_time = ToWire(attributes.access_time);
  const auto modify_time = ToWire(attributes.modify_time);
  const auto change_time = ToWire(attributes.change_time);
  return wire::CreateAttributes(builder, static_cast<wire::Kind>(attributes.kind),
                                attributes.permissions, attributes.uid, attributes.gid,
                                attributes.size, attributes.device, attributes.link_count,
                                &access_time, &modify_time, &change_time, target, xattr_vector);
}

std::string Finish(WireBuilder& builder, flatbuffers::Offset<void> root, const char* identifier) {
  builder.Finish(root, identifier);
  return std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}

WireReader::WireReader(std::string_view message) : message_(message), left_(message.size()) {
  constexpr uintptr_t kAlignment = 8;
  if (reinterpret_cast<uintptr_t>(message.data()) % kAlignment != 0) {
    copy_.reserve(message.size() + kAlignment * 4);  // long enough for the heap, which is aligned
    copy_ = message;
    message_ = copy_;
  }
}

Status WireReader::Take(size_t bytes) {
  if (bytes > left_) return Malformed("holds more than its own size");
  left_ -= bytes;
  return {};
}

Result<std::string> WireReader::Bytes(const WireBytes* bytes, size_t limit, const char* what) {
  if (bytes == nullptr) return std::string();
  if (bytes->size() > limit) return Malformed(std::string(what) + " too long");
  RETURN_IF_ERROR(Take(bytes->size()));
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

Result<std::string> WireReader::Name(const WireBytes* bytes) {
  ASSIGN_OR_RETURN(std::string name, Bytes(bytes, kMaxNameBytes, "a name"));
  if (!IsValidName(name)) return Malformed("an invalid file name");
  return name;
}

Result<std::vector<ObjectId>> WireReader::Objects(const flatbuffers::Vector<const wire::Id*>* ids) {
  std::vector<ObjectId> objects;
  // FlatBuffers aligns a vector of nothing to no more than its length.
  if (ids == nullptr || ids->size() == 0) return objects;
  if (ids->size() > kMaxFindObjects) return Malformed("too many objects");
  if (!IsAligned<wire::Id>(*ids)) return Malformed("misaligned objects");
  RETURN_IF_ERROR(Take(ids->size() * sizeof(wire::Id)));
  for (const wire::Id* id : *ids) objects.push_back(FromWire<ObjectId>(id));
  return objects;
}

Result<meta::Xattrs> WireReader::ReadXattrs(const wire::Attributes& table) {
  meta::Xattrs xattrs;
  if (table.xattrs() == nullptr) return xattrs;
  for (const wire::Xattr* xattr : *table.xattrs()) {
    RETURN_IF_ERROR(Take(8));
    ASSIGN_OR_RETURN(std::string name,
                     Bytes(xattr->name(), XATTR_NAME_MAX, "name of an extended attribute"));
    ASSIGN_OR_RETURN(std::string value,
                     Bytes(xattr->value(), XATTR_SIZE_MAX, "extended attribute"));
    if (name.find('\0') != std::string::npos || !meta::IsReplicatedXattr(name)) {
      return Malformed("an extended attribute that is not replicated");
    }
    if (!xattrs.emplace(std::move(name), std::move(value)).second) {
      return Malformed("the same extended attribute twice");
    }
  }
  return xattrs;
}

Result<meta::Attributes> WireReader::Attributes(const wire::Attributes& table) {
  // Tables may share a vtable, but this much of each is its own.
  RETURN_IF_ERROR(Take(64));
  meta::Attributes attributes;
  ASSIGN_OR_RETURN(attributes.kind, Enum<meta::Kind>(table.kind(), "kind of object"));
  if (table.kind() == wire::Kind::None) return Malformed("no kind of object");
  attributes.permissions = table.permissions();
  attributes.uid = table.uid();
  attributes.gid = table.gid();
  attributes.size = table.size();
  attributes.device = table.device();
  attributes.link_count = table.link_count();
  attributes.access_time = FromWire(*table.access_time());
  attributes.modify_time = FromWire(*table.modify_time());
  attributes.change_time = FromWire(*table.change_time());
  ASSIGN_OR_RETURN(attributes.link_target, Bytes(table.link_target(), PATH_MAX - 1, "link target"));
  ASSIGN_OR_RETURN(attributes.xattrs, ReadXattrs(table));
  RETURN_IF_ERROR(CheckAttributes(attributes));
  return attributes;
}

}  // namespace tandem::replica
