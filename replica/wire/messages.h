// The messages between tandemfs and tandemd, as plain structs. Each has a table in
// replica/wire/wire.fbs, the reference of the wire format; only replica/wire/messages*.cc know
// both. replica/PROTOCOL.md describes the order of messages, and what each means when it is lost or
// repeated.
//
// Any thread may call these functions. The Decode functions check everything (FlatBuffers verifier,
// lengths, kinds, names) and return kProtocol if anything is wrong. What they return owns its
// bytes.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"
#include "meta/source/attributes.h"

namespace tandem::replica {

inline constexpr uint32_t kProtocolOldest = 1;
inline constexpr uint32_t kProtocolNewest = 3;
inline constexpr uint32_t kProtocolIncrements = 2;    // the first that has Increment
inline constexpr uint32_t kProtocolFindsContent = 3;  // has FindContent, kCopy and ObjectColumns

// The largest message, and the largest uncompressed size of a chunk's records.
inline constexpr size_t kMaxMessageBytes = 32 << 20;
// The most bytes of content that one signature or delta covers.
inline constexpr uint64_t kMaxDeltaWindow = 16 << 20;
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr uint64_t kMaxChunks = uint64_t{1} << 32;  // of a stage
// The most objects that one Find asks for, and that one reply to Commit names as missing.
inline constexpr size_t kMaxFindObjects = 4096;
// The most short objects that one Position lists.
inline constexpr size_t kMaxShortListed = 64;
inline constexpr size_t kMaxShortRanges = 1024;
// The most ranges that a reply to GetStaged has of one object, and of all.
inline constexpr size_t kMaxStagedRanges = 1024;
inline constexpr size_t kMaxStagedRangesInAll = 1 << 16;
// Limits of one GetDigests. A verify of a large file sends one for each window.
inline constexpr uint32_t kMinDigestBlock = 512;
inline constexpr uint32_t kMaxDigestBlock = 64 << 20;
inline constexpr uint64_t kMaxDigestWindow = 256 << 20;
inline constexpr uint64_t kMaxDigestBlocks = 65536;
// The largest file whose digests come with a listing, and how many there may be of one file.
inline constexpr uint64_t kMaxListedContent = 1 << 20;
inline constexpr uint64_t kMaxListedDigests = 2048;
inline constexpr size_t kMaxDigestBytes = 32;
// Limits of FindContent. The lengths of the ranges together are at most kMaxFoundBytes.
inline constexpr size_t kMaxFindChunks = 512;
inline constexpr size_t kMaxFindRanges = 64;
inline constexpr uint64_t kMaxFoundBytes = 64 << 20;
inline constexpr size_t kMaxFindFiles = 1024;
inline constexpr uint64_t kMostOfSmallFile = 64 << 10;
inline constexpr size_t kCopyDigestBytes = 32;
// Limits of Enrol and Renew.
inline constexpr size_t kInvitationSecretBytes = 32;
inline constexpr size_t kMaxCertificateBytes = 8192;
inline constexpr size_t kMaxHostNameBytes = 255;
inline constexpr size_t kMaxIdentityBytes = 64;

// Returns true if a directory can have an entry of this name: 1 to 255 bytes, no '/', no NUL,
// neither
// "." nor "..". A volume's name, in addition, does not begin with a dot.
bool IsValidName(std::string_view name);

// ---- Records: what a change set is made of -----------------------------------------------------

// Attributes of an object as of the cut. Comes before the object's data; its order among the
// entries does not matter.
struct ObjectRecord {
  ObjectId object;
  // The record and the data that follow it describe the whole object: it is created if unknown.
  bool whole = false;
  // If true, `attributes.xattrs` is the full set; if false, extended attributes are left alone.
  bool with_xattrs = false;
  // The content ends at attributes.size.
  meta::Attributes attributes;
  // In a stage that is gone on with: what came of the object before is its state in this attempt,
  // too. Of objects without such a record, what came before does not count.
  bool again = false;
};

enum class Encoding : uint8_t {
  kLiteral = 0,  // `bytes` is the content; bytes.size() == length
  kHole = 1,     // the range is a hole; `bytes` is empty
  kDelta = 2,    // `bytes` is a librsync delta against [basis_offset, +basis_length) of `basis`
  // Only in a replica's stage, never sent: the content, bytes or hole, is in a file beside the
  // stage file (replica/apply/staged_files.h) whose inode is `basis`. If `fresh`, that file is the
  // object's whole content since its last whole record. `bytes` has digests of the content
  // (replica/apply/content_digests.h).
  kStaged = 3,
  // The content of [basis_offset, +length) of `basis`, as kDelta knows it. `bytes` is the digest of
  // the content (replica/content_chunks.h).
  kCopy = 4,
};

struct DataRecord {
  ObjectId object;
  uint64_t offset = 0;
  uint64_t length = 0;
  Encoding encoding = Encoding::kLiteral;
  std::string bytes;
  // kDelta, kCopy: the object whose content, as the replica has *applied* it, is the basis.
  ObjectId basis;
  uint64_t basis_offset = 0;
  uint64_t basis_length = 0;
  // kDelta: XXH3-64 of the resolved content. If it does not match, the basis was not what the
  // signature described, and the reply is kBasisChanged.
  uint64_t checksum = 0;
  // All content of a large object travels in this stage: its whole record came before, the data
  // comes in order of sequence, and data that overwrites earlier data is sent only once that has
  // been answered. So the replica may write it straight into the file that becomes the object.
  bool fresh = false;
};

// The name leads to `child`, or to nothing if `child` is null. A later record of a name replaces an
// earlier one.
struct EntryRecord {
  ObjectId parent;
  std::string name;
  ObjectId child;
};

using Record = std::variant<ObjectRecord, DataRecord, EntryRecord>;

// ---- Requests ----------------------------------------------------------------------------------

// Opens a session. The previous session of this volume ends.
struct Hello {
  uint32_t protocol_oldest = kProtocolOldest;
  uint32_t protocol_newest = kProtocolNewest;
  std::string volume_name;
  VolumeId volume;
  std::string source;  // host:path, shown in messages
  // Distinguishes two sources with the same volume and host:path. Null if the source is too old to
  // have one.
  RunId run = {};
};

// Opens a stage on top of `base`, which must be the cut that the replica has durable and applied. A
// repeated Begin changes nothing; a Begin with another stage id discards the open stage.
struct Begin {
  CutId stage;  // random; names this attempt
  CutName base;
  // About how many bytes the stage will take, or 0 if unknown. The reply is kNoSpace if there is
  // less room.
  uint64_t expected_bytes = 0;
  // If not null: as long as the source names the same life, content that it has once sent and that
  // its ctime calls unchanged is what its disk has. If the stage of an earlier Begin on the same
  // base, in the same life, was broken off, the reply is Resumed, and that stage has this one's id
  // from now on.
  LifeId life = {};
  // When the source began to read, by its clock.
  int64_t begun_ns = 0;
};

// One numbered piece of the stage. `payload` holds records (EncodeRecords), zstd-compressed if
// raw_size != 0.
struct Chunk {
  CutId stage;
  // Counts from 0 without gaps, below kMaxChunks; chunks arrive in any order.
  uint64_t sequence = 0;
  uint64_t raw_size = 0;
  uint64_t checksum = 0;  // XXH3-64 of the payload as sent
  std::string payload;
};

// Says that the stage is complete. The replica makes it durable as `cut`, then applies it.
struct Commit {
  CutId stage;
  CutName base;
  CutName cut;
  int64_t wall_time_ns = 0;
  uint64_t chunk_count = 0;
  // XXH3-64 of the chunks' checksums (8 bytes little endian each) in order of sequence.
  uint64_t digest = 0;
  friend bool operator==(const Commit&, const Commit&) = default;
};

// Is answered when `cut` is applied, or after the time-out.
struct WaitApplied {
  CutName cut;
  uint32_t timeout_ms = 0;
};

// Requests a librsync signature of content that the replica has applied.
struct GetSignature {
  ObjectId object;
  uint64_t offset = 0;
  uint64_t length = 0;  // at most kMaxDeltaWindow
};

enum class Origin : uint8_t {
  kDatabase = 0,  // what the replica has applied, with the source's own attributes
  kDisk = 1,      // what is on the replica's disk now
};

enum class HashAlgorithm : uint8_t { kXxh3 = 0, kBlake2b = 1, kSha256 = 2, kMd5 = 3 };

// How the digests of blocks of content are computed.
struct DigestOptions {
  uint32_t block_size = 0;
  HashAlgorithm algorithm = HashAlgorithm::kXxh3;
  bool drop_cache = false;  // read from the device, not from the page cache
  // The digest of a block that is a hole as a whole is zeros, which tells it from zeros that were
  // written.
  bool mark_holes = false;
};

// Requests the names in a directory, in byte order, from the first one after `after` to `up_to`,
// which may be empty: then to the last one. Fewer may be returned: see Listing::more.
struct List {
  ObjectId directory;
  Origin origin = Origin::kDatabase;
  std::string after;
  bool with_xattrs = false;
  std::string up_to = {};
  // kDisk: if not 0, files of up to so many bytes are listed with the digests of their content.
  uint64_t digests_up_to = 0;
  DigestOptions digests = {};
  // kDisk: redoes go on while the disk is read, so what is listed may be of no one cut.
  bool live = false;
};

// Asks which of these objects the replica has, and requests their attributes; extended attributes
// only if `with_xattrs`.
struct Find {
  std::vector<ObjectId> objects;
  Origin origin = Origin::kDatabase;
  bool with_xattrs = false;
};

// Requests the digests of blocks of content on the replica's disk.
struct GetDigests {
  ObjectId object;
  uint64_t offset = 0;  // a multiple of the block size
  uint64_t length = 0;
  DigestOptions digests = {};
  // Redoes go on while the content is read, so it may be of no one cut.
  bool live = false;
};

// Asks for a certificate in exchange for the secret of an invitation. The only request that a host
// without a certificate may send. May be repeated with the same key until the invitation expires.
struct Enrol {
  std::string secret;
  std::string certificate_request;  // PKCS #10, PEM, signed with the host's key
  std::string host;                 // the host's name for itself, shown in the identity's name
};

// Asks for a certificate for another key of the identity that the connection belongs to. The old
// key goes on working until the new one has been used.
struct Renew {
  std::string certificate_request;  // empty: only asks whether the key is to be renewed
};

// Gives objects that were imported (replica/wire/imported.h) the ids that the source has for them.
// Of each pair only the catalog's id changes; a pair that does not fit is ignored, so a Rekey that
// comes again changes nothing.
struct Rekey {
  struct Pair {
    ObjectId before;
    ObjectId after;
  };
  std::vector<Pair> pairs;  // at most kMaxFindObjects
};

// Asks what a resumed stage has of these objects, at most kMaxFindObjects.
struct GetStaged {
  CutId stage;
  std::vector<ObjectId> objects;
};

// A change set of one chunk, from Begin until it is applied: does what these requests do, one after
// another, and then waits as WaitApplied does. The reply is that of the first that is not kOk;
// otherwise that of WaitApplied, or if that is not kOk, of Commit.
struct Increment {
  Begin begin;
  Chunk chunk;
  Commit commit;
  uint32_t timeout_ms = 0;
};

// Content on the replica's disk.
struct ContentPlace {
  ObjectId object;
  uint64_t offset = 0;
  uint64_t length = 0;

