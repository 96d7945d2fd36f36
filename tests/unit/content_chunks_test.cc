#include "replica/content_chunks.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/files.h"

namespace tandem::replica {
namespace {

std::vector<ContentChunk> Cut(std::string_view bytes) { return CutContent(bytes).value(); }

std::set<uint64_t> NamesIn(std::string_view bytes) {
  std::set<uint64_t> names;
  for (const ContentChunk& chunk : Cut(bytes)) names.insert(chunk.name);
  return names;
}

TEST(ContentChunks, CoverTheContentWithinTheirBounds) {
  for (const size_t size : {size_t{0}, size_t{1}, kLeastChunk, kMostChunk + 1, size_t{3} << 20}) {
    const std::string bytes = test::RandomBytes(size, 1);
    size_t at = 0;
    for (const ContentChunk& chunk : Cut(bytes)) {
      EXPECT_EQ(chunk.offset, at);
      at += chunk.length;
      EXPECT_LE(chunk.length, kMostChunk);
      EXPECT_GT(chunk.length, at < size ? kLeastChunk : 0);
      EXPECT_EQ(chunk.name,
                ChunkName(ContentDigest(bytes.substr(chunk.offset, chunk.length)).value()));
    }
    EXPECT_EQ(at, size);
  }
  EXPECT_EQ(FirstChunk(std::string(1 << 20, '\0')), kMostChunk);
}

TEST(ContentChunks, AreFoundAgainWhereContentHasMoved) {
  const std::string before = test::RandomBytes(4 << 20, 2);
  std::string after = before;
  after.insert(100'000, "ten bytes.");
  after.erase(3'000'000, 77);
  const auto old_names = NamesIn(before);
  size_t gone = 0;
  for (const uint64_t name : NamesIn(after)) gone += old_names.contains(name) ? 0 : 1;
  EXPECT_GT(gone, 0u);
  EXPECT_LE(gone, 10u) << "of " << old_names.size();
}

// Both sides must cut alike, whichever version they are of.
TEST(ContentChunks, AreCutAsTheProtocolSays) {
  std::string bytes(300'000, '\0');
  uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1'664'525 + 1'013'904'223;
    byte = static_cast<char>(state >> 24);
  }
  std::vector<size_t> lengths;
  for (const ContentChunk& chunk : Cut(bytes)) lengths.push_back(chunk.length);
  EXPECT_EQ(lengths, (std::vector<size_t>{43769, 33478, 45957, 39995, 65536, 37929, 33336}));
  EXPECT_EQ(ChunkName(ContentDigest("abc").value()), 0xbddd813c63423972u);
}

}  // namespace
}  // namespace tandem::replica
