// Requests: encoding and checked decoding.
#include "replica/wire/messages.h"

#include "replica/wire/wire_codec.h"

namespace tandem::replica {
namespace {

constexpr char kRequestIdentifier[] = "TFQ1";
constexpr size_t kMaxSourceBytes = 8192;
// The size of a message besides the bytes it carries.
constexpr size_t kRequestEnvelopeBytes = 512;

// ---- Writing -----------------------------------------------------------------------------------

flatbuffers::Offset<wire::Begin> Write(WireBuilder& builder, const Begin& begin) {
  const auto stage = ToWire(begin.stage);
  const auto base = ToWire(begin.base);
  const auto life = ToWire(begin.life);
  return wire::CreateBegin(builder, &stage, &base, begin.expected_bytes,
                           begin.life.is_null() ? nullptr : &life, begin.begun_ns);
}

flatbuffers::Offset<wire::Chunk> Write(WireBuilder& builder, const Chunk& chunk) {
  const auto payload = WriteBytes(builder, chunk.payload);
  const auto stage = ToWire(chunk.stage);
  return wire::CreateChunk(builder, &stage, chunk.sequence, chunk.raw_size, chunk.checksum,
                           payload);
}

flatbuffers::Offset<wire::Commit> Write(WireBuilder& builder, const Commit& commit) {
  const auto stage = ToWire(commit.stage);
  const auto base = ToWire(commit.base);
  const auto cut = ToWire(commit.cut);
  return wire::CreateCommit(builder, &stage, &base, &cut, commit.wall_time_ns, commit.chunk_count,
                            commit.digest);
}

struct RequestWriter {
  WireBuilder& builder;

