#include "replica/delta.h"

#include <endian.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace tandem::replica {
namespace {

std::string RandomBytes(size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

Result<std::string> Transfer(const std::string& basis, const std::string& content, size_t* sent) {
  ASSIGN_OR_RETURN(const std::string signature, MakeSignature(basis));
  ASSIGN_OR_RETURN(const std::string delta, MakeDelta(signature, content));
  *sent = delta.size();
  return ApplyDelta(basis, delta, content.size());
}

TEST(Delta, CarriesAnyContentOverAnyBasis) {
  const std::string large = RandomBytes(1 << 20, 1);
  const std::string contents[] = {"", "x", std::string(5000, '\0'), large, large.substr(777)};
  for (const std::string& basis : contents) {
    for (const std::string& content : contents) {
      size_t sent = 0;
      const auto result = Transfer(basis, content, &sent);
      ASSERT_TRUE(result) << result.error().ToString();
      EXPECT_EQ(*result, content);
    }
  }
}

TEST(Delta, SmallEditTravelsSmall) {
  const std::string basis = RandomBytes(4 << 20, 2);
  std::string content = basis;
  content.insert(123456, "inserted");
  content[3 << 20] ^= 1;
  size_t sent = 0;
  const auto result = Transfer(basis, content, &sent);
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(*result, content);
  EXPECT_LT(sent, 16u << 10);
}

TEST(Delta, ResultOfAnotherLengthIsRefused) {
  const std::string basis = RandomBytes(100000, 3);
  const std::string delta = MakeDelta(*MakeSignature(basis), basis).value();
  EXPECT_FALSE(ApplyDelta(basis, delta, basis.size() - 1));
  EXPECT_FALSE(ApplyDelta(basis, delta, basis.size() + 1));
  EXPECT_FALSE(ApplyDelta(basis, delta, 0));
}

TEST(Delta, ShorterBasisIsRefused) {
  const std::string basis = RandomBytes(100000, 4);
  const std::string delta = MakeDelta(*MakeSignature(basis), basis).value();
  EXPECT_FALSE(ApplyDelta(basis.substr(0, 50000), delta, basis.size()));
  EXPECT_FALSE(ApplyDelta("", delta, basis.size()));
}

TEST(Delta, ASignatureOfOtherBlocksIsNone) {
  for (const size_t size : {1u, 255u, 5000u, 100'000u, 4u << 20, 12u << 20}) {
    const std::string signature = MakeSignature(RandomBytes(size, 7)).value();
    EXPECT_TRUE(IsSignatureOf(size, signature)) << size;
    EXPECT_FALSE(IsSignatureOf(size, signature + signature.substr(12, 20))) << "a block too many";
    EXPECT_FALSE(IsSignatureOf(size, signature.substr(0, signature.size() - 20)));
    EXPECT_FALSE(IsSignatureOf(size, signature.substr(0, 11)));
    const auto with = [&signature](size_t field, uint32_t value) {
      std::string changed = signature;
      value = htobe32(value);
      std::memcpy(changed.data() + field * sizeof value, &value, sizeof value);
      return changed;
    };
    EXPECT_FALSE(IsSignatureOf(size, with(0, 0x72730136))) << "MD4";
    for (const uint32_t length : {0u, 1u, 1u << 30, UINT32_MAX}) {
      EXPECT_FALSE(IsSignatureOf(size, with(1, length))) << length;
    }
    EXPECT_FALSE(IsSignatureOf(size, with(2, 8)));
  }
}

TEST(Delta, DamageNeverCrashes) {
  const std::string basis = RandomBytes(20000, 5);
  const std::string signature = MakeSignature(basis).value();
  const std::string delta = MakeDelta(signature, basis.substr(0, 9000) + "xyz").value();
  std::mt19937 random(6);
  for (int round = 0; round < 2000; ++round) {
    std::string bad_delta = delta.substr(0, random() % (delta.size() + 1));
    if (!bad_delta.empty()) bad_delta[random() % bad_delta.size()] = static_cast<char>(random());
    (void)ApplyDelta(basis, bad_delta, 9003);
    std::string bad_signature = signature.substr(0, random() % (signature.size() + 1));
    if (!bad_signature.empty()) {
      bad_signature[random() % bad_signature.size()] = static_cast<char>(random());
    }
    (void)MakeDelta(bad_signature, "some content");
  }
}

}  // namespace
}  // namespace tandem::replica
