// Replies: encoding and checked decoding.
#include <algorithm>

#include "replica/wire/little_endian.h"
#include "replica/wire/messages.h"
#include "replica/wire/wire_codec.h"

namespace tandem::replica {
namespace {

constexpr char kReplyIdentifier[] = "TFA1";
constexpr size_t kMaxTextBytes = 64 << 10;
// Texts are cut off here, because they go to users and into logs, and a peer may send another one
// each second.
constexpr size_t kMostShownBytes = 4096;
constexpr size_t kReplyEnvelopeBytes = 512;

static_assert(static_cast<int>(wire::ReplyCode::MAX) == static_cast<int>(ReplyCode::kUnreadable));

// ---- Writing -----------------------------------------------------------------------------------

using ListedVector = flatbuffers::Vector<flatbuffers::Offset<wire::Listed>>;

flatbuffers::Offset<ListedVector> WriteListed(WireBuilder& builder,
                                              const std::vector<Listed>& listed,
                                              bool null_means_nothing) {
  std::vector<flatbuffers::Offset<wire::Listed>> offsets;
  offsets.reserve(listed.size());
  for (const Listed& item : listed) {
    const auto name = WriteBytes(builder, item.name);
    flatbuffers::Offset<wire::Attributes> attributes;
    if (!(null_means_nothing && item.object.is_null())) {
      attributes = WriteAttributes(builder, item.attributes);
    }
    flatbuffers::Offset<WireBytes> digests;
    if (!item.digests.empty()) digests = WriteBytes(builder, item.digests);
    flatbuffers::Offset<WireBytes> unreadable;
    if (!item.unreadable.empty()) unreadable = WriteBytes(builder, item.unreadable);
    const auto object = ToWire(item.object);
    offsets.push_back(wire::CreateListed(builder, name, item.object.is_null() ? nullptr : &object,
                                         attributes, item.changed.number(), digests, unreadable));
  }
  return builder.CreateVector(offsets);
}

flatbuffers::Offset<WireBytes> WriteRanges(WireBuilder& builder,
                                           const std::vector<ByteRange>& ranges) {
  Packer packed;
  for (const ByteRange& range : ranges) packed.Number(range.start).Number(range.end);
  return WriteBytes(builder, packed.bytes());
}

struct ReplyWriter {
  WireBuilder& builder;