  // Returns the same with so much before and after it.
  ContentPlace With(uint64_t slack) const {
    const uint64_t before = offset < slack ? offset : slack;
    return {object, offset - before, before + length + slack};
  }
  friend bool operator==(const ContentPlace&, const ContentPlace&) = default;
};

// Asks where the replica has these chunks of content (replica/content_chunks.h), for the digests of
// these ranges, and for the names of all that is in these small files. Each may be empty. Redoes go
// on meanwhile: what is found is a guess until the kCopy that rests on it is taken.
struct FindContent {
  std::vector<uint64_t> chunks;      // their names; at most kMaxFindChunks
  std::vector<ContentPlace> ranges;  // at most kMaxFindRanges, each at most kMaxDeltaWindow long
  std::vector<ObjectId> files = {};  // at most kMaxFindFiles, each at most kMostOfSmallFile long
};

using RequestBody =
    std::variant<Hello, Begin, Chunk, Commit, WaitApplied, GetSignature, List, Find, GetDigests,
                 Enrol, Renew, Rekey, GetStaged, Increment, FindContent>;
struct Request {
  SessionId session;  // null with Hello, Enrol and Renew
  RequestBody body;
};

// ---- Replies -----------------------------------------------------------------------------------

enum class ReplyCode : uint8_t {
  kOk = 0,
  kBadRequest = 1,      // does not follow the protocol
  kVersion = 2,         // no common protocol version
  kRefused = 3,         // the volume belongs to another source
  kUnknownSession = 4,  // say Hello again
  kUnknownStage = 5,    // Begin again
  kWrongBase = 6,       // the replica is at another cut: say Hello again
  kMissingObjects = 7,  // Commit: see Reply::missing; the stage stays open for more chunks
  kBasisChanged = 8,    // a delta did not fit: send the bytes
  kNoSpace = 9,
  kIoError = 10,
  kBusy = 11,        // a redo is running; ask again
  kNotFound = 12,    // the replica has no such object
  kUnreadable = 13,  // it has, but its disk does not give what was asked for; all else goes on
};

// An object that falls short: for reasons of its own it cannot be the same on the replica as on the
// source (DESIGN invariant 10).
struct ShortObject {
  ObjectId object;
  std::string path;      // below the root, as of the applied cut
  std::string reason;    // shown to users: what was tried, and why it failed
  bool by_name = false;  // only its name falls short; its content is correct
  // A scrub has found it damaged: all is well if its attributes are sent again, and of its content
  // these ranges. (To a source that does not know this, it is an object that falls short.)
  bool damaged = false;
  std::vector<ByteRange> ranges = {};  // at most kMaxShortRanges, in order
  friend bool operator==(const ShortObject&, const ShortObject&) = default;
};

// The answer to Hello and WaitApplied: the cuts that the replica has. Epoch 0: it is at no cut.
struct Position {
  SessionId session;
  uint32_t protocol = 0;
  CutName durable;
  CutName applied;
  bool empty = true;   // there is no object but the root, so nothing to compare with
  std::string notice;  // shown to users (owners cannot be set, ...); may be empty
  // At most kMaxShortListed of the objects that fall short at the applied cut, and how many there
  // are in total.
  std::vector<ShortObject> short_objects = {};
  uint64_t short_count = 0;
  // The largest file, in bytes, that the replica's filesystem allows.
  uint64_t largest_file = std::numeric_limits<int64_t>::max();
};

struct Signature {
  std::string bytes;  // a librsync signature; empty if the range is beyond the end
  uint64_t file_size = 0;
};

struct Listed {
  std::string name;
  ObjectId object;  // null if the object is on the disk but unknown to the replica
  meta::Attributes attributes;
  // The cut that last changed the object on the replica.
  Epoch changed = {};
  // If they were requested, the digests of all blocks of the content, concatenated. Empty if they
  // were not computed.
  std::string digests = {};
  // Why nothing else of the object is here: the disk does not give it. Empty: it was read.
  std::string unreadable = {};
};

struct Listing {
  std::vector<Listed> entries;
  bool more = false;
};

struct Found {
  // One for each requested object, in the same order. The id is null if the object is not there.
  std::vector<Listed> objects;
  // If the root is among them: what the replica has in total, as its quota counts it.
  uint64_t total_objects = 0;
  uint64_t total_bytes = 0;
};

struct Digests {
  uint64_t file_size = 0;
  uint32_t digest_size = 0;
  // The digests, concatenated. The digest of a block that is partly beyond the end covers the bytes
  // that exist. Blocks wholly beyond the end have none.
  std::string digests;
};

// The answer to Enrol and Renew.
struct Enrolled {
  std::string certificate;  // PEM; empty if none was requested
  std::string authority;    // PEM
  std::string name;         // the identity, ACCOUNT/NAME; the certificate's common name
  bool must_renew = false;  // the administrator wants the identity to change its key
};

// The answer to a Begin that goes on with a stage that was broken off. The stage has the content of
// objects, and none of their names: entries have to be sent again, and of each object at least a
// record.
struct Resumed {
  // The sequence of the next chunk. The digest of the Commit covers the chunks from there on.
  uint64_t chunks = 0;
  int64_t begun_ns = 0;  // of the first Begin
};

// What a stage has of an object.
struct StagedObject {
  bool known = false;
  // DigestOf the last ObjectRecord (replica/wire/record_digest.h).
  uint64_t record = 0;
  // The content that came after that record, in order, none touching the next; at most
  // kMaxStagedRanges. There may be more.
  std::vector<ByteRange> ranges;
};

// The answer to GetStaged: one for each requested object, in the same order.
struct StagedObjects {
  std::vector<StagedObject> objects;
};

// So many chunks, from the one with the index `first` on, stand one after the other in `object`.
struct ContentRun {
  uint32_t first = 0;
  uint32_t count = 0;
  ObjectId object;
  uint64_t offset = 0;
};

// The answer to FindContent.
struct FoundContent {
  std::vector<ContentRun> runs;  // in order, none overlapping
  // kCopyDigestBytes for each range, concatenated. Zeros: the replica does not have all of it.
  std::string digests;
  // ChunkName of each file's content. 0: the replica has no such file, or it is empty or larger.
  std::vector<uint64_t> names = {};
};

using ReplyBody = std::variant<std::monostate, Position, Signature, Listing, Found, Digests,
                               Enrolled, Resumed, StagedObjects, FoundContent>;

struct Reply {
  ReplyCode code = ReplyCode::kOk;
  std::string message;  // with codes other than kOk: what was tried, on what, and what to do
  std::vector<ObjectId> missing;  // with kMissingObjects
  ReplyBody body;
};

const char* NameOf(ReplyCode code);

// ---- Encoding ----------------------------------------------------------------------------------

// `in_columns`: object records that follow one another share a table
// (replica/wire/object_columns.h), which takes kProtocolFindsContent.
std::string EncodeRecords(const std::vector<Record>& records, bool in_columns = false);
// Likewise in columns, of which neighbours have as much in common as their order allows.
std::string EncodeInColumns(std::vector<Record> records);
Result<std::vector<Record>> DecodeRecords(std::string_view bytes);
std::string EncodeRequest(const Request& request);
Result<Request> DecodeRequest(std::string_view bytes);
std::string EncodeReply(const Reply& reply);
Result<Reply> DecodeReply(std::string_view bytes);

}  // namespace tandem::replica
