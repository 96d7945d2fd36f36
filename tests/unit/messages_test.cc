#include "replica/wire/messages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

meta::Attributes SomeAttributes() {
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  attributes.permissions = 04755;
  attributes.uid = 1000;
  attributes.gid = 4'294'967'294;
  attributes.size = 123'456'789'012;
  attributes.link_count = 2;
  attributes.access_time = {-5, 999'999'999};
  attributes.modify_time = {1'700'000'000, 1};
  attributes.change_time = {1'700'000'001, 0};
  attributes.xattrs = {{"user.empty", ""}, {"user.bytes", std::string("\0\xff", 2)}};
  return attributes;
}

void ExpectSame(const meta::Attributes& a, const meta::Attributes& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.permissions, b.permissions);
  EXPECT_EQ(a.uid, b.uid);
  EXPECT_EQ(a.gid, b.gid);
  EXPECT_EQ(a.size, b.size);
  EXPECT_EQ(a.device, b.device);
  EXPECT_EQ(a.link_count, b.link_count);
  EXPECT_EQ(a.access_time, b.access_time);
  EXPECT_EQ(a.modify_time, b.modify_time);
  EXPECT_EQ(a.change_time, b.change_time);
  EXPECT_EQ(a.link_target, b.link_target);
  EXPECT_EQ(a.xattrs, b.xattrs);
}

const ObjectId kA(1, 2);
const ObjectId kB(3, 4);
const CutName kBase{Epoch(7), CutId(5, 6)};
const CutName kCut{Epoch(9), CutId(7, 8)};
const CutId kStage(9, 9);

std::vector<Record> SomeRecords() {
  ObjectRecord object{kA, true, true, SomeAttributes()};
  ObjectRecord link{kB, false, false, {}, true};
  link.attributes.kind = meta::Kind::kSymlink;
  link.attributes.link_target = "../elsewhere\xff";
  const DataRecord literal{kA, 5, 3, Encoding::kLiteral, std::string("a\0b", 3), {}, 0, 0, 0};
  const DataRecord hole{kA, 4096, 1 << 20, Encoding::kHole, "", {}, 0, 0, 0};
  const DataRecord delta{kA, 1, 2, Encoding::kDelta, "delta", kB, 10, 20, 30};
  return {object,
          link,
          literal,
          hole,
          delta,
          EntryRecord{kRootObject, "n\xfe", kA},
          EntryRecord{kRootObject, "gone", {}}};
}

template <typename Body>
Body RoundTrip(const Body& body) {
  const auto decoded = DecodeRequest(EncodeRequest({SessionId(1, 1), body}));
  EXPECT_TRUE(decoded) << decoded.error().ToString();
  EXPECT_EQ(decoded->session, SessionId(1, 1));
  return std::get<Body>(decoded->body);
}

template <typename Body>
Body RoundTripReply(const Body& body) {
  const auto decoded = DecodeReply(EncodeReply({ReplyCode::kOk, "", {}, body}));
  EXPECT_TRUE(decoded) << decoded.error().ToString();
  return std::get<Body>(decoded->body);
}

TEST(Messages, RecordsSurviveTheWire) {
  const auto records = SomeRecords();
  const auto decoded = DecodeRecords(EncodeRecords(records));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  ASSERT_EQ(decoded->size(), records.size());
  const auto& object = std::get<ObjectRecord>((*decoded)[0]);
  EXPECT_EQ(object.object, kA);
  EXPECT_TRUE(object.whole);
  EXPECT_TRUE(object.with_xattrs);
  ExpectSame(object.attributes, SomeAttributes());
  EXPECT_EQ(std::get<ObjectRecord>((*decoded)[1]).attributes.link_target, "../elsewhere\xff");
  EXPECT_EQ(std::get<DataRecord>((*decoded)[2]).bytes, std::string("a\0b", 3));
  EXPECT_EQ(std::get<DataRecord>((*decoded)[3]).length, 1u << 20);
  const auto& delta = std::get<DataRecord>((*decoded)[4]);
  EXPECT_EQ(delta.encoding, Encoding::kDelta);
  EXPECT_EQ(delta.basis, kB);
  EXPECT_EQ(delta.basis_offset, 10u);
  EXPECT_EQ(delta.basis_length, 20u);
  EXPECT_EQ(delta.checksum, 30u);
  EXPECT_EQ(std::get<EntryRecord>((*decoded)[5]).name, "n\xfe");
  EXPECT_EQ(std::get<EntryRecord>((*decoded)[5]).child, kA);
  EXPECT_TRUE(std::get<EntryRecord>((*decoded)[6]).child.is_null());
}

// The same records in the same order, whichever of them share a table.
TEST(Messages, ObjectsInColumnsSurviveTheWire) {
  std::mt19937_64 random(3);
  std::vector<Record> records;
  for (int i = 0; i < 2000; ++i) {
    ObjectRecord record;
    record.object = ObjectId(random(), random());
    record.whole = random() % 4 == 0;
    record.with_xattrs = random() % 4 == 0;
    record.again = !record.whole && random() % 4 == 0;
    meta::Attributes& attributes = record.attributes;
    attributes.kind = static_cast<meta::Kind>(1 + random() % 5);
    attributes.permissions = static_cast<uint32_t>(random() % 07777);
    attributes.uid = static_cast<uint32_t>(random());
    attributes.gid = UINT32_MAX;
    if (attributes.kind == meta::Kind::kFile) attributes.size = random() >> (1 + random() % 63);
    attributes.link_count = static_cast<uint32_t>(random() % 3);
    attributes.access_time = {INT64_MIN, 999'999'999};
    attributes.modify_time = {static_cast<int64_t>(random()), 0};
    attributes.change_time = {INT64_MAX, static_cast<uint32_t>(random() % 1'000'000'000)};
    if (attributes.kind == meta::Kind::kSymlink) attributes.link_target = "target";
    if (random() % 9 == 0) attributes.xattrs = {{"user.name", "value"}};
    records.emplace_back(record);
    if (random() % 9 == 0) records.emplace_back(EntryRecord{kRootObject, "name", record.object});
  }
  const auto decoded = DecodeRecords(EncodeRecords(records, /*in_columns=*/true));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  ASSERT_EQ(decoded->size(), records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const auto* sent = std::get_if<ObjectRecord>(&records[i]);
    const auto* read = std::get_if<ObjectRecord>(&(*decoded)[i]);
    ASSERT_EQ(sent == nullptr, read == nullptr) << i;
    if (sent == nullptr) continue;
    EXPECT_EQ(read->object, sent->object);
    EXPECT_EQ(read->whole, sent->whole);
    EXPECT_EQ(read->with_xattrs, sent->with_xattrs);
    EXPECT_EQ(read->again, sent->again);
    ExpectSame(read->attributes, sent->attributes);
  }
}

// A walk through a tree changes attributes one after the other; what comes of it is in no order.
TEST(Messages, AttributesOfManyObjectsTakeLittle) {
  std::mt19937_64 random(4);
  std::vector<Record> records;
  for (uint32_t i = 0; i < 4000; ++i) {
    ObjectRecord record;
    record.object = ObjectId(random(), random());
    record.attributes.permissions = 0664;
    record.attributes.size = i % 100;
    record.attributes.modify_time = {1'700'000'000, 50'000 * i};
    record.attributes.access_time = record.attributes.modify_time;
    record.attributes.change_time = {1'700'000'100, 9'000 * i};
    records.emplace_back(record);
  }
  std::vector<Record> shuffled = records;
  std::shuffle(shuffled.begin(), shuffled.end() - 1, random);
  const std::string bytes = EncodeInColumns(shuffled);
  EXPECT_LT(bytes.size(), records.size() * 34) << "before it is compressed";
  const auto decoded = DecodeRecords(bytes);
  ASSERT_TRUE(decoded);
  ASSERT_EQ(decoded->size(), records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(std::get<ObjectRecord>((*decoded)[i]).object,
              std::get<ObjectRecord>(records[i]).object);
  }
}

TEST(Messages, NoMoreObjectsInColumnsThanAChunkMayHave) {
  ObjectRecord record;
  record.object = kA;
  std::vector<Record> records(kMaxChunkRecords, record);
  EXPECT_TRUE(DecodeRecords(EncodeRecords(records, true)));
  records.emplace_back(EntryRecord{kRootObject, "name", kA});
  EXPECT_FALSE(DecodeRecords(EncodeRecords(records, true)));
  records.back() = record;
  EXPECT_FALSE(DecodeRecords(EncodeRecords(records, true)));
}

// What one record may not be, none of several may be.
TEST(Messages, ImpossibleObjectsInColumnsAreRefused) {
  const auto refused = [](const std::function<void(ObjectRecord&)>& spoil) {
    ObjectRecord record;
    record.object = kA;
    std::vector<Record> records(8, record);
    EXPECT_TRUE(DecodeRecords(EncodeRecords(records, true)));
    spoil(std::get<ObjectRecord>(records[5]));
    return !DecodeRecords(EncodeRecords(records, true));
  };
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.object = ObjectId(); }));
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.object = kRootObject; }));
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.whole = record.again = true; }));
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.attributes.kind = meta::Kind(0); }));
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.attributes.kind = meta::Kind(8); }));
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.attributes.permissions = 010000; }));
  EXPECT_TRUE(refused([](ObjectRecord& record) { record.attributes.size = ~uint64_t{0}; }));
  EXPECT_TRUE(refused([](ObjectRecord& record) {
    record.attributes.kind = meta::Kind::kFifo;
    record.attributes.size = 1;
  }));
  EXPECT_TRUE(refused(
      [](ObjectRecord& record) { record.attributes.access_time.nanoseconds = 1'000'000'000; }));
}

TEST(Messages, RequestsSurviveTheWire) {
  const auto hello = RoundTrip(Hello{1, 3, "volume", VolumeId(1, 2), "host:/path"});
  EXPECT_EQ(hello.protocol_newest, 3u);
  EXPECT_EQ(hello.volume_name, "volume");
  EXPECT_EQ(hello.source, "host:/path");
  EXPECT_EQ(RoundTrip(Begin{kStage, kBase}).base, kBase);
  EXPECT_TRUE(RoundTrip(Begin{kStage, kBase}).life.is_null());
  const auto begin = RoundTrip(Begin{kStage, kBase, 1, LifeId(2, 3), -4});
  EXPECT_EQ(begin.expected_bytes, 1u);
  EXPECT_EQ(begin.life, LifeId(2, 3));
  EXPECT_EQ(begin.begun_ns, -4);
  const auto get_staged = RoundTrip(GetStaged{kStage, {kA, kB}});
  EXPECT_EQ(get_staged.stage, kStage);
  EXPECT_EQ(get_staged.objects, (std::vector{kA, kB}));
  const auto find = RoundTrip(FindContent{{1, ~uint64_t{0}}, {{kA, 5, 6}}, {kA, kB}});
  EXPECT_EQ(find.chunks, (std::vector<uint64_t>{1, ~uint64_t{0}}));
  EXPECT_EQ(find.ranges, (std::vector<ContentPlace>{{kA, 5, 6}}));
  EXPECT_EQ(find.files, (std::vector{kA, kB}));
  const auto chunk = RoundTrip(Chunk{kStage, 12, 34, 56, "payload"});
  EXPECT_EQ(chunk.sequence, 12u);
  EXPECT_EQ(chunk.raw_size, 34u);
  EXPECT_EQ(chunk.checksum, 56u);
  EXPECT_EQ(chunk.payload, "payload");
  const auto commit = RoundTrip(Commit{kStage, kBase, kCut, -1, 13, 14});
  EXPECT_EQ(commit.cut, kCut);
  EXPECT_EQ(commit.wall_time_ns, -1);
  EXPECT_EQ(commit.chunk_count, 13u);
  EXPECT_EQ(commit.digest, 14u);
  const auto increment = RoundTrip(Increment{{kStage, kBase, 0, LifeId(2, 3), 4},
                                             {kStage, 0, 34, 56, "payload"},
                                             {kStage, kBase, kCut, -1, 1, 14},
                                             500});
  EXPECT_EQ(increment.begin.life, LifeId(2, 3));
  EXPECT_EQ(increment.chunk.payload, "payload");
  EXPECT_EQ(increment.commit.cut, kCut);
  EXPECT_EQ(increment.timeout_ms, 500u);
  EXPECT_EQ(RoundTrip(WaitApplied{kCut, 500}).timeout_ms, 500u);
  EXPECT_EQ(RoundTrip(GetSignature{kA, 5, 6}).length, 6u);
  const auto list = RoundTrip(List{kA, Origin::kDisk, "after", true});
  EXPECT_EQ(list.origin, Origin::kDisk);
  EXPECT_EQ(list.after, "after");
  EXPECT_TRUE(list.with_xattrs);
  EXPECT_EQ(list.digests_up_to, 0u);
  EXPECT_FALSE(list.live);
  const auto with_digests = RoundTrip(List{kA,
                                           Origin::kDisk,
                                           "after",
                                           true,
                                           "up to",
                                           65536,
                                           {4096, HashAlgorithm::kMd5, true, true},
                                           true});
  EXPECT_TRUE(with_digests.live);
  EXPECT_EQ(with_digests.up_to, "up to");
  EXPECT_EQ(with_digests.digests_up_to, 65536u);
  EXPECT_EQ(with_digests.digests.block_size, 4096u);
  EXPECT_EQ(with_digests.digests.algorithm, HashAlgorithm::kMd5);
  EXPECT_TRUE(with_digests.digests.drop_cache);
  EXPECT_TRUE(with_digests.digests.mark_holes);
  EXPECT_EQ(RoundTrip(Find{{kA, kB}, Origin::kDisk, true}).objects.size(), 2u);
  const auto digests =
      RoundTrip(GetDigests{kA, 8192, 1 << 20, {4096, HashAlgorithm::kSha256, true}});
  EXPECT_EQ(digests.digests.algorithm, HashAlgorithm::kSha256);
  EXPECT_TRUE(digests.digests.drop_cache);
  EXPECT_FALSE(digests.live);
  EXPECT_TRUE(RoundTrip(GetDigests{kA, 0, 4096, {4096, HashAlgorithm::kXxh3}, true}).live);
  const auto enrol = RoundTrip(Enrol{std::string(32, '\xfe'), "request", "host"});
  EXPECT_EQ(enrol.secret, std::string(32, '\xfe'));
  EXPECT_EQ(enrol.certificate_request, "request");
  EXPECT_EQ(enrol.host, "host");
  EXPECT_EQ(RoundTrip(Renew{"another"}).certificate_request, "another");
  EXPECT_EQ(RoundTrip(Renew{}).certificate_request, "");
  const auto rekey = RoundTrip(Rekey{{{kA, kB}, {kB, kA}}});
  ASSERT_EQ(rekey.pairs.size(), 2u);
  EXPECT_EQ(rekey.pairs[1].before, kB);
  EXPECT_EQ(rekey.pairs[1].after, kA);
}

TEST(Messages, RepliesSurviveTheWire) {
  const auto position =
      RoundTripReply(Position{SessionId(1, 1), 1, kCut, kBase, false, "a notice"});
  EXPECT_EQ(position.durable, kCut);
  EXPECT_EQ(position.applied, kBase);
  EXPECT_FALSE(position.empty);
  EXPECT_EQ(position.notice, "a notice");
  Position lacking{SessionId(1, 1), 1, kCut, kBase, false, ""};
  lacking.short_objects = {{kA, "d/file", "too large", false},
                           {kB, "name", "no such name", true},
                           {kA, "rotten", "damaged", false, true, {{0, 131072}, {393216, 524288}}}};
  lacking.short_count = 70;
  lacking.largest_file = 4096;
  const auto told = RoundTripReply(lacking);
  EXPECT_EQ(told.short_objects, lacking.short_objects);
  EXPECT_EQ(told.short_count, 70u);
  EXPECT_EQ(told.largest_file, 4096u);
  EXPECT_EQ(RoundTripReply(Signature{"bytes", 77}).file_size, 77u);
  const auto listing = RoundTripReply(
      Listing{{{"known", kA, SomeAttributes()}, {"unknown", {}, SomeAttributes()}}, true});
  ASSERT_EQ(listing.entries.size(), 2u);
  ExpectSame(listing.entries[0].attributes, SomeAttributes());
  EXPECT_TRUE(listing.entries[1].object.is_null());
  EXPECT_TRUE(listing.more);
  const auto found = RoundTripReply(Found{{{"", {}, {}}, {"n", kB, SomeAttributes()}}});
  ASSERT_EQ(found.objects.size(), 2u);
  EXPECT_TRUE(found.objects[0].object.is_null());
  EXPECT_EQ(found.objects[1].object, kB);
  EXPECT_EQ(RoundTripReply(Digests{9, 2, "aabb"}).digests, "aabb");
  const auto enrolled = RoundTripReply(Enrolled{"certificate", "authority", "a/host", true});
  EXPECT_EQ(enrolled.certificate, "certificate");
  EXPECT_EQ(enrolled.authority, "authority");
  EXPECT_EQ(enrolled.name, "a/host");
  EXPECT_TRUE(enrolled.must_renew);
  const auto content =
      RoundTripReply(FoundContent{{{1, 2, kA, 7}, {3, 1, kB, 8}}, "digests", {7, 0}});
  ASSERT_EQ(content.runs.size(), 2u);
  EXPECT_EQ(content.runs[1].first, 3u);
  EXPECT_EQ(content.runs[1].count, 1u);
  EXPECT_EQ(content.runs[1].object, kB);
  EXPECT_EQ(content.runs[1].offset, 8u);
  EXPECT_EQ(content.digests, "digests");
  EXPECT_EQ(content.names, (std::vector<uint64_t>{7, 0}));
  EXPECT_EQ(RoundTripReply(Resumed{3, 4}).chunks, 3u);
  EXPECT_EQ(RoundTripReply(Resumed{3, 4}).begun_ns, 4);
  EXPECT_FALSE(DecodeReply(EncodeReply({ReplyCode::kOk, "", {}, Resumed{3, -1}})));
  const auto staged = RoundTripReply(StagedObjects{{{true, 5, {{1, 2}, {4, 8}}}, {}}});
  ASSERT_EQ(staged.objects.size(), 2u);
  EXPECT_TRUE(staged.objects[0].known);
  EXPECT_EQ(staged.objects[0].record, 5u);
  EXPECT_EQ(staged.objects[0].ranges, (std::vector<ByteRange>{{1, 2}, {4, 8}}));
  EXPECT_FALSE(staged.objects[1].known);

  const auto missing = DecodeReply(EncodeReply({ReplyCode::kMissingObjects, "text", {kA, kB}, {}}));
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->code, ReplyCode::kMissingObjects);
  EXPECT_EQ(missing->message, "text");
  EXPECT_EQ(missing->missing, (std::vector<ObjectId>{kA, kB}));
}

TEST(Messages, ImpossibleContentIsRefused) {
  const auto refused = [](const FindContent& find) {
    return !DecodeRequest(EncodeRequest({SessionId(1, 1), find}));
  };
  EXPECT_TRUE(refused({std::vector<uint64_t>(kMaxFindChunks + 1), {}}));
  EXPECT_TRUE(refused({{}, std::vector<ContentPlace>(kMaxFindRanges + 1, {kA, 0, 1})}));
  EXPECT_TRUE(refused({{}, {}, std::vector(kMaxFindFiles + 1, kA)}));
  EXPECT_TRUE(refused({{}, {{kA, 0, 0}}}));
  EXPECT_TRUE(refused({{}, {{kA, 0, kMaxDeltaWindow + 1}}}));
  EXPECT_TRUE(refused({{}, {{kA, ByteRange::kEndOfFile, 1}}}));
  EXPECT_TRUE(refused({{}, std::vector<ContentPlace>(5, {kA, 0, kMaxDeltaWindow})}));
  EXPECT_FALSE(refused({{}, std::vector<ContentPlace>(4, {kA, 0, kMaxDeltaWindow})}));
  for (const auto& runs : {std::vector<ContentRun>{{0, 0, kA, 0}},
                           {{0, 2, kA, 0}, {1, 1, kA, 0}},
                           {{0, kMaxFindChunks + 1, kA, 0}},
                           {{~uint32_t{0}, 1, kA, 0}},
                           {{0, 1, kA, ByteRange::kEndOfFile + 1}}}) {
    EXPECT_FALSE(DecodeReply(EncodeReply({ReplyCode::kOk, "", {}, FoundContent{runs, ""}})));
  }
  const FoundContent many{{}, "", std::vector<uint64_t>(kMaxFindFiles + 1)};
  EXPECT_FALSE(DecodeReply(EncodeReply({ReplyCode::kOk, "", {}, many})));
  const DataRecord copy{kA, 1, 2, Encoding::kCopy, std::string(kCopyDigestBytes, 'd'), kB, 3, 2, 0};
  EXPECT_TRUE(DecodeRecords(EncodeRecords({copy})));
  DataRecord wrong = copy;
  wrong.bytes.pop_back();
  EXPECT_FALSE(DecodeRecords(EncodeRecords({wrong})));
  wrong = copy;
  wrong.basis = ObjectId();
  EXPECT_FALSE(DecodeRecords(EncodeRecords({wrong})));
  wrong = copy;
  wrong.basis_length = 3;
  EXPECT_FALSE(DecodeRecords(EncodeRecords({wrong})));
  wrong = copy;
  wrong.basis_offset = ByteRange::kEndOfFile;
  EXPECT_FALSE(DecodeRecords(EncodeRecords({wrong})));
}

TEST(Messages, NamesNoDirectoryCanHoldAreRefused) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/"),
        std::string("a\0b", 3), std::string(256, 'x')}) {
    EXPECT_FALSE(DecodeRecords(EncodeRecords({EntryRecord{kA, name, kB}}))) << name;
    EXPECT_FALSE(DecodeRequest(EncodeRequest({{}, Hello{1, 1, name, VolumeId(1, 1), ""}}))) << name;
  }
  EXPECT_TRUE(DecodeRecords(EncodeRecords({EntryRecord{kA, std::string(255, 'x'), kB}})));
  EXPECT_FALSE(DecodeRequest(EncodeRequest({{}, Hello{1, 1, ".hidden", VolumeId(1, 1), ""}})));
}