  flatbuffers::Offset<void> operator()(const std::monostate&) const { return 0; }
  flatbuffers::Offset<void> operator()(const Position& position) const {
    std::vector<flatbuffers::Offset<wire::ShortObject>> short_objects;
    for (const ShortObject& item : position.short_objects) {
      const auto path = WriteBytes(builder, item.path);
      const auto reason = WriteBytes(builder, item.reason);
      const auto object = ToWire(item.object);
      const auto ranges = WriteRanges(builder, item.ranges);
      short_objects.push_back(wire::CreateShortObject(builder, &object, path, reason, item.by_name,
                                                      item.damaged, ranges));
    }
    const auto listed = builder.CreateVector(short_objects);
    const auto notice = WriteBytes(builder, position.notice);
    const auto session = ToWire(position.session);
    const auto durable = ToWire(position.durable);
    const auto applied = ToWire(position.applied);
    return wire::CreatePosition(builder, &session, position.protocol, &durable, &applied,
                                position.empty, notice, listed, position.short_count,
                                position.largest_file)
        .Union();
  }
  flatbuffers::Offset<void> operator()(const Signature& signature) const {
    const auto bytes = WriteBytes(builder, signature.bytes);
    return wire::CreateSignature(builder, bytes, signature.file_size).Union();
  }
  flatbuffers::Offset<void> operator()(const Listing& listing) const {
    const auto entries = WriteListed(builder, listing.entries, false);
    return wire::CreateListing(builder, entries, listing.more).Union();
  }
  flatbuffers::Offset<void> operator()(const Found& found) const {
    return wire::CreateFound(builder, WriteListed(builder, found.objects, true),
                             found.total_objects, found.total_bytes)
        .Union();
  }
  flatbuffers::Offset<void> operator()(const Digests& digests) const {
    const auto bytes = WriteBytes(builder, digests.digests);
    return wire::CreateDigests(builder, digests.file_size, digests.digest_size, bytes).Union();
  }
  flatbuffers::Offset<void> operator()(const Enrolled& enrolled) const {
    const auto certificate = WriteBytes(builder, enrolled.certificate);
    const auto authority = WriteBytes(builder, enrolled.authority);
    const auto name = WriteBytes(builder, enrolled.name);
    return wire::CreateEnrolled(builder, certificate, authority, name, enrolled.must_renew).Union();
  }
  flatbuffers::Offset<void> operator()(const Resumed& resumed) const {
    return wire::CreateResumed(builder, resumed.chunks, resumed.begun_ns).Union();
  }
  flatbuffers::Offset<void> operator()(const StagedObjects& staged) const {
    std::vector<flatbuffers::Offset<wire::StagedObject>> objects;
    for (const StagedObject& object : staged.objects) {
      const auto ranges = WriteRanges(builder, object.ranges);
      objects.push_back(wire::CreateStagedObject(builder, object.known, object.record, ranges));
    }
    return wire::CreateStagedObjects(builder, builder.CreateVector(objects)).Union();
  }
  flatbuffers::Offset<void> operator()(const FoundContent& found) const {
    std::vector<wire::ContentRun> runs;
    for (const ContentRun& run : found.runs) {
      runs.emplace_back(run.first, run.count, ToWire(run.object), run.offset);
    }
    const auto digests = WriteBytes(builder, found.digests);
    const auto all_runs = builder.CreateVectorOfStructs(runs);
    return wire::CreateFoundContent(builder, all_runs, digests, builder.CreateVector(found.names))
        .Union();
  }
};

static_assert(std::variant_size_v<ReplyBody> == static_cast<size_t>(wire::ReplyBody::MAX) + 1);
static_assert(std::is_same_v<std::variant_alternative_t<5, ReplyBody>, Digests> &&
              wire::ReplyBodyTraits<wire::Digests>::enum_value == wire::ReplyBody(5));
static_assert(std::is_same_v<std::variant_alternative_t<6, ReplyBody>, Enrolled> &&
              wire::ReplyBodyTraits<wire::Enrolled>::enum_value == wire::ReplyBody(6));
static_assert(std::is_same_v<std::variant_alternative_t<8, ReplyBody>, StagedObjects> &&
              wire::ReplyBodyTraits<wire::StagedObjects>::enum_value == wire::ReplyBody(8));
static_assert(std::is_same_v<std::variant_alternative_t<9, ReplyBody>, FoundContent> &&
              wire::ReplyBodyTraits<wire::FoundContent>::enum_value == wire::ReplyBody(9));

// ---- Reading -----------------------------------------------------------------------------------

Result<std::string> ReadText(WireReader& reader, const WireBytes* bytes) {
  ASSIGN_OR_RETURN(std::string text, reader.Bytes(bytes, kMaxTextBytes, "text"));
  if (text.size() > kMostShownBytes) text.resize(kMostShownBytes);
  return text;
}

Result<std::vector<ByteRange>> ReadRanges(WireReader& reader, const WireBytes* bytes, size_t most) {
  ASSIGN_OR_RETURN(const std::string packed,
                   reader.Bytes(bytes, most * 2 * sizeof(uint64_t), "ranges"));
  std::vector<ByteRange> ranges;
  Unpacker unpacker(packed);
  while (!unpacker.AtEnd()) {
    ByteRange range;
    range.start = unpacker.Number();
    range.end = unpacker.Number();
    const bool in_order = ranges.empty() || ranges.back().end <= range.start;
    if (!unpacker.good() || range.empty() || range.end > ByteRange::kEndOfFile || !in_order) {
      return Malformed("an impossible range");
    }
    ranges.push_back(range);
  }
  return ranges;
}

Result<ReplyBody> Read(WireReader& reader, const wire::Position& table) {
  Position position;
  position.session = FromWire<SessionId>(table.session());
  position.protocol = table.protocol();
  ASSIGN_OR_RETURN(position.durable, FromWire(*table.durable()));
  ASSIGN_OR_RETURN(position.applied, FromWire(*table.applied()));
  position.empty = table.empty();
  ASSIGN_OR_RETURN(position.notice, ReadText(reader, table.notice()));
  if (table.largest_file() != 0) position.largest_file = table.largest_file();
  position.short_count = table.short_count();
  if (table.short_objects() == nullptr) return position;
  if (table.short_objects()->size() > kMaxShortListed) return Malformed("too many short objects");
  for (const wire::ShortObject* item : *table.short_objects()) {
    ShortObject listed;
    listed.object = FromWire<ObjectId>(item->object());
    ASSIGN_OR_RETURN(listed.path, ReadText(reader, item->path()));
    ASSIGN_OR_RETURN(listed.reason, ReadText(reader, item->reason()));
    listed.by_name = item->by_name();
    listed.damaged = item->damaged();
    ASSIGN_OR_RETURN(listed.ranges, ReadRanges(reader, item->ranges(), kMaxShortRanges));
    position.short_objects.push_back(std::move(listed));
  }
  position.short_count = std::max<uint64_t>(position.short_count, position.short_objects.size());
  return position;
}

Result<ReplyBody> Read(WireReader& reader, const wire::Signature& table) {
  Signature signature;
  ASSIGN_OR_RETURN(signature.bytes, reader.Bytes(table.bytes(), kMaxMessageBytes, "signature"));
  signature.file_size = table.file_size();
  if (signature.file_size > ByteRange::kEndOfFile) return Malformed("a size beyond 2^63");
  return signature;
}

Result<Listed> Read(WireReader& reader, const wire::Listed& table) {
  RETURN_IF_ERROR(reader.Take(8));
  Listed listed;
  ASSIGN_OR_RETURN(listed.name, reader.Bytes(table.name(), kMaxNameBytes, "a name"));
  listed.object = FromWire<ObjectId>(table.object());
  ASSIGN_OR_RETURN(listed.changed, EpochFromWire(table.changed()));
  ASSIGN_OR_RETURN(listed.digests,
                   reader.Bytes(table.digests(), kMaxListedDigests * kMaxDigestBytes, "digests"));
  ASSIGN_OR_RETURN(listed.unreadable, ReadText(reader, table.unreadable()));
  if (table.attributes() != nullptr) {
    ASSIGN_OR_RETURN(listed.attributes, reader.Attributes(*table.attributes()));
  } else if (!listed.object.is_null()) {
    return Malformed("an object without attributes");
  }
  return listed;
}

Result<ReplyBody> Read(WireReader& reader, const wire::Listing& table) {
  Listing listing;
  listing.more = table.more();
  if (table.entries() == nullptr) return listing;
  for (const wire::Listed* item : *table.entries()) {
    ASSIGN_OR_RETURN(Listed listed, Read(reader, *item));
    if (!IsValidName(listed.name)) return Malformed("an invalid file name");
    if (item->attributes() == nullptr) return Malformed("a name that leads to nothing");
    // A source that continues after the last name must make progress.
    if (!listing.entries.empty() && listing.entries.back().name >= listed.name) {
      return Malformed("names out of order");
    }
    listing.entries.push_back(std::move(listed));
  }
  return listing;
}

Result<ReplyBody> Read(WireReader& reader, const wire::Found& table) {
  Found found;
  found.total_objects = table.total_objects();
  found.total_bytes = table.total_bytes();
  if (table.objects() == nullptr) return found;
  for (const wire::Listed* item : *table.objects()) {
    ASSIGN_OR_RETURN(Listed listed, Read(reader, *item));
    found.objects.push_back(std::move(listed));
  }
  return found;
}

Result<ReplyBody> Read(WireReader& reader, const wire::Digests& table) {
  Digests digests;
  digests.file_size = table.file_size();
  digests.digest_size = table.digest_size();
  ASSIGN_OR_RETURN(digests.digests, reader.Bytes(table.digests(), kMaxMessageBytes, "digests"));
  if (digests.digest_size == 0 ? !digests.digests.empty()
                               : digests.digests.size() % digests.digest_size != 0) {
    return Malformed("part of a digest");
  }
  return digests;
}

Result<ReplyBody> Read(WireReader& reader, const wire::Enrolled& table) {
  Enrolled enrolled;
  ASSIGN_OR_RETURN(enrolled.certificate,
                   reader.Bytes(table.certificate(), kMaxCertificateBytes, "certificate"));
  ASSIGN_OR_RETURN(enrolled.authority,
                   reader.Bytes(table.authority(), kMaxCertificateBytes, "certificate"));
  ASSIGN_OR_RETURN(enrolled.name, reader.Bytes(table.name(), kMaxIdentityBytes, "identity"));
  enrolled.must_renew = table.must_renew();
  return enrolled;
}

Result<ReplyBody> Read(WireReader&, const wire::Resumed& table) {
  if (table.begun_ns() < 0 || table.chunks() >= kMaxChunks) return Malformed("an impossible stage");
  return Resumed{table.chunks(), table.begun_ns()};
}

Result<ReplyBody> Read(WireReader& reader, const wire::StagedObjects& table) {
  StagedObjects staged;
  if (table.objects() == nullptr) return staged;
  for (const wire::StagedObject* item : *table.objects()) {
    RETURN_IF_ERROR(reader.Take(8));
    StagedObject object;
    object.known = item->known();
    object.record = item->record();
    ASSIGN_OR_RETURN(object.ranges, ReadRanges(reader, item->ranges(), kMaxStagedRanges));
    staged.objects.push_back(std::move(object));
  }
  return staged;
}

Result<ReplyBody> Read(WireReader& reader, const wire::FoundContent& table) {
  FoundContent found;
  ASSIGN_OR_RETURN(found.digests,
                   reader.Bytes(table.digests(), kMaxFindRanges * kCopyDigestBytes, "digests"));
  if (table.names() != nullptr) {
    if (table.names()->size() > kMaxFindFiles) return Malformed("more files than were asked for");
    if (!IsAligned<uint64_t>(*table.names())) return Malformed("misaligned names");
    found.names.assign(table.names()->begin(), table.names()->end());
  }
  if (table.runs() == nullptr) return found;
  if (!IsAligned<wire::ContentRun>(*table.runs())) return Malformed("misaligned runs");
  uint64_t next = 0;
  for (const wire::ContentRun* run : *table.runs()) {
    const ContentRun read{run->first(), run->count(), FromWire<ObjectId>(&run->object()),
                          run->offset()};
    if (read.first < next || read.count == 0 || read.offset > ByteRange::kEndOfFile) {
      return Malformed("an impossible run of chunks");
    }
    next = uint64_t{read.first} + read.count;
    if (next > kMaxFindChunks) return Malformed("more chunks than were asked for");
    found.runs.push_back(read);
  }
  return found;
}

Result<ReplyBody> ReadBody(WireReader& reader, const wire::Reply& reply) {
  RETURN_IF_ERROR(CheckUnion(reply.body_type(), reply.body()));
  switch (reply.body_type()) {
    case wire::ReplyBody::NONE:
      return ReplyBody();
    case wire::ReplyBody::Position:
      return Read(reader, *reply.body_as_Position());
    case wire::ReplyBody::Signature:
      return Read(reader, *reply.body_as_Signature());
    case wire::ReplyBody::Listing:
      return Read(reader, *reply.body_as_Listing());
    case wire::ReplyBody::Found:
      return Read(reader, *reply.body_as_Found());
    case wire::ReplyBody::Digests:
      return Read(reader, *reply.body_as_Digests());
    case wire::ReplyBody::Enrolled:
      return Read(reader, *reply.body_as_Enrolled());
    case wire::ReplyBody::Resumed:
      return Read(reader, *reply.body_as_Resumed());
    case wire::ReplyBody::StagedObjects:
      return Read(reader, *reply.body_as_StagedObjects());
    case wire::ReplyBody::FoundContent:
      return Read(reader, *reply.body_as_FoundContent());
  }
  return Malformed("unknown reply");
}

}  // namespace

const char* NameOf(ReplyCode code) {
  switch (code) {
    case ReplyCode::kOk:
      return "ok";
    case ReplyCode::kBadRequest:
      return "bad request";
    case ReplyCode::kVersion:
      return "no common protocol version";
    case ReplyCode::kRefused:
      return "refused";
    case ReplyCode::kUnknownSession:
      return "unknown session";
    case ReplyCode::kUnknownStage:
      return "unknown stage";
    case ReplyCode::kWrongBase:
      return "wrong base";
    case ReplyCode::kMissingObjects:
      return "missing objects";
    case ReplyCode::kBasisChanged:
      return "basis changed";
    case ReplyCode::kNoSpace:
      return "no space";
    case ReplyCode::kIoError:
      return "I/O error";
    case ReplyCode::kBusy:
      return "busy";
    case ReplyCode::kNotFound:
      return "not found";
    case ReplyCode::kUnreadable:
      return "unreadable on the replica";
  }
  return "unknown reply code";
}

std::string EncodeReply(const Reply& reply) {
  WireBuilder builder(kReplyEnvelopeBytes);
  const auto body = std::visit(ReplyWriter{builder}, reply.body);
  flatbuffers::Offset<WireBytes> message;
  if (!reply.message.empty()) {
    message = WriteBytes(builder, std::string_view(reply.message).substr(0, kMaxTextBytes));
  }
  flatbuffers::Offset<flatbuffers::Vector<const wire::Id*>> missing;
  if (!reply.missing.empty()) {
    std::vector<wire::Id> ids;
    for (const ObjectId& object : reply.missing) ids.push_back(ToWire(object));
    missing = builder.CreateVectorOfStructs(ids);
  }
  const auto root =
      wire::CreateReply(builder, static_cast<wire::ReplyCode>(reply.code), message, missing,
                        static_cast<wire::ReplyBody>(reply.body.index()), body);
  return Finish(builder, root.Union(), kReplyIdentifier);
}

Result<Reply> DecodeReply(std::string_view bytes) {
  if (bytes.size() > kMaxMessageBytes) return Malformed("larger than the limit");
  WireReader reader(bytes);
  ASSIGN_OR_RETURN(const wire::Reply* root, reader.Root<wire::Reply>(kReplyIdentifier));
  Reply reply;
  ASSIGN_OR_RETURN(reply.code, reader.Enum<ReplyCode>(root->code(), "reply code"));
  ASSIGN_OR_RETURN(reply.message, ReadText(reader, root->message()));
  ASSIGN_OR_RETURN(reply.missing, reader.Objects(root->missing()));
  ASSIGN_OR_RETURN(reply.body, ReadBody(reader, *root));
  return reply;
}

}  // namespace tandem::replica
