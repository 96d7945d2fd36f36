#include "replica/delta.h"

#include <endian.h>
#include <librsync.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace tandem::replica {
namespace {

struct JobDeleter {
  void operator()(rs_job_t* job) const { rs_job_free(job); }
};
using Job = std::unique_ptr<rs_job_t, JobDeleter>;

struct SignatureDeleter {
  void operator()(rs_signature_t* signature) const { rs_free_sumset(signature); }
};
using LoadedSignature = std::unique_ptr<rs_signature_t, SignatureDeleter>;

// Of BLAKE2's 32 bytes: enough that a user who writes files on the source cannot make two blocks
// collide.
constexpr size_t kStrongBytes = 16;

// librsync recommends the square root of the size, which is best for a few edits. Records of a
// database that moved are found only by blocks smaller than they are.
constexpr size_t kLargestBlock = 1024;
constexpr uint64_t kMaxBlockLength = 1 << 20;  // of another version

tl::unexpected<Error> Failure(rs_result code, const char* what) {
  const bool memory = code == RS_MEM_ERROR;
  return MakeError(memory ? ErrorKind::kSystem : ErrorKind::kCorrupt,
                   std::string(what) + " (" + rs_strerror(code) + ")", memory ? ENOMEM : EBADMSG);
}

// The returned codes report all errors; without this librsync would also print them to stderr.
void BeQuiet() {
  static const bool quiet = [] {
    rs_trace_to(nullptr);
    rs_trace_set_level(RS_LOG_EMERG);
    return true;
  }();
  (void)quiet;
}

// Feeds all of `input` to the job and returns all of its output. Returns kCorrupt if the output is
// longer than `limit` bytes.
Result<std::string> Run(rs_job_t* job, std::string_view input, size_t first_size, size_t limit,
                        const char* what) {
  BeQuiet();
  std::string output(std::max<size_t>(first_size, 64), '\0');
  rs_buffers_t buffers = {};
  // librsync only reads from it.
  buffers.next_in = const_cast<char*>(input.data());
  buffers.avail_in = input.size();
  buffers.eof_in = 1;
  size_t used = 0;
  while (true) {
    buffers.next_out = output.data() + used;
    buffers.avail_out = output.size() - used;
    const size_t offered = buffers.avail_out;
    const rs_result code = rs_job_iter(job, &buffers);
    used = output.size() - buffers.avail_out;
    if (used > limit) return Failure(RS_CORRUPT, what);
    if (code == RS_DONE) break;
    if (code != RS_BLOCKED) return Failure(code, what);
    // The job is blocked with output room left and all input given: it waits for bytes that will
    // never come.
    if (buffers.avail_out > 0 && buffers.avail_out == offered) return Failure(RS_INPUT_ENDED, what);
    if (buffers.avail_out == 0) output.resize(output.size() * 2);
  }
  output.resize(used);
  return output;
}

rs_result CopyFromBasis(void* opaque, rs_long_t position, size_t* length, void** buffer) {
  const auto& basis = *static_cast<const std::string_view*>(opaque);
  if (position < 0 || static_cast<uint64_t>(position) > basis.size()) return RS_CORRUPT;
  const size_t left = basis.size() - static_cast<size_t>(position);
  if (left == 0) return RS_INPUT_ENDED;
  *length = std::min(*length, left);
  *buffer = const_cast<char*>(basis.data()) + position;
  return RS_DONE;
}

}  // namespace

bool IsSignatureOf(uint64_t basis_bytes, std::string_view signature) {
  uint32_t header[3];  // magic, block length, strong length: big endian
  if (signature.size() < sizeof header) return false;
  std::memcpy(header, signature.data(), sizeof header);
  rs_magic_number magic = RS_RK_BLAKE2_SIG_MAGIC;
  size_t recommended = 0;
  size_t strong_length = kStrongBytes;
  const auto size = static_cast<rs_long_t>(basis_bytes);
  if (rs_sig_args(size, &magic, &recommended, &strong_length) != RS_DONE) return false;
  const uint64_t block_length = be32toh(header[1]);
  // Another release of librsync may recommend a little less.
  const uint64_t least = std::min(recommended / 2, kLargestBlock);
  if (be32toh(header[0]) != RS_RK_BLAKE2_SIG_MAGIC || be32toh(header[2]) != kStrongBytes ||
      block_length < least || block_length > kMaxBlockLength) {
    return false;
  }
  const uint64_t blocks = (basis_bytes + block_length - 1) / block_length;
  return signature.size() - sizeof header == blocks * (sizeof(uint32_t) + kStrongBytes);
}

Result<std::string> MakeSignature(std::string_view basis) {
  rs_magic_number magic = RS_RK_BLAKE2_SIG_MAGIC;
  size_t block_length = 0;
  size_t strong_length = kStrongBytes;
  rs_result code =
      rs_sig_args(static_cast<rs_long_t>(basis.size()), &magic, &block_length, &strong_length);
  if (code != RS_DONE) return Failure(code, "make signature");
  block_length = std::min(block_length, kLargestBlock);
  const Job job(rs_sig_begin(block_length, strong_length, magic));
  const size_t blocks = basis.size() / block_length + 1;
  return Run(job.get(), basis, 32 + blocks * (4 + strong_length), SIZE_MAX, "make signature");
}

Result<std::string> MakeDelta(std::string_view signature, std::string_view content) {
  rs_signature_t* raw = nullptr;
  Job job(rs_loadsig_begin(&raw));
  const auto loading = Run(job.get(), signature, 0, SIZE_MAX, "load signature");
  const LoadedSignature loaded(raw);
  RETURN_IF_ERROR(loading);
  const rs_result code = rs_build_hash_table(loaded.get());
  if (code != RS_DONE) return Failure(code, "index signature");
  job.reset(rs_delta_begin(loaded.get()));
  return Run(job.get(), content, 4096, SIZE_MAX, "make delta");
}

Result<std::string> ApplyDelta(std::string_view basis, std::string_view delta, size_t length) {
  const Job job(rs_patch_begin(CopyFromBasis, &basis));
  ASSIGN_OR_RETURN(std::string content, Run(job.get(), delta, length + 1, length, "apply delta"));
  if (content.size() != length) {
    return MakeError(ErrorKind::kCorrupt, "apply delta (the result has another length)", EBADMSG);
  }
  return content;
}

}  // namespace tandem::replica