TEST(Messages, RecordsThatContradictThemselvesAreRefused) {
  const auto refused = [](const Record& record) {
    const auto decoded = DecodeRecords(EncodeRecords({record}));
    return !decoded && decoded.error().kind() == ErrorKind::kProtocol;
  };
  DataRecord data{kA, 0, 4, Encoding::kLiteral, "four", {}, 0, 0, 0};
  EXPECT_FALSE(refused(data));
  data.length = 5;
  EXPECT_TRUE(refused(data));
  data.length = 4;
  data.offset = ByteRange::kEndOfFile - 3;
  EXPECT_TRUE(refused(data));
  data.offset = 0;
  data.encoding = Encoding::kHole;
  EXPECT_TRUE(refused(data));
  data.encoding = Encoding::kDelta;
  EXPECT_TRUE(refused(data));  // against what?
  data.basis = kB;
  EXPECT_FALSE(refused(data));
  data.length = kMaxDeltaWindow + 1;
  EXPECT_TRUE(refused(data));
  data.encoding = static_cast<Encoding>(3);
  EXPECT_TRUE(refused(data));

  EXPECT_TRUE(refused(EntryRecord{kA, "self", kA}));
  EXPECT_TRUE(refused(EntryRecord{kA, "root", kRootObject}));
  EXPECT_TRUE(refused(EntryRecord{{}, "orphan", kA}));

  const auto with = [&](const std::function<void(meta::Attributes&)>& change) {
    ObjectRecord record{kA, true, true, SomeAttributes()};
    change(record.attributes);
    return refused(record);
  };
  EXPECT_FALSE(with([](auto&) {}));
  EXPECT_TRUE(with([](auto& a) { a.permissions = 010000; }));
  EXPECT_TRUE(with([](auto& a) { a.size = 1ull << 63; }));
  EXPECT_TRUE(with([](auto& a) { a.kind = static_cast<meta::Kind>(0); }));
  EXPECT_TRUE(with([](auto& a) { a.kind = static_cast<meta::Kind>(8); }));
  EXPECT_TRUE(with([](auto& a) { a.kind = meta::Kind::kDirectory; }));  // with a size
  EXPECT_TRUE(with([](auto& a) { a.modify_time.nanoseconds = 1'000'000'000; }));
  EXPECT_TRUE(with([](auto& a) { a.link_target = "x"; }));
  EXPECT_TRUE(with([](auto& a) { a.xattrs["system.nfs4_acl"] = "y"; }));
  EXPECT_TRUE(with([](auto& a) { a.xattrs["user.big"] = std::string(65537, 'x'); }));
}

TEST(Messages, RequestsBeyondLimitsAreRefused) {
  const auto refused = [](const RequestBody& body) {
    return !DecodeRequest(EncodeRequest({SessionId(1, 1), body}));
  };
  EXPECT_TRUE(refused(GetSignature{kA, 0, kMaxDeltaWindow + 1}));
  const auto listing = [](uint64_t up_to, uint32_t block) {
    return List{
        kA, Origin::kDisk, "", true, "", up_to, {block, HashAlgorithm::kXxh3, false, false}};
  };
  EXPECT_FALSE(refused(listing(kMaxListedContent, 4096)));
  EXPECT_TRUE(refused(listing(kMaxListedContent + 1, 4096)));
  EXPECT_TRUE(refused(listing(4096, 0)));
  EXPECT_TRUE(refused(listing(kMaxListedContent, kMinDigestBlock))) << "too many digests";
  EXPECT_TRUE(refused(GetDigests{kA, 0, 4096, {0}}));
  EXPECT_TRUE(refused(GetDigests{kA, 1, 4096, {4096}}));
  EXPECT_TRUE(refused(GetDigests{kA, 0, kMaxDigestWindow + 1, {1 << 20}}));
  EXPECT_TRUE(refused(GetDigests{kA, 0, kMaxDigestWindow, {512}}));
  EXPECT_TRUE(refused(Commit{kStage, kCut, kBase, 0, 0, 0}));  // goes back
  const auto increment = [](CutId chunk, CutId commit, CutName base, CutName cut) {
    return Increment{{kStage, kBase}, {chunk, 0, 0, 0, "x"}, {commit, base, cut, 0, 1, 0}, 0};
  };
  const CutId other(7, 7);
  EXPECT_FALSE(refused(increment(kStage, kStage, kBase, kCut)));
  EXPECT_TRUE(refused(increment(other, kStage, kBase, kCut)));
  EXPECT_TRUE(refused(increment(kStage, other, kBase, kCut)));
  EXPECT_TRUE(refused(increment(kStage, kStage, {kBase.epoch, other}, kCut)));
  EXPECT_TRUE(refused(increment(kStage, kStage, kBase, {})));
  EXPECT_TRUE(refused(Chunk{kStage, 0, kMaxMessageBytes + 1, 0, "x"}));
  EXPECT_TRUE(refused(Find{std::vector<ObjectId>(kMaxFindObjects + 1), Origin::kDatabase, false}));
  const std::string secret(kInvitationSecretBytes, 's');
  EXPECT_FALSE(refused(Enrol{secret, std::string(kMaxCertificateBytes, 'x'), "host"}));
  EXPECT_TRUE(refused(Enrol{secret, std::string(kMaxCertificateBytes + 1, 'x'), "host"}));
  EXPECT_TRUE(refused(Enrol{secret + "s", "request", "host"}));
  EXPECT_TRUE(refused(Enrol{secret.substr(1), "request", "host"}));
  EXPECT_TRUE(refused(Enrol{secret, "request", std::string(kMaxHostNameBytes + 1, 'x')}));
  EXPECT_TRUE(refused(Renew{std::string(kMaxCertificateBytes + 1, 'x')}));
}

TEST(Messages, RepliesBeyondLimitsAreRefused) {
  const auto refused = [](const ReplyBody& body) {
    return !DecodeReply(EncodeReply({ReplyCode::kOk, "", {}, body}));
  };
  const std::string longest(kMaxCertificateBytes, 'x');
  EXPECT_FALSE(refused(Enrolled{longest, longest, std::string(kMaxIdentityBytes, 'n')}));
  EXPECT_TRUE(refused(Enrolled{longest + "x", longest, "n"}));
  EXPECT_TRUE(refused(Enrolled{longest, longest + "x", "n"}));
  EXPECT_TRUE(refused(Enrolled{longest, longest, std::string(kMaxIdentityBytes + 1, 'n')}));
}

// Damaged messages are refused or decode to something within the rules; they never crash, which
// the sanitizers watch.
TEST(Messages, GarbageNeverCrashes) {
  std::vector<std::string> seeds = {
      EncodeRecords(SomeRecords()),
      EncodeRequest({{}, Hello{1, 1, "volume", VolumeId(1, 2), "host:/path"}}),
      EncodeRequest({SessionId(1, 1), Chunk{kStage, 1, 0, 3, "payload"}}),
      EncodeRequest({SessionId(1, 1), Find{{kA, kB}, Origin::kDisk, true}}),
      EncodeReply({ReplyCode::kOk, "text", {kA}, Listing{{{"known", kA, SomeAttributes()}}, true}}),
      EncodeReply({ReplyCode::kOk, "", {}, Position{}}),
      EncodeRequest({{}, Enrol{std::string(32, 's'), "request", "host"}}),
      EncodeReply({ReplyCode::kOk, "", {}, Enrolled{"certificate", "authority", "a/host"}}),
      "",
      std::string(100, '\xff'),
      std::string(64, '\0')};
  std::mt19937 random(20240607);
  const auto feed = [](const std::string& bytes) {
    (void)DecodeRecords(bytes);
    (void)DecodeRequest(bytes);
    (void)DecodeReply(bytes);
  };
  for (const std::string& seed : seeds) {
    for (size_t length = 0; length <= seed.size(); ++length) feed(seed.substr(0, length));
    for (int round = 0; round < 4000 && !seed.empty(); ++round) {
      std::string bytes = seed;
      for (unsigned flips = random() % 4 + 1; flips > 0; --flips) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      feed(bytes);
    }
  }
}

TEST(Messages, MisalignedBufferIsDecoded) {
  const std::string bytes = "x" + EncodeRecords(SomeRecords());
  EXPECT_TRUE(DecodeRecords(std::string_view(bytes).substr(1)));
}

}  // namespace
}  // namespace tandem::replica