  auto operator()(const Hello& hello) const {
    const auto name = WriteBytes(builder, hello.volume_name);
    const auto source = WriteBytes(builder, hello.source);
    const auto volume = ToWire(hello.volume);
    const auto run = ToWire(hello.run);
    return wire::CreateHello(builder, hello.protocol_oldest, hello.protocol_newest, name, &volume,
                             source, hello.run.is_null() ? nullptr : &run)
        .Union();
  }
  auto operator()(const Begin& begin) const { return Write(builder, begin).Union(); }
  auto operator()(const Chunk& chunk) const { return Write(builder, chunk).Union(); }
  auto operator()(const Commit& commit) const { return Write(builder, commit).Union(); }
  auto operator()(const WaitApplied& wait) const {
    const auto cut = ToWire(wait.cut);
    return wire::CreateWaitApplied(builder, &cut, wait.timeout_ms).Union();
  }
  auto operator()(const GetSignature& get) const {
    const auto object = ToWire(get.object);
    return wire::CreateGetSignature(builder, &object, get.offset, get.length).Union();
  }
  auto operator()(const List& list) const {
    const auto after = WriteBytes(builder, list.after);
    const auto up_to = WriteBytes(builder, list.up_to);
    const auto directory = ToWire(list.directory);
    return wire::CreateList(builder, &directory, static_cast<wire::Origin>(list.origin), after,
                            list.with_xattrs, up_to, list.digests_up_to, list.digests.block_size,
                            static_cast<wire::HashAlgorithm>(list.digests.algorithm),
                            list.digests.drop_cache, list.digests.mark_holes, list.live)
        .Union();
  }
  auto operator()(const Find& find) const {
    std::vector<wire::Id> ids;
    ids.reserve(find.objects.size());
    for (const ObjectId& object : find.objects) ids.push_back(ToWire(object));
    return wire::CreateFind(builder, builder.CreateVectorOfStructs(ids),
                            static_cast<wire::Origin>(find.origin), find.with_xattrs)
        .Union();
  }
  auto operator()(const GetDigests& get) const {
    const auto object = ToWire(get.object);
    return wire::CreateGetDigests(builder, &object, get.offset, get.length, get.digests.block_size,
                                  static_cast<wire::HashAlgorithm>(get.digests.algorithm),
                                  get.digests.drop_cache, get.digests.mark_holes, get.live)
        .Union();
  }
  auto operator()(const Enrol& enrol) const {
    const auto secret = WriteBytes(builder, enrol.secret);
    const auto request = WriteBytes(builder, enrol.certificate_request);
    const auto host = WriteBytes(builder, enrol.host);
    return wire::CreateEnrol(builder, secret, request, host).Union();
  }
  auto operator()(const Renew& renew) const {
    const auto request = WriteBytes(builder, renew.certificate_request);
    return wire::CreateRenew(builder, request).Union();
  }
  auto operator()(const Rekey& rekey) const {
    std::vector<wire::Id> before;
    std::vector<wire::Id> after;
    for (const Rekey::Pair& pair : rekey.pairs) {
      before.push_back(ToWire(pair.before));
      after.push_back(ToWire(pair.after));
    }
    const auto before_ids = builder.CreateVectorOfStructs(before);
    return wire::CreateRekey(builder, before_ids, builder.CreateVectorOfStructs(after)).Union();
  }
  auto operator()(const GetStaged& get) const {
    const auto stage = ToWire(get.stage);
    std::vector<wire::Id> objects;
    for (const ObjectId& object : get.objects) objects.push_back(ToWire(object));
    return wire::CreateGetStaged(builder, &stage, builder.CreateVectorOfStructs(objects)).Union();
  }
  auto operator()(const FindContent& find) const {
    std::vector<wire::ContentPlace> ranges;
    for (const ContentPlace& place : find.ranges) {
      ranges.emplace_back(ToWire(place.object), place.offset, place.length);
    }
    std::vector<wire::Id> files;
    for (const ObjectId& file : find.files) files.push_back(ToWire(file));
    const auto chunks = builder.CreateVector(find.chunks);
    const auto all_ranges = builder.CreateVectorOfStructs(ranges);
    return wire::CreateFindContent(builder, chunks, all_ranges,
                                   builder.CreateVectorOfStructs(files))
        .Union();
  }
  auto operator()(const Increment& increment) const {
    const auto begin = Write(builder, increment.begin);
    const auto chunk = Write(builder, increment.chunk);
    const auto commit = Write(builder, increment.commit);
    return wire::CreateIncrement(builder, begin, chunk, commit, increment.timeout_ms).Union();
  }
};

// RequestBody and the union on the wire list their alternatives in the same order.
static_assert(std::variant_size_v<RequestBody> == static_cast<size_t>(wire::RequestBody::MAX));
static_assert(std::is_same_v<std::variant_alternative_t<3, RequestBody>, Commit> &&
              wire::RequestBodyTraits<wire::Commit>::enum_value == wire::RequestBody(3 + 1));
static_assert(std::is_same_v<std::variant_alternative_t<8, RequestBody>, GetDigests> &&
              wire::RequestBodyTraits<wire::GetDigests>::enum_value == wire::RequestBody(8 + 1));
static_assert(std::is_same_v<std::variant_alternative_t<10, RequestBody>, Renew> &&
              wire::RequestBodyTraits<wire::Renew>::enum_value == wire::RequestBody(10 + 1));
static_assert(std::is_same_v<std::variant_alternative_t<11, RequestBody>, Rekey> &&
              wire::RequestBodyTraits<wire::Rekey>::enum_value == wire::RequestBody(11 + 1));
static_assert(std::is_same_v<std::variant_alternative_t<12, RequestBody>, GetStaged> &&
              wire::RequestBodyTraits<wire::GetStaged>::enum_value == wire::RequestBody(12 + 1));
static_assert(std::is_same_v<std::variant_alternative_t<13, RequestBody>, Increment> &&
              wire::RequestBodyTraits<wire::Increment>::enum_value == wire::RequestBody(13 + 1));
static_assert(std::is_same_v<std::variant_alternative_t<14, RequestBody>, FindContent> &&
              wire::RequestBodyTraits<wire::FindContent>::enum_value == wire::RequestBody(14 + 1));

size_t SizeHint(const RequestBody& body) {
  const auto* chunk = std::get_if<Chunk>(&body);
  if (const auto* increment = std::get_if<Increment>(&body)) chunk = &increment->chunk;
  return kRequestEnvelopeBytes + (chunk != nullptr ? chunk->payload.size() : 0);
}

// ---- Reading -----------------------------------------------------------------------------------

Status CheckRange(uint64_t offset, uint64_t length) {
  if (offset > ByteRange::kEndOfFile || length > ByteRange::kEndOfFile - offset) {
    return Malformed("a range beyond 2^63");
  }
  return {};
}

Result<RequestBody> Read(WireReader& reader, const wire::Hello& table) {
  Hello hello;
  hello.protocol_oldest = table.protocol_oldest();
  hello.protocol_newest = table.protocol_newest();
  if (hello.protocol_oldest > hello.protocol_newest)
    return Malformed("an empty range of protocol versions");
  ASSIGN_OR_RETURN(hello.volume_name, reader.Name(table.volume_name()));
  if (hello.volume_name.front() == '.') return Malformed("a volume name that begins with a dot");
  hello.volume = FromWire<VolumeId>(table.volume());
  if (hello.volume.is_null()) return Malformed("a volume without id");
  ASSIGN_OR_RETURN(hello.source, reader.Bytes(table.source(), kMaxSourceBytes, "source"));
  hello.run = FromWire<RunId>(table.run());
  return hello;
}

Result<Begin> Read(WireReader&, const wire::Begin& table) {
  ASSIGN_OR_RETURN(const CutName base, FromWire(*table.base()));
  const Begin begin{FromWire<CutId>(table.stage()), base, table.expected_bytes(),
                    FromWire<LifeId>(table.life()), table.begun_ns()};
  if (begin.stage.is_null()) return Malformed("a stage without id");
  return begin;
}

Result<Chunk> Read(WireReader& reader, const wire::Chunk& table) {
  Chunk chunk;
  chunk.stage = FromWire<CutId>(table.stage());
  chunk.sequence = table.sequence();
  if (chunk.sequence >= kMaxChunks) return Malformed("more chunks than a stage may have");
  chunk.raw_size = table.raw_size();
  if (chunk.raw_size > kMaxMessageBytes) return Malformed("a chunk larger than the limit");
  chunk.checksum = table.checksum();
  ASSIGN_OR_RETURN(chunk.payload, reader.Bytes(table.payload(), kMaxMessageBytes, "chunk"));
  return chunk;
}

Result<Commit> Read(WireReader&, const wire::Commit& table) {
  ASSIGN_OR_RETURN(const CutName base, FromWire(*table.base()));
  ASSIGN_OR_RETURN(const CutName cut, FromWire(*table.cut()));
  const Commit commit{FromWire<CutId>(table.stage()),
                      base,
                      cut,
                      table.wall_time_ns(),
                      table.chunk_count(),
                      table.digest()};
  if (commit.stage.is_null() || commit.cut.id.is_null()) return Malformed("a cut without id");
  const bool of_no_moment = commit.cut.epoch == Epoch();
  if (!of_no_moment && commit.cut.epoch <= commit.base.epoch) {
    return Malformed("a cut older than its base");
  }
  return commit;
}

Result<RequestBody> Read(WireReader&, const wire::WaitApplied& table) {
  ASSIGN_OR_RETURN(const CutName cut, FromWire(*table.cut()));
  return WaitApplied{cut, table.timeout_ms()};
}

Result<RequestBody> Read(WireReader&, const wire::GetSignature& table) {
  const GetSignature get{FromWire<ObjectId>(table.object()), table.offset(), table.length()};
  RETURN_IF_ERROR(CheckRange(get.offset, get.length));
  if (get.length > kMaxDeltaWindow) return Malformed("a signature over too large a range");
  return get;
}

bool IsPossibleBlock(uint32_t block_size) {
  return block_size >= kMinDigestBlock && block_size <= kMaxDigestBlock;
}

// Of a List or a GetDigests.
template <typename Table>
Result<DigestOptions> ReadDigestOptions(WireReader& reader, const Table& table) {
  DigestOptions options;
  options.block_size = table.block_size();
  ASSIGN_OR_RETURN(options.algorithm, reader.Enum<HashAlgorithm>(table.algorithm(), "algorithm"));
  options.drop_cache = table.drop_cache();
  options.mark_holes = table.mark_holes();
  return options;
}

Result<RequestBody> Read(WireReader& reader, const wire::List& table) {
  List list;
  list.directory = FromWire<ObjectId>(table.directory());
  ASSIGN_OR_RETURN(list.origin, reader.Enum<Origin>(table.origin(), "origin"));
  ASSIGN_OR_RETURN(list.after, reader.Bytes(table.after(), kMaxNameBytes, "a name"));
  list.with_xattrs = table.with_xattrs();
  ASSIGN_OR_RETURN(list.up_to, reader.Bytes(table.up_to(), kMaxNameBytes, "a name"));
  list.digests_up_to = table.digests_up_to();
  ASSIGN_OR_RETURN(list.digests, ReadDigestOptions(reader, table));
  list.live = table.live();
  const bool impossible = list.digests_up_to > kMaxListedContent ||
                          !IsPossibleBlock(list.digests.block_size) ||
                          list.digests_up_to / list.digests.block_size >= kMaxListedDigests;
  if (list.digests_up_to != 0 && impossible) return Malformed("a listing with impossible digests");
  return list;
}

Result<RequestBody> Read(WireReader& reader, const wire::Find& table) {
  Find find;
  ASSIGN_OR_RETURN(find.objects, reader.Objects(table.objects()));
  ASSIGN_OR_RETURN(find.origin, reader.Enum<Origin>(table.origin(), "origin"));
  find.with_xattrs = table.with_xattrs();
  return find;
}

Result<RequestBody> Read(WireReader& reader, const wire::GetDigests& table) {
  GetDigests get;
  get.object = FromWire<ObjectId>(table.object());
  get.offset = table.offset();
  get.length = table.length();
  RETURN_IF_ERROR(CheckRange(get.offset, get.length));
  ASSIGN_OR_RETURN(get.digests, ReadDigestOptions(reader, table));
  const uint32_t block_size = get.digests.block_size;
  if (!IsPossibleBlock(block_size) || get.offset % block_size != 0 ||
      get.length > kMaxDigestWindow || get.length / block_size > kMaxDigestBlocks) {
    return Malformed("digests over impossible blocks");
  }
  get.live = table.live();
  return get;
}

Result<RequestBody> Read(WireReader& reader, const wire::Enrol& table) {
  Enrol enrol;
  ASSIGN_OR_RETURN(enrol.secret, reader.Bytes(table.secret(), kInvitationSecretBytes, "secret"));
  if (enrol.secret.size() != kInvitationSecretBytes) return Malformed("part of a secret");
  ASSIGN_OR_RETURN(
      enrol.certificate_request,
      reader.Bytes(table.certificate_request(), kMaxCertificateBytes, "certificate request"));
  ASSIGN_OR_RETURN(enrol.host, reader.Bytes(table.host(), kMaxHostNameBytes, "host name"));
  return enrol;
}

Result<RequestBody> Read(WireReader& reader, const wire::Renew& table) {
  Renew renew;
  ASSIGN_OR_RETURN(
      renew.certificate_request,
      reader.Bytes(table.certificate_request(), kMaxCertificateBytes, "certificate request"));
  return renew;
}

Result<RequestBody> Read(WireReader& reader, const wire::Rekey& table) {
  ASSIGN_OR_RETURN(const std::vector<ObjectId> before, reader.Objects(table.before()));
  ASSIGN_OR_RETURN(const std::vector<ObjectId> after, reader.Objects(table.after()));
  if (before.size() != after.size()) return Malformed("ids before and after that do not match");
  Rekey rekey;
  for (size_t i = 0; i < before.size(); ++i) rekey.pairs.push_back({before[i], after[i]});
  return rekey;
}

Result<RequestBody> Read(WireReader& reader, const wire::GetStaged& table) {
  GetStaged get;
  get.stage = FromWire<CutId>(table.stage());
  ASSIGN_OR_RETURN(get.objects, reader.Objects(table.objects()));
  return get;
}

Result<RequestBody> Read(WireReader& reader, const wire::Increment& table) {
  Increment increment;
  ASSIGN_OR_RETURN(increment.begin, Read(reader, *table.begin()));
  ASSIGN_OR_RETURN(increment.chunk, Read(reader, *table.chunk()));
  ASSIGN_OR_RETURN(increment.commit, Read(reader, *table.commit()));
  increment.timeout_ms = table.timeout_ms();
  const CutId stage = increment.begin.stage;
  if (increment.chunk.stage != stage || increment.commit.stage != stage ||
      increment.begin.base != increment.commit.base) {
    return Malformed("an increment of several stages");
  }
  return increment;
}

Result<RequestBody> Read(WireReader&, const wire::FindContent& table) {
  FindContent find;
  if (table.chunks() != nullptr) {
    if (table.chunks()->size() > kMaxFindChunks) return Malformed("too many chunks at once");
    if (!IsAligned<uint64_t>(*table.chunks())) return Malformed("misaligned chunks");
    find.chunks.assign(table.chunks()->begin(), table.chunks()->end());
  }
  if (table.files() != nullptr) {
    if (table.files()->size() > kMaxFindFiles) return Malformed("too many files at once");
    if (!IsAligned<wire::Id>(*table.files())) return Malformed("misaligned files");
    for (const wire::Id* file : *table.files()) find.files.push_back(FromWire<ObjectId>(file));
  }
  if (table.ranges() == nullptr) return find;
  if (table.ranges()->size() > kMaxFindRanges) return Malformed("too many ranges at once");
  if (!IsAligned<wire::ContentPlace>(*table.ranges())) return Malformed("misaligned ranges");
  uint64_t total = 0;
  for (const wire::ContentPlace* place : *table.ranges()) {
    const ContentPlace wanted{FromWire<ObjectId>(&place->object()), place->offset(),
                              place->length()};
    RETURN_IF_ERROR(CheckRange(wanted.offset, wanted.length));
    if (wanted.length == 0 || wanted.length > kMaxDeltaWindow ||
        wanted.length > kMaxFoundBytes - total) {
      return Malformed("digests over too large a range");
    }
    total += wanted.length;
    find.ranges.push_back(wanted);
  }
  return find;
}

Result<RequestBody> ReadBody(WireReader& reader, const wire::Request& request) {
  RETURN_IF_ERROR(CheckUnion(request.body_type(), request.body()));
  switch (request.body_type()) {
    case wire::RequestBody::Hello:
      return Read(reader, *request.body_as_Hello());
    case wire::RequestBody::Begin:
      return Read(reader, *request.body_as_Begin());
    case wire::RequestBody::Chunk:
      return Read(reader, *request.body_as_Chunk());
    case wire::RequestBody::Commit:
      return Read(reader, *request.body_as_Commit());
    case wire::RequestBody::WaitApplied:
      return Read(reader, *request.body_as_WaitApplied());
    case wire::RequestBody::GetSignature:
      return Read(reader, *request.body_as_GetSignature());
    case wire::RequestBody::List:
      return Read(reader, *request.body_as_List());
    case wire::RequestBody::Find:
      return Read(reader, *request.body_as_Find());
    case wire::RequestBody::GetDigests:
      return Read(reader, *request.body_as_GetDigests());
    case wire::RequestBody::Enrol:
      return Read(reader, *request.body_as_Enrol());
    case wire::RequestBody::Renew:
      return Read(reader, *request.body_as_Renew());
    case wire::RequestBody::Rekey:
      return Read(reader, *request.body_as_Rekey());
    case wire::RequestBody::GetStaged:
      return Read(reader, *request.body_as_GetStaged());
    case wire::RequestBody::Increment:
      return Read(reader, *request.body_as_Increment());
    case wire::RequestBody::FindContent:
      return Read(reader, *request.body_as_FindContent());
    case wire::RequestBody::NONE:
      break;
  }
  return Malformed("unknown request");
}

}  // namespace

std::string EncodeRequest(const Request& request) {
  WireBuilder builder(SizeHint(request.body));
  const auto body = std::visit(RequestWriter{builder}, request.body);
  const auto type = static_cast<wire::RequestBody>(request.body.index() + 1);
  const auto session = ToWire(request.session);
  const auto root =
      wire::CreateRequest(builder, request.session.is_null() ? nullptr : &session, type, body);
  return Finish(builder, root.Union(), kRequestIdentifier);
}

Result<Request> DecodeRequest(std::string_view bytes) {
  if (bytes.size() > kMaxMessageBytes) return Malformed("larger than the limit");
  WireReader reader(bytes);
  ASSIGN_OR_RETURN(const wire::Request* root, reader.Root<wire::Request>(kRequestIdentifier));
  Request request;
  request.session = FromWire<SessionId>(root->session());
  ASSIGN_OR_RETURN(request.body, ReadBody(reader, *root));
  return request;
}

}  // namespace tandem::replica
