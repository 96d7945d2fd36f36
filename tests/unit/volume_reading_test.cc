// Requests that read a volume, and deltas, which read it as well.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

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
    const Reply reply = client_.Ask(GetDigests{kFile, 0, 1024, {512, algorithm, true}});
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

TEST_F(Protocol, AListingOfTheDiskGoesUpToANameAndHasDigests) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  const std::string tree = scratch_.path() + "/vol/tree/";
  for (const std::string name : {"a", "g", "z"}) std::ofstream(tree + name) << name;
  std::ofstream(tree + "large") << std::string(5000, 'x');
  std::filesystem::create_directory(tree + "directory");
  std::ofstream(tree + "empty").flush();

  List ask{kRootObject, Origin::kDisk, "a", true, "large", 4096, {512, HashAlgorithm::kMd5}};
  // A page ends early where the machine is slow.
  const auto list_all = [&] {
    std::vector<Listed> entries;
    for (List page = ask;;) {
      const auto listing = std::get<Listing>(client_.Ask(page).body);
      entries.insert(entries.end(), listing.entries.begin(), listing.entries.end());
      if (!listing.more) return entries;
      page.after = entries.back().name;
    }
  };
  const std::vector<Listed> entries = list_all();
  std::vector<std::string> names;
  for (const Listed& listed : entries) names.push_back(listed.name);
  ASSERT_EQ(names, (std::vector<std::string>{"directory", "empty", "f", "g", "large"}));
  auto hasher = Hasher::Create(HashAlgorithm::kMd5).value();
  hasher->Update("content");
  EXPECT_EQ(entries[2].digests, hasher->Finish());
  EXPECT_EQ(entries[3].digests.size(), DigestSize(HashAlgorithm::kMd5));
  for (const size_t without : {0, 1, 4}) EXPECT_EQ(entries[without].digests, "");

  ask.digests_up_to = 0;
  EXPECT_EQ(list_all()[2].digests, "");
}

TEST_F(Protocol, ListingALargeDirectoryPageByPageSeesWhatChangesMeanwhile) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  const std::string tree = scratch_.path() + "/vol/tree/";
  const auto name_of = [](int i) { return "n" + std::to_string(10'000 + i); };
  for (int i = 0; i < 3000; ++i) std::ofstream(tree + name_of(i)).flush();
  const auto page = [&](const std::string& after, const std::string& up_to) {
    List ask{kRootObject, Origin::kDisk, after, false};
    ask.up_to = up_to;
    std::set<std::string> names;
    for (bool more = true; more;) {
      const auto listing = std::get<Listing>(client_.Ask(ask).body);
      for (const Listed& listed : listing.entries) names.insert(listed.name);
      more = listing.more;
      if (more) ask.after = listing.entries.back().name;
    }
    return names;
  };
  EXPECT_EQ(page("f", name_of(999)).size(), 1000u);
  std::filesystem::remove(tree + name_of(1500));
  std::ofstream(tree + name_of(1500) + ".new").flush();
  const std::set<std::string> second = page(name_of(999), name_of(1999));
  EXPECT_EQ(second.size(), 1000u);
  EXPECT_FALSE(second.contains(name_of(1500)));
  EXPECT_TRUE(second.contains(name_of(1500) + ".new"));
  EXPECT_EQ(page(name_of(1999), "").size(), 1000u);
}

TEST_F(Protocol, DigestsMayTellHolesFromZeros) {
  ASSERT_EQ(client_.Ship(NewFile(kFile, "f", "content")).code, ReplyCode::kOk);
  const std::string path = scratch_.path() + "/vol/tree/f";
  std::ofstream(path) << std::string(65536, '\0');
  std::filesystem::resize_file(path, 3 * 65536);
  const auto ask = [this](bool mark_holes) {
    const DigestOptions options{65536, HashAlgorithm::kXxh3, false, mark_holes};
    return std::get<Digests>(client_.Ask(GetDigests{kFile, 0, 3 * 65536, options}).body).digests;
  };
  const std::string plain = ask(false);
  ASSERT_EQ(plain.size(), 48u);
  EXPECT_EQ(plain.substr(0, 16), plain.substr(16, 16));
  EXPECT_EQ(ask(true), plain.substr(0, 16) + std::string(32, '\0'));
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
