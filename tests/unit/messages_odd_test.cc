// Messages that no encoder writes: unions by halves, numbers that cannot be, and every kind of
// message with every byte of it changed. What decodes is within the rules; nothing crashes, which
// the sanitizers watch.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "replica/wire/messages.h"
#include "replica/wire/wire_generated.h"

namespace tandem::replica {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;

const ObjectId kSomeObject(1, 2);
const CutId kSomeStage(9, 9);
const CutName kSomeBase{Epoch(7), CutId(5, 6)};
const CutName kSomeCut{Epoch(9), CutId(7, 8)};

meta::Attributes FewAttributes() {
  meta::Attributes attributes;
  attributes.kind = meta::Kind::kFile;
  attributes.size = 12;
  attributes.xattrs = {{"user.name", "value"}};
  return attributes;
}

meta::Attributes PlainAttributes() {
  meta::Attributes attributes = FewAttributes();
  attributes.xattrs.clear();
  return attributes;
}

Request In(RequestBody body) { return {SessionId(1, 1), std::move(body)}; }
Reply Of(ReplyBody body) { return {ReplyCode::kOk, "text", {kSomeObject}, std::move(body)}; }

// One of each kind.
std::vector<std::string> OneOfEach() {
  std::vector<std::string> all = {EncodeRecords(
      {ObjectRecord{kSomeObject, true, true, FewAttributes()},
       DataRecord{kSomeObject, 5, 3, Encoding::kLiteral, "abc", {}, 0, 0, 0},
       DataRecord{kSomeObject, 1, 2, Encoding::kDelta, "delta", ObjectId(3, 4), 10, 20, 30},
       DataRecord{kSomeObject, 1, 2, Encoding::kCopy, std::string(kCopyDigestBytes, 'd'),
                  ObjectId(3, 4), 10, 2, 0},
       EntryRecord{kRootObject, "name", kSomeObject}})};
  all.push_back(EncodeRecords(
      std::vector<Record>(4, ObjectRecord{kSomeObject, false, false, PlainAttributes()}), true));
  for (const Request& request :
       {In(Hello{1, 1, "volume", VolumeId(1, 2), "host:/path", RunId(3, 4)}),
        In(Begin{kSomeStage, kSomeBase, 5, LifeId(8, 9), 10}),
        In(FindContent{{1, 2}, {{kSomeObject, 3, 4}}}),
        In(GetStaged{kSomeStage, {kSomeObject, kRootObject}}),
        In(Chunk{kSomeStage, 1, 0, 3, "payload"}),
        In(Commit{kSomeStage, kSomeBase, kSomeCut, 1, 2, 3}), In(WaitApplied{kSomeCut, 5}),
        In(Increment{{kSomeStage, kSomeBase, 0, LifeId(8, 9), 10},
                     {kSomeStage, 0, 0, 3, "payload"},
                     {kSomeStage, kSomeBase, kSomeCut, 1, 2, 3},
                     4}),
        In(GetSignature{kSomeObject, 1, 2}), In(List{kSomeObject, Origin::kDisk, "after", true}),
        In(Find{{kSomeObject, kRootObject}, Origin::kDisk, true}),
        In(GetDigests{kSomeObject, 4096, 8192, {4096, HashAlgorithm::kMd5, true}})}) {
    all.push_back(EncodeRequest(request));
  }
  const Listed listed{"known", kSomeObject, FewAttributes(), Epoch(3)};
  Position position{SessionId(1, 1), 1, kSomeCut, kSomeBase, false, "notice"};
  position.short_objects = {{kSomeObject, "d/file", "too large", false}};
  for (const Reply& reply :
       {Of({}), Of(position), Of(Signature{"bytes", 7}), Of(Listing{{listed}, true}),
        Of(Found{{listed, {}}}), Of(Digests{9, 2, "aabb"}), Of(Resumed{3, 4}),
        Of(FoundContent{{{0, 1, kSomeObject, 2}}, "digests"}),
        Of(StagedObjects{{{true, 5, {{1, 2}, {4, 8}}}, {}}})}) {
    all.push_back(EncodeReply(reply));
  }
  return all;
}

void Feed(const std::string& bytes) {
  if (const auto records = DecodeRecords(bytes)) (void)EncodeRecords(*records);
  if (const auto request = DecodeRequest(bytes)) (void)EncodeRequest(*request);
  if (const auto reply = DecodeReply(bytes)) {
    (void)EncodeReply(*reply);
    EXPECT_LE(reply->missing.size(), kMaxFindObjects);
  }
}

TEST(OddMessages, EveryLengthIsTaken) {
  for (const std::string& message : OneOfEach()) {
    for (size_t length = 0; length < message.size(); ++length) Feed(message.substr(0, length));
  }
}

TEST(OddMessages, EveryByteMayChange) {
  for (const std::string& message : OneOfEach()) {
    for (size_t at = 0; at < message.size(); ++at) {
      const int now = static_cast<unsigned char>(message[at]);
      for (const int value : {0, 1, 2, 4, 8, 0x7f, 0x80, 0xff, now + 1, now - 1, now ^ 0x40}) {
        std::string changed = message;
        changed[at] = static_cast<char>(value);
        Feed(changed);
      }
    }
  }
}

TEST(OddMessages, EveryWordMayBeExtreme) {
  for (const std::string& message : OneOfEach()) {
    for (size_t at = 0; at + 4 <= message.size(); ++at) {
      for (const uint32_t word : {0u, 0xffffffffu, 0x7fffffffu, 0x80000000u, 4u}) {
        std::string changed = message;
        std::memcpy(changed.data() + at, &word, sizeof word);
        Feed(changed);
      }
    }
  }
}

std::string Finished(Builder& builder, flatbuffers::Offset<void> root, const char* identifier) {
  builder.Finish(root, identifier);
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

// A reply whose body is what `write` returns, whatever `type` says.
std::string ReplyWith(uint8_t type,
                      const std::function<flatbuffers::Offset<void>(Builder&)>& write) {
  Builder builder;
  const auto body = write(builder);
  const auto reply = wire::CreateReply(builder, wire::ReplyCode::Ok, 0, 0,
                                       static_cast<wire::ReplyBody>(type), body);
  return Finished(builder, reply.Union(), "TFA1");
}

flatbuffers::Offset<void> Nothing(Builder&) { return 0; }
flatbuffers::Offset<void> SomeSignature(Builder& builder) {
  return wire::CreateSignature(builder).Union();
}

bool IsRefused(const std::string& reply) {
  const auto decoded = DecodeReply(reply);
  return !decoded && decoded.error().kind() == ErrorKind::kProtocol;
}

TEST(OddMessages, ATypeWithoutABodyIsRefused) {
  for (uint8_t type = 1; type < 10; ++type) {
    EXPECT_TRUE(IsRefused(ReplyWith(type, Nothing))) << int{type};
  }
  EXPECT_FALSE(IsRefused(ReplyWith(0, Nothing)));
}

TEST(OddMessages, ABodyWithoutAKnownTypeIsRefused) {
  EXPECT_TRUE(IsRefused(ReplyWith(0, SomeSignature)));
  EXPECT_TRUE(IsRefused(ReplyWith(static_cast<uint8_t>(wire::ReplyBody::MAX) + 1, SomeSignature)));
  EXPECT_TRUE(IsRefused(ReplyWith(255, SomeSignature)));
  EXPECT_FALSE(IsRefused(ReplyWith(2, SomeSignature)));
}

TEST(OddMessages, RequestsAndRecordsWithoutABodyAreRefused) {
  for (uint8_t type = 0; type < 12; ++type) {
    Builder builder;
    wire::RequestBuilder request(builder);
    request.add_body_type(static_cast<wire::RequestBody>(type));
    const auto end = builder.EndTable(request.start_);
    EXPECT_FALSE(DecodeRequest(Finished(builder, flatbuffers::Offset<void>(end).Union(), "TFQ1")));
  }
  for (uint8_t type = 0; type < 6; ++type) {
    Builder builder;
    wire::RecordBuilder record(builder);
    record.add_body_type(static_cast<wire::RecordBody>(type));
    const flatbuffers::Offset<wire::Record> one(builder.EndTable(record.start_));
    const auto records = wire::CreateRecords(builder, builder.CreateVector(&one, 1));
    EXPECT_FALSE(DecodeRecords(Finished(builder, records.Union(), "TFR1")));
  }
}

// The verifier looks at the alignment of a vector's length, not of what is in it.
TEST(OddMessages, ObjectsOutOfAlignmentAreRefused) {
  const auto with_length = [](uint32_t length) {
    Builder builder;
    // As bytes: nothing is inserted before them to align them to 8.
    const std::string bytes(size_t{length} * 16, '\1');
    builder.StartVector(bytes.size(), 1);
    builder.PushBytes(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    const auto at = builder.EndVector(length);
    const auto reply = wire::CreateReply(
        builder, wire::ReplyCode::Ok, 0,
        flatbuffers::Offset<flatbuffers::Vector<const wire::Id*>>(at), wire::ReplyBody::NONE, 0);
    return Finished(builder, reply.Union(), "TFA1");
  };
  for (uint32_t length = 1; length < 8; ++length) {
    const auto reply = DecodeReply(with_length(length));  // the sanitizers watch
    if (reply) {
      EXPECT_EQ(reply->missing.size(), length);
    }
  }
}

TEST(OddMessages, AFindOfNothingIsTaken) {
  // A session moves the vector to every alignment that FlatBuffers gives it.
  for (const SessionId session : {SessionId(), SessionId(1, 1)}) {
    for (const Origin origin : {Origin::kDatabase, Origin::kDisk}) {
      const auto request = DecodeRequest(EncodeRequest({session, Find{{}, origin, true}}));
      ASSERT_TRUE(request) << request.error().ToString();
      EXPECT_TRUE(std::get<Find>(request->body).objects.empty());
    }
  }
}

TEST(OddMessages, MoreMissingObjectsThanOneAnswerNamesAreRefused) {
  const std::vector<ObjectId> most(kMaxFindObjects, kSomeObject);
  EXPECT_TRUE(DecodeReply(EncodeReply({ReplyCode::kMissingObjects, "", most, {}})));
  const std::vector<ObjectId> more(kMaxFindObjects + 1, kSomeObject);
  EXPECT_TRUE(IsRefused(EncodeReply({ReplyCode::kMissingObjects, "", more, {}})));
}

TEST(OddMessages, LongTextsAreCutShort) {
  const std::string text(60'000, 'x');
  const auto reply = DecodeReply(EncodeReply(
      {ReplyCode::kOk, text, {}, Position{SessionId(1, 1), 1, kSomeCut, kSomeBase, false, text}}));
  ASSERT_TRUE(reply);
  EXPECT_LE(reply->message.size(), 4096u);
  EXPECT_LE(std::get<Position>(reply->body).notice.size(), 4096u);
}

TEST(OddMessages, NamesOutOfOrderAreRefused) {
  const auto listing = [](const std::string& first, const std::string& second) {
    return EncodeReply(Of(Listing{
        {{first, kSomeObject, FewAttributes()}, {second, kSomeObject, FewAttributes()}}, true}));
  };
  EXPECT_FALSE(IsRefused(listing("a", "b")));
  EXPECT_FALSE(IsRefused(listing("a", "\xff")));
  EXPECT_TRUE(IsRefused(listing("b", "a")));
  EXPECT_TRUE(IsRefused(listing("a", "a")));
}

TEST(OddMessages, EpochsThatCannotBeAreRefused) {
  for (const uint64_t number :
       {kNewestEpoch.number() + 1, uint64_t{INT64_MAX}, uint64_t{1} << 63, UINT64_MAX}) {
    const CutName high{Epoch(number), CutId(1, 1)};
    EXPECT_TRUE(
        IsRefused(EncodeReply(Of(Position{SessionId(1, 1), 1, high, kSomeBase, false, ""}))));
    EXPECT_TRUE(
        IsRefused(EncodeReply(Of(Position{SessionId(1, 1), 1, kSomeCut, high, false, ""}))));
    EXPECT_TRUE(
        IsRefused(EncodeReply(Of(Found{{{"", kSomeObject, FewAttributes(), Epoch(number)}}}))));
    EXPECT_FALSE(DecodeRequest(EncodeRequest(In(Begin{kSomeStage, high}))));
    EXPECT_FALSE(DecodeRequest(EncodeRequest(In(Commit{kSomeStage, kSomeBase, high, 0, 0, 0}))));
    EXPECT_FALSE(DecodeRequest(EncodeRequest(In(WaitApplied{high, 0}))));
  }
  const CutName newest{kNewestEpoch, CutId(1, 1)};
  EXPECT_FALSE(IsRefused(EncodeReply(Of(Position{SessionId(1, 1), 1, newest, newest, false, ""}))));
}

TEST(OddMessages, TheRunOfASourceTravelsAndMayBeAbsent) {
  for (const RunId run : {RunId(5, 6), RunId()}) {
    const auto decoded =
        DecodeRequest(EncodeRequest({{}, Hello{1, 1, "volume", VolumeId(1, 2), "h:/p", run}}));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(std::get<Hello>(decoded->body).run, run);
  }
}

}  // namespace
}  // namespace tandem::replica
