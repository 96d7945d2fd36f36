// What tandemfs and tandemd say to each other, as plain structs. Each has a table in
// replica/wire/wire.fbs, the protocol's reference; replica/wire/messages*.cc are the only code that
// knows both. The conversation, and what every message means when it is lost or repeated, stands in
// replica/PROTOCOL.md.
//
// Any thread. Decode checks everything (FlatBuffers verifier, lengths, kinds, names) and fails with
// ErrorKind::kProtocol; what it returns owns its bytes unless said otherwise.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "meta/attributes.h"
#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"

namespace tandem::replica {

inline constexpr uint32_t kProtocolOldest = 1;
inline constexpr uint32_t kProtocolNewest = 1;

// No message is larger than this; a chunk's records, uncompressed, neither.
inline constexpr size_t kMaxMessageBytes = 32 << 20;
// A request for a signature or a delta covers at most this many bytes of content.
inline constexpr uint64_t kMaxDeltaWindow = 16 << 20;
inline constexpr size_t kMaxNameBytes = 255;
// One Find asks for at most so many objects; one Commit names at most so many as missing.
inline constexpr size_t kMaxFindObjects = 4096;
inline constexpr size_t kMaxShortListed = 64;
// One GetDigests covers at most so much; a verify of a large file asks again for the next window.
inline constexpr uint32_t kMinDigestBlock = 512;
inline constexpr uint32_t kMaxDigestBlock = 64 << 20;
inline constexpr uint64_t kMaxDigestWindow = 256 << 20;
inline constexpr uint64_t kMaxDigestBlocks = 65536;

// A name as a directory may hold it: 1 to 255 bytes, no '/', no NUL, neither "." nor "..". Volume
// names, besides, do not begin with a dot.
bool IsValidName(std::string_view name);

// ---- Records: what a change set is made of -----------------------------------------------------

// Attributes of an object as of the cut. Comes before the object's data, in any order with entries.
struct ObjectRecord {
  ObjectId object;
  // The record and the data that follow it are all there is: create the object if unknown.
  bool whole = false;
  // `attributes.xattrs` is the full set (otherwise: leave extended attributes alone).
  bool with_xattrs = false;
  // attributes.size is binding: content ends there.
  meta::Attributes attributes;
};

enum class Encoding : uint8_t {
  kLiteral = 0,  // `bytes` are the content; bytes.size() == length
  kHole = 1,     // the range is a hole; `bytes` is empty
  kDelta = 2,    // `bytes` is a librsync delta against [basis_offset, +basis_length) of `basis`
  // Never sent: the bytes, or the hole, stand in a file of the stage's
  // (replica/apply/staged_files.h), whose inode is `basis`. `fresh`: that file is all the object is
  // from its whole record on.
  kStaged = 3,
};

struct DataRecord {
  ObjectId object;
  uint64_t offset = 0;
  uint64_t length = 0;
  Encoding encoding = Encoding::kLiteral;
  std::string bytes;
  // Of deltas: content of this object as the replica has *applied* it.
  ObjectId basis;
  uint64_t basis_offset = 0;
  uint64_t basis_length = 0;
  // Of deltas: XXH3-64 of the resolved content. If it does not fit, the basis was not what the
  // signature said: kBasisChanged.
  uint64_t checksum = 0;
  // All of a large object's content travels in this stage: its whole record came before, and its
  // bytes come in order of sequence, each place again only after what was sent before has been
  // answered. So the replica may put them where the object will be.
  bool fresh = false;
};

// The name leads to `child`, or, null, to nothing. Later records of one name replace earlier ones.
struct EntryRecord {
  ObjectId parent;
  std::string name;
  ObjectId child;
};

using Record = std::variant<ObjectRecord, DataRecord, EntryRecord>;

// ---- Requests ----------------------------------------------------------------------------------

// Opens a session; the one before it on this volume ends.
struct Hello {
  uint32_t protocol_oldest = kProtocolOldest;
  uint32_t protocol_newest = kProtocolNewest;
  std::string volume_name;
  VolumeId volume;
  std::string source;  // host:path, for messages to people
  // Tells two sources that say the same of themselves apart; null: from before there were such.
  RunId run = {};
};

// Opens a stage on top of `base`, which must be what the replica has durable and applied. Repeating
// it changes nothing; another stage id discards the stage that was open.
struct Begin {
  CutId stage;  // random, names this attempt
  CutName base;
  // About how much the stage will hold; 0: unknown. kNoSpace if there is not so much room.
  uint64_t expected_bytes = 0;
};

// One numbered piece of the stage. `payload` holds records (EncodeRecords), zstd-compressed if
// raw_size != 0.
struct Chunk {
  CutId stage;
  uint64_t sequence = 0;  // from 0, without gaps, in any order of arrival
  uint64_t raw_size = 0;
  uint64_t checksum = 0;  // XXH3-64 of the payload as sent
  std::string payload;
};

// The stage is complete: make it durable as `cut`, then apply it.
struct Commit {
  CutId stage;
  CutName base;
  CutName cut;
  int64_t wall_time_ns = 0;
  uint64_t chunk_count = 0;
  // XXH3-64 over the chunks' checksums (8 bytes little endian each) in order of sequence.
  uint64_t digest = 0;
  friend bool operator==(const Commit&, const Commit&) = default;
};

// Answers as soon as `cut` is applied, at the latest after the time-out.
struct WaitApplied {
  CutName cut;
  uint32_t timeout_ms = 0;
};

// librsync signature of content the replica has applied.
struct GetSignature {
  ObjectId object;
  uint64_t offset = 0;
  uint64_t length = 0;  // at most kMaxDeltaWindow
};

enum class Origin : uint8_t {
  kDatabase = 0,  // what the replica knows it has applied: the source's own attributes
  kDisk = 1,      // what stands on its disk now
};

// The names in a directory, in byte order, from the one after `after`.
struct List {
  ObjectId directory;
  Origin origin = Origin::kDatabase;
  std::string after;
  bool with_xattrs = false;
};

// Which of these objects the replica has, and their attributes (without extended ones).
struct Find {
  std::vector<ObjectId> objects;
  Origin origin = Origin::kDatabase;
  bool with_xattrs = false;
};

enum class HashAlgorithm : uint8_t { kXxh3 = 0, kBlake2b = 1, kSha256 = 2, kMd5 = 3 };

// Digests of the blocks of content on the replica's disk.
struct GetDigests {
  ObjectId object;
  uint64_t offset = 0;  // a multiple of block_size
  uint64_t length = 0;
  uint32_t block_size = 0;
  HashAlgorithm algorithm = HashAlgorithm::kXxh3;
  bool drop_cache = false;  // read from the device, not from memory
};

using RequestBody =
    std::variant<Hello, Begin, Chunk, Commit, WaitApplied, GetSignature, List, Find, GetDigests>;
struct Request {
  SessionId session;  // null with Hello
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
  kWrongBase = 6,       // the replica's cut is another: say Hello again
  kMissingObjects = 7,  // Commit: see Reply::missing; the stage stays open for more chunks
  kBasisChanged = 8,    // a delta did not fit; send literally
  kNoSpace = 9,
  kIoError = 10,
  kBusy = 11,      // a redo is running; ask again
  kNotFound = 12,  // the replica has no such object
};

// An object that alone cannot be on the replica what it is on the source (DESIGN invariant 10).
struct ShortObject {
  ObjectId object;
  std::string path;      // below the root, as of the applied cut
  std::string reason;    // for people: what was tried, and why it failed
  bool by_name = false;  // it cannot have its name; its content is what it should be
  friend bool operator==(const ShortObject&, const ShortObject&) = default;
};

// Answer to Hello and WaitApplied: where the replica stands. Epoch 0: nowhere yet.
struct Position {
  SessionId session;
  uint32_t protocol = 0;
  CutName durable;
  CutName applied;
  bool empty = true;   // no object but the root: nothing to compare with
  std::string notice;  // what a person should know (owners cannot be set, ...); may be empty
  // Some of the objects that fall short at the applied cut, at most kMaxShortListed, and how many
  // there are.
  std::vector<ShortObject> short_objects = {};
  uint64_t short_count = 0;
  // Bytes a file of the replica's filesystem can have.
  uint64_t largest_file = std::numeric_limits<int64_t>::max();
};

struct Signature {
  std::string bytes;  // a librsync signature; empty if nothing of the range exists
  uint64_t file_size = 0;
};

struct Listed {
  std::string name;
  ObjectId object;  // null: an object on the disk that the replica does not know
  meta::Attributes attributes;
  // The cut that last changed the object there.
  Epoch changed = {};
};

struct Listing {
  std::vector<Listed> entries;
  bool more = false;
};

struct Found {
  // One for each object asked for, in order; null id: not there.
  std::vector<Listed> objects;
};

struct Digests {
  uint64_t file_size = 0;
  uint32_t digest_size = 0;
  // One after another; of a block that is partly beyond the end, over what there is; none for
  // blocks wholly beyond it.
  std::string digests;
};

using ReplyBody = std::variant<std::monostate, Position, Signature, Listing, Found, Digests>;

struct Reply {
  ReplyCode code = ReplyCode::kOk;
  std::string message;            // what was tried, on what, what to do; with codes other than kOk
  std::vector<ObjectId> missing;  // with kMissingObjects
  ReplyBody body;
};

const char* NameOf(ReplyCode code);

// ---- Encoding ----------------------------------------------------------------------------------

std::string EncodeRecords(const std::vector<Record>& records);
Result<std::vector<Record>> DecodeRecords(std::string_view bytes);
std::string EncodeRequest(const Request& request);
Result<Request> DecodeRequest(std::string_view bytes);
std::string EncodeReply(const Reply& reply);
Result<Reply> DecodeReply(std::string_view bytes);

}  // namespace tandem::replica
