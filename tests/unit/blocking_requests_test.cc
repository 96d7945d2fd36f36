// Which requests are put off, and that each of them is handled once.
#include "fs/serving/blocking_requests.h"

#include <gtest/gtest.h>
#include <linux/fuse.h>

#include <cstring>
#include <vector>

#include "fs/serving/tuning.h"

namespace tandem::fs {
namespace {

using Admission = BlockingRequests::Admission;

// As fuse_session_receive_buf leaves it.
void Receive(RequestBuffer& buffer, uint32_t opcode, uint64_t unique, size_t size = 100) {
  constexpr size_t kRoom = 1 << 20;
  if (buffer.get()->mem == nullptr) buffer.get()->mem = std::malloc(kRoom);
  fuse_in_header header = {};
  header.opcode = opcode;
  header.unique = unique;
  std::memset(buffer.get()->mem, 0x55, size);
  std::memcpy(buffer.get()->mem, &header, sizeof header);
  buffer.get()->size = size;
}

uint64_t UniqueOf(RequestBuffer& buffer) {
  fuse_in_header header;
  std::memcpy(&header, buffer.get()->mem, sizeof header);
  return header.unique;
}

TEST(BlockingRequests, OthersAreNotCounted) {
  BlockingRequests requests(1);
  RequestBuffer buffer;
  for (const uint32_t opcode : {FUSE_LOOKUP, FUSE_GETATTR, FUSE_STATFS, FUSE_OPEN, FUSE_INIT}) {
    Receive(buffer, opcode, 1);
    EXPECT_EQ(requests.Admit(buffer), Admission::kUncounted);
  }
  EXPECT_EQ(requests.running(), 0u);
}

TEST(BlockingRequests, WhatIsBeyondTheMostWaitsInOrderAndComesOnce) {
  BlockingRequests requests(2);
  RequestBuffer buffer;
  std::vector<uint64_t> handled;
  for (uint64_t unique = 1; unique <= 6; ++unique) {
    // Small and large ones, which are kept differently.
    Receive(buffer, FUSE_WRITE, unique, unique % 2 == 0 ? 100 : 300'000);
    EXPECT_EQ(requests.Admit(buffer), unique <= 2 ? Admission::kCounted : Admission::kQueued);
  }
  EXPECT_EQ(requests.running(), 2u);
  EXPECT_EQ(requests.waiting(), 4u);
  Receive(buffer, FUSE_GETATTR, 7);
  EXPECT_EQ(requests.Admit(buffer), Admission::kUncounted);
  while (std::optional<RequestBuffer> next = requests.Next()) {
    handled.push_back(UniqueOf(*next));
    const auto* const bytes = static_cast<const char*>(next->get()->mem);
    EXPECT_EQ(bytes[next->get()->size - 1], 0x55);
  }
  EXPECT_EQ(handled, (std::vector<uint64_t>{3, 4, 5, 6}));
  EXPECT_EQ(requests.running(), 1u);
  EXPECT_FALSE(requests.Next());
  EXPECT_EQ(requests.running(), 0u);
  Receive(buffer, FUSE_WRITE, 8);
  EXPECT_EQ(requests.Admit(buffer), Admission::kCounted);
}

TEST(BlockingRequests, TheyTakeABoundedAmountOfMemory) {
  BlockingRequests requests(1);
  RequestBuffer buffer;
  constexpr size_t kSize = 1 << 20;
  size_t kept = 0;
  Receive(buffer, FUSE_WRITE, 1, kSize);
  ASSERT_EQ(requests.Admit(buffer), Admission::kCounted);
  while (kept < 1000) {
    Receive(buffer, FUSE_WRITE, 2, kSize);
    const Admission admission = requests.Admit(buffer);
    if (admission == Admission::kUncounted) break;
    ASSERT_EQ(admission, Admission::kQueued);
    ++kept;
  }
  EXPECT_LE(kept, kMaxQueuedBytes / kSize);
  EXPECT_GT(kept, kMaxQueuedBytes / kSize / 2);
  EXPECT_NE(buffer.get()->mem, nullptr);  // it is still here
}

}  // namespace
}  // namespace tandem::fs
