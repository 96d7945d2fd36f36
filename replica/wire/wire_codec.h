// Converts between the structs of replica/wire/messages.h and the tables of replica/wire/wire.fbs,
// as far as requests, replies and records share them. Only replica/wire/messages*.cc include it.
//
// Any thread may call these functions. A WireReader belongs to one message. It limits what decoding
// may allocate to the size of the message, although FlatBuffers lets many fields share the same
// bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/source/attributes.h"
#include "replica/wire/wire_generated.h"

namespace tandem::replica {

using WireBytes = flatbuffers::Vector<uint8_t>;
using WireBuilder = flatbuffers::FlatBufferBuilder;

inline tl::unexpected<Error> Malformed(std::string what) {
  return MakeError(ErrorKind::kProtocol, "message from peer: " + std::move(what), EBADMSG);
}

// ---- Writing -----------------------------------------------------------------------------------

template <typename Tag>
wire::Id ToWire(const Id128<Tag>& id) {
  return wire::Id(id.high(), id.low());
}
inline wire::CutName ToWire(const CutName& name) {
  return wire::CutName(name.epoch.number(), ToWire(name.id));
}
flatbuffers::Offset<WireBytes> WriteBytes(WireBuilder& builder, std::string_view bytes);
flatbuffers::Offset<wire::Attributes> WriteAttributes(WireBuilder& builder,
                                                      const meta::Attributes& attributes);
// Checks what does not depend on how the attributes were written.
Status CheckAttributes(const meta::Attributes& attributes);
std::string Finish(WireBuilder& builder, flatbuffers::Offset<void> root, const char* identifier);

// ---- Reading -----------------------------------------------------------------------------------

template <typename IdType>
IdType FromWire(const wire::Id* id) {
  return id == nullptr ? IdType() : IdType(id->high(), id->low());
}
Result<Epoch> EpochFromWire(uint64_t number);
Result<CutName> FromWire(const wire::CutName& name);
// Checks what the verifier does not: it accepts a union that has a type but no value, or a type it
// does not know. Call before reading any value.
template <typename Type>
Status CheckUnion(Type type, const void* value) {
  if (type > Type::MAX) return Malformed("a union of unknown type");
  if ((type == Type::NONE) != (value == nullptr))
    return Malformed("a union with only its type or only its value");
  return {};
}

// Returns whether the elements are aligned, which the verifier checks for a vector's length only.
template <typename Element, typename Vector>
bool IsAligned(const Vector& vector) {
  return vector.size() == 0 || reinterpret_cast<uintptr_t>(vector.Data()) % alignof(Element) == 0;
}

class WireReader {
 public:
  explicit WireReader(std::string_view message);

  // Returns the root table, after FlatBuffers' verifier has followed every offset in it.
  template <typename Table>
  Result<const Table*> Root(const char* identifier);

  // Returns the bytes, or an empty string if the vector is absent. `limit` is in bytes; `what` is
  // for the error message.
  Result<std::string> Bytes(const WireBytes* bytes, size_t limit, const char* what);
  // Returns a name that satisfies IsValidName.
  Result<std::string> Name(const WireBytes* bytes);
  Result<meta::Attributes> Attributes(const wire::Attributes& table);
  // Returns at most kMaxFindObjects ids, and none if the vector is absent.
  Result<std::vector<ObjectId>> Objects(const flatbuffers::Vector<const wire::Id*>* ids);
  // Accounts for `bytes` bytes of the message. Fails if more than the size of the message was
  // taken.
  Status Take(size_t bytes);
  // Fails if the byte from the wire is no enumerator.
  template <typename Plain, typename Wire>
  Result<Plain> Enum(Wire value, const char* what) {
    if (value > Wire::MAX) return Malformed(std::string("unknown ") + what);
    return static_cast<Plain>(value);
  }

 private:
  Result<meta::Xattrs> ReadXattrs(const wire::Attributes& table);

  std::string copy_;  // of the message, if that is not aligned as FlatBuffers requires
  std::string_view message_;
  size_t left_;
};

template <typename Table>
Result<const Table*> WireReader::Root(const char* identifier) {
  const auto* data = reinterpret_cast<const uint8_t*>(message_.data());
  flatbuffers::Verifier::Options options;
  options.max_depth = 16;
  // A table takes at least 8 bytes. Shared tables must not make the verifier run for ever.
  options.max_tables = static_cast<flatbuffers::uoffset_t>(message_.size() / 8 + 16);
  flatbuffers::Verifier verifier(data, message_.size(), options);
  if (!verifier.VerifyBuffer<Table>(identifier))
    return Malformed("damaged, or not of this protocol");
  return flatbuffers::GetRoot<Table>(data);
}

}  // namespace tandem::replica
