// Requests that read a volume, and deltas, which read it as well.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "replica/delta.h"
#include "replica/hash.h"
#include "tests/unit/protocol_fixture.h"

namespace tandem::replica {
namespace {

TEST_F(Protocol, DeltasBecomeBytesOrAreRefused) {
  std::string content(200'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 2654435761u >> 13);
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", content)).code, ReplyCode::kOk);
  const Reply reply = client_.Ask(GetSignature{kFile, 0, content.size()});
  ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
  std::string changed = content;
  changed.replace(1000, 5, "edit!");
  const std::string delta = MakeDelta(std::get<Signature>(reply.body).bytes, changed).value();
  DataRecord record{kFile, 0, changed.size(), Encoding::kDelta,   delta,
                    kFile, 0, content.size(), ChecksumOf(changed)};
  ASSERT_EQ(client_.Begin().code, ReplyCode::kOk);
  DataRecord wrong = record;
  wrong.checksum ^= 1;
  EXPECT_EQ(client_.Ask(client_.MakeChunk({wrong})).code, ReplyCode::kBasisChanged);
  ASSERT_EQ(client_.Ship({record}).code, ReplyCode::kOk);
  EXPECT_EQ(Content("f"), changed);
}

TEST_F(Protocol, ReadersSeeDatabaseAndDisk) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  std::ofstream(scratch_.path() + "/vol/tree/stranger") << "x";
  std::ofstream(scratch_.path() + "/vol/tree/f", std::ios::app) << "more";

  auto listing =
      std::get<Listing>(client_.Ask(List{kRootObject, Origin::kDatabase, "", true}).body);
  ASSERT_EQ(listing.entries.size(), 1u);
  EXPECT_EQ(listing.entries[0].object, kFile);
  EXPECT_EQ(listing.entries[0].attributes.size, 7u);
  listing = std::get<Listing>(client_.Ask(List{kRootObject, Origin::kDisk, "", true}).body);
  ASSERT_EQ(listing.entries.size(), 2u);
  EXPECT_EQ(listing.entries[0].attributes.size, 11u);
  EXPECT_TRUE(listing.entries[1].object.is_null());
  listing = std::get<Listing>(client_.Ask(List{kRootObject, Origin::kDisk, "f", true}).body);
  EXPECT_EQ(listing.entries.size(), 1u);

  const auto found =
      std::get<Found>(client_.Ask(Find{{kFile, ObjectId(77, 7)}, Origin::kDisk, false}).body);
  ASSERT_EQ(found.objects.size(), 2u);
  EXPECT_EQ(found.objects[0].attributes.size, 11u);
  EXPECT_TRUE(found.objects[1].object.is_null());

  for (const auto algorithm : {HashAlgorithm::kXxh3, HashAlgorithm::kBlake2b,
                               HashAlgorithm::kSha256, HashAlgorithm::kMd5}) {
    const Reply reply = client_.Ask(GetDigests{kFile, 0, 1024, 512, algorithm, true});
    ASSERT_EQ(reply.code, ReplyCode::kOk) << reply.message;
    const auto digests = std::get<Digests>(reply.body);
    auto hasher = Hasher::Create(algorithm).value();
    hasher->Update("contentmore");
    EXPECT_EQ(digests.digests, hasher->Finish());
    EXPECT_EQ(digests.digest_size, DigestSize(algorithm));
  }
  EXPECT_EQ(client_.Ask(List{kFile, Origin::kDatabase, "", false}).code, ReplyCode::kNotFound);
  EXPECT_EQ(client_.Ask(List{kFile, Origin::kDisk, "", false}).code, ReplyCode::kNotFound);
  EXPECT_EQ(client_.Ask(GetSignature{kRootObject, 0, 10}).code, ReplyCode::kNotFound);
}

// Invariant 5: names planted in the tree lead nowhere else.
TEST_F(Protocol, Invariant5LinksInTheTreeLeadNowhere) {
  meta::Attributes attributes = FileOf(0);
  attributes.kind = meta::Kind::kDirectory;
  attributes.permissions = 0755;
  const ObjectId directory(10, 1);
  auto records = NewFile(kFile, "f", "inside");
  std::get<EntryRecord>(records[2]).parent = directory;
  records.push_back(ObjectRecord{directory, true, true, attributes});
  records.push_back(EntryRecord{kRootObject, "d", directory});
  ASSERT_EQ(client_.Ship(records).code, ReplyCode::kOk);

  const ScratchDirectory outside;
  std::ofstream(outside.path() + "/f") << "outside";
  std::filesystem::rename(scratch_.path() + "/vol/tree/d", scratch_.path() + "/vol/tree/d.away");
  std::filesystem::create_directory_symlink(outside.path(), scratch_.path() + "/vol/tree/d");
  const Reply reply =
      client_.Ship({DataRecord{kFile, 0, 6, Encoding::kLiteral, "OVERWR", {}, 0, 0, 0}});
  EXPECT_EQ(reply.code, ReplyCode::kMissingObjects);
  EXPECT_EQ(client_.Ask(List{directory, Origin::kDisk, "", false}).code, ReplyCode::kNotFound);
  std::ifstream file(outside.path() + "/f");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "outside");
}

}  // namespace
}  // namespace tandem::replica
