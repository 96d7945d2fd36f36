// Between the structs of replica/wire/messages.h and the tables of replica/wire/wire.fbs: what
// requests, replies and records have in common. Only replica/wire/messages*.cc include it.
//
// Any thread. A WireReader belongs to one message: it keeps what decoding may allocate in
// proportion to the bytes received, although FlatBuffers lets many fields share one run of bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "meta/attributes.h"
#include "meta/base/ids.h"
#include "meta/base/result.h"
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
std::string Finish(WireBuilder& builder, flatbuffers::Offset<void> root, const char* identifier);

// ---- Reading -----------------------------------------------------------------------------------

template <typename IdType>
IdType FromWire(const wire::Id* id) {
  return id == nullptr ? IdType() : IdType(id->high(), id->low());
}
Result<Epoch> EpochFromWire(uint64_t number);
Result<CutName> FromWire(const wire::CutName& name);
// The verifier takes a union that has a type and no value, or one of a type it does not know. To be
// called before any value is looked at.
template <typename Type>
Status CheckUnion(Type type, const void* value) {
  if (type > Type::MAX) return Malformed("a union of unknown type");
  if ((type == Type::NONE) != (value == nullptr)) return Malformed("half a union");
  return {};
}

class WireReader {
 public:
  explicit WireReader(std::string_view message);

  // The root table, after FlatBuffers' verifier has followed every offset in it.
  template <typename Table>
  Result<const Table*> Root(const char* identifier);

  // An absent vector is empty.
  Result<std::string> Bytes(const WireBytes* bytes, size_t limit, const char* what);
  // A name as a directory may hold it: 1 to 255 bytes, no '/', no NUL, neither "." nor "..".
  Result<std::string> Name(const WireBytes* bytes);
  Result<meta::Attributes> Attributes(const wire::Attributes& table);
  // At most kMaxFindObjects; an absent vector is empty.
  Result<std::vector<ObjectId>> Objects(const flatbuffers::Vector<const wire::Id*>* ids);
  // Accounts for `bytes` of the message; fails once more was taken from it than it has.
  Status Take(size_t bytes);
  // Enumerators come from the wire as any byte.
  template <typename Plain, typename Wire>
  Result<Plain> Enum(Wire value, const char* what) {
    if (value > Wire::MAX) return Malformed(std::string("unknown ") + what);
    return static_cast<Plain>(value);
  }

 private:
  Result<meta::Xattrs> ReadXattrs(const wire::Attributes& table);

  std::string copy_;  // of the message, if it was not aligned as FlatBuffers needs it
  std::string_view message_;
  size_t left_;
};

template <typename Table>
Result<const Table*> WireReader::Root(const char* identifier) {
  const auto* data = reinterpret_cast<const uint8_t*>(message_.data());
  flatbuffers::Verifier::Options options;
  options.max_depth = 16;
  // No honest table is smaller; shared ones must not make the verifier run for ever.
  options.max_tables = static_cast<flatbuffers::uoffset_t>(message_.size() / 8 + 16);
  flatbuffers::Verifier verifier(data, message_.size(), options);
  if (!verifier.VerifyBuffer<Table>(identifier))
    return Malformed("damaged, or of another protocol");
  return flatbuffers::GetRoot<Table>(data);
}

}  // namespace tandem::replica
