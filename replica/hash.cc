#include "replica/hash.h"

#include <blake2.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
// Chooses the widest instructions that the processor has.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#include <algorithm>
#include <span>

#include "meta/base/read_at.h"

namespace tandem::replica {
namespace {

constexpr size_t kReadBytes = 64 << 10;
// Holes are not looked for in smaller files, unless they are to be marked: reading takes less time.
constexpr uint64_t kHolesFrom = 64 << 10;
constexpr size_t kBlake2Bytes = 32;

class Xxh3Hasher final : public Hasher {
 public:
  Xxh3Hasher() : state_(XXH3_createState()) { Reset(); }
  void Update(std::string_view bytes) override {
    XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  }
  std::string Finish() override {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
    Reset();
    return std::string(reinterpret_cast<const char*>(canonical.digest), sizeof canonical.digest);
  }

 private:
  struct Deleter {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  void Reset() { XXH3_128bits_reset(state_.get()); }
  std::unique_ptr<XXH3_state_t, Deleter> state_;
};

class Blake2bHasher final : public Hasher {
 public:
  Blake2bHasher() { Reset(); }
  void Update(std::string_view bytes) override {
    blake2b_update(&state_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  std::string Finish() override {
    std::string digest(kBlake2Bytes, '\0');
    blake2b_final(&state_, reinterpret_cast<uint8_t*>(digest.data()), digest.size());
    Reset();
    return digest;
  }

 private:
  void Reset() { blake2b_init(&state_, kBlake2Bytes); }
  blake2b_state state_;
};

class EvpHasher final : public Hasher {
 public:
  explicit EvpHasher(const EVP_MD* algorithm) : algorithm_(algorithm), context_(EVP_MD_CTX_new()) {}
  bool Start() {
    return context_ != nullptr && EVP_DigestInit_ex(context_.get(), algorithm_, nullptr) == 1;
  }
  void Update(std::string_view bytes) override {
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }
  std::string Finish() override {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), digest, &size);
    Start();
    return std::string(reinterpret_cast<const char*>(digest), size);
  }

 private:
  struct Deleter {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  const EVP_MD* algorithm_;
  std::unique_ptr<EVP_MD_CTX, Deleter> context_;
};

void DropCache(int fd, uint64_t offset, uint64_t length) {
  const auto start = static_cast<off_t>(offset);
  const auto bytes = static_cast<off_t>(length);
  // Only advice: if it fails, the page cache is read instead.
  (void)sync_file_range(
      fd, start, bytes,
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  (void)posix_fadvise(fd, start, bytes, POSIX_FADV_DONTNEED);
}

// Feeds parts of a file to a hasher. Holes are not read.
class BlockReader {
 public:
  BlockReader(int fd, Hasher& hasher, size_t buffer_bytes)
      : fd_(fd), hasher_(hasher), buffer_(buffer_bytes, '\0') {}

  bool IsHole(uint64_t start, uint64_t end) {
    if (start >= next_data_) next_data_ = NextData(start);
    return end <= next_data_;
  }

  // Returns the number of bytes that there were.
  Result<uint64_t> Hash(uint64_t start, uint64_t end) {
    uint64_t at = start;
    while (at < end) {
      const size_t wanted = std::min<uint64_t>(buffer_.size(), end - at);
      const std::span<char> into(buffer_.data(), wanted);
      ASSIGN_OR_RETURN(const size_t got, ReadAt(fd_, at, into));
      hasher_.Update({buffer_.data(), got});
      at += got;
      if (got < wanted) break;
    }
    return at - start;
  }

  void HashZeros(uint64_t length) {
    std::ranges::fill(buffer_, '\0');
    while (length > 0) {
      const size_t part = std::min<uint64_t>(buffer_.size(), length);
      hasher_.Update({buffer_.data(), part});
      length -= part;
    }
  }

 private:
  // Returns the offset of the first data at or after `start`: the end of the file if there is none,
  // `start` if the filesystem cannot tell.
  uint64_t NextData(uint64_t start) const {
    const off_t data = lseek(fd_, static_cast<off_t>(start), SEEK_DATA);
    if (data >= 0) return static_cast<uint64_t>(data);
    struct stat now;
    if (errno != ENXIO || fstat(fd_, &now) != 0) return start;
    return static_cast<uint64_t>(now.st_size);
  }

  const int fd_;
  Hasher& hasher_;
  std::string buffer_;
  uint64_t next_data_ = 0;
};

}  // namespace

uint32_t DigestSize(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::kXxh3 || algorithm == HashAlgorithm::kMd5 ? 16 : 32;
}

Result<std::unique_ptr<Hasher>> Hasher::Create(HashAlgorithm algorithm) {
  if (algorithm == HashAlgorithm::kXxh3) return std::make_unique<Xxh3Hasher>();
  if (algorithm == HashAlgorithm::kBlake2b) return std::make_unique<Blake2bHasher>();
  auto hasher =
      std::make_unique<EvpHasher>(algorithm == HashAlgorithm::kMd5 ? EVP_md5() : EVP_sha256());
  // libcrypto may be configured to allow no MD5.
  if (!hasher->Start()) {
    return MakeError(ErrorKind::kUsage, "start hash (libcrypto refuses the algorithm)", ENOTSUP);
  }
  return hasher;
}

Result<Digests> DigestBlocks(int fd, uint64_t offset, uint64_t length, const DigestOptions& options,
                             const std::atomic<bool>* stopping) {
  const uint32_t block_size = options.block_size;
  ASSIGN_OR_RETURN(const std::unique_ptr<Hasher> hasher, Hasher::Create(options.algorithm));
  struct stat stat_buffer;
  if (fstat(fd, &stat_buffer) != 0) return ErrnoError("stat");
  Digests digests;
  digests.file_size = static_cast<uint64_t>(stat_buffer.st_size);
  digests.digest_size = DigestSize(options.algorithm);
  const uint64_t end = std::min(offset + length, digests.file_size);
  if (offset >= end) return digests;
  if (options.drop_cache) DropCache(fd, offset, end - offset);

  const bool finds_holes = options.mark_holes || digests.file_size >= kHolesFrom;
  const uint64_t at_a_time = std::min<uint64_t>({kReadBytes, block_size, end - offset});
  BlockReader reader(fd, *hasher, at_a_time);
  std::string of_zeros;  // the digest of a whole block that is a hole
  for (uint64_t block = offset; block < end; block += block_size) {
    const uint64_t block_end = std::min(block + block_size, end);
    if (stopping != nullptr && *stopping)
      return MakeError(ErrorKind::kCancelled, "verify: stopped");
    if (finds_holes && reader.IsHole(block, block_end)) {
      if (options.mark_holes) {
        digests.digests.append(digests.digest_size, '\0');
        continue;
      }
      const bool whole = block_end - block == block_size;
      if (!whole || of_zeros.empty()) {
        reader.HashZeros(block_end - block);
        of_zeros = hasher->Finish();
      }
      digests.digests += of_zeros;
      continue;
    }
    ASSIGN_OR_RETURN(const uint64_t hashed, reader.Hash(block, block_end));
    if (hashed > 0) digests.digests += hasher->Finish();
    if (block + hashed < block_end) {  // has become shorter meanwhile
      digests.file_size = block + hashed;
      return digests;
    }
  }
  return digests;
}

Result<std::string> DigestBytes(std::string_view bytes, uint32_t block_size,
                                HashAlgorithm algorithm) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Hasher> hasher, Hasher::Create(algorithm));
  std::string digests;
  for (size_t at = 0; at < bytes.size(); at += block_size) {
    hasher->Update(bytes.substr(at, block_size));
    digests += hasher->Finish();
  }
  return digests;
}

std::vector<ByteRange> DifferingBlocks(std::string_view ours, std::string_view theirs,
                                       uint32_t digest_size, ByteRange window,
                                       uint32_t block_size) {
  std::vector<ByteRange> differing;
  uint64_t digest = 0;
  for (uint64_t start = window.start; start < window.end; start += block_size) {
    const uint64_t digest_end = digest + digest_size;
    const bool same = digest_end <= ours.size() && digest_end <= theirs.size() &&
                      ours.substr(digest, digest_size) == theirs.substr(digest, digest_size);
    digest = digest_end;
    if (same) continue;
    const ByteRange block{start, std::min(start + block_size, window.end)};
    if (!differing.empty() && differing.back().end == block.start) {
      differing.back().end = block.end;
    } else {
      differing.push_back(block);
    }
  }
  return differing;
}

}  // namespace tandem::replica
