// Keeps the table of digests (block_digests.h) in step with what a redo writes. It is told of each
// change of a file's content before the change is made, in the order of the records.
//
// A write that covers all that a block has needs nothing but its bytes. Of a block of which some
// stays, the old content is read and compared with its digest: only if it matches has the block a
// digest afterwards, computed from the old content and the new bytes. Otherwise (the old digest is
// unknown, the disk has damaged the block, an interrupted redo has written part of the new bytes
// already) the block becomes unknown, unless the following writes cover it all. So no write makes
// damage look right, and no repeated redo makes what is right look damaged.
//
// One thread. Keeps one block in memory: the one written last.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "meta/base/range_set.h"
#include "replica/apply/block_digests.h"
#include "replica/apply/catalog.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class ContentDigests {
 public:
  // Opens the file for reading when its old content is needed. The descriptor is borrowed.
  using Opener = std::function<Result<int>()>;

  explicit ContentDigests(Catalog& catalog) : catalog_(catalog), table_(catalog.digests()) {}

  // The object begins anew: it is an empty file, or no file. `is_new`: the catalog does not have it
  // yet.
  Status Begin(ObjectId object, bool is_new = false);
  Status Write(ObjectId object, uint64_t offset, std::string_view bytes, const Opener& open);
  // What lies beyond the file's end does not count.
  Status PunchHole(ObjectId object, uint64_t offset, uint64_t length, const Opener& open);
  // Content that is in a file beside the stage (Encoding::kStaged), of which `length` bytes from
  // the record's offset on are used. `staged_fd` is open on that file; -1: it is the object's own.
  Status TakeStaged(const DataRecord& record, uint64_t length, int staged_fd, const Opener& open);
  // Returns the size that the file has after what was told so far.
  Result<uint64_t> SizeOf(ObjectId object);
  Status Resize(ObjectId object, uint64_t size, const Opener& open);
  // Nobody knows what the file has.
  Status Lose(ObjectId object);
  // No more is told of the object.
  Status End(ObjectId object);
  // Returns the blocks, as ranges of bytes, that were given a digest since Begin or the first
  // change: what they have is right. To be called before End, like the next. Empty without
  // NoteRenewed.
  Result<RangeSet> TakeRenewed(ObjectId object);
  // Likewise, those whose old content did not match its digest when a part of it was written, and
  // which have none now.
  Result<RangeSet> TakeMismatched(ObjectId object);
  // From now on, TakeRenewed is going to be called.
  void NoteRenewed() { notes_renewed_ = true; }

  // Returns what TakeStaged needs in DataRecord::bytes: the digests of the content's parts, block
  // by block.
  static std::string StagedDigests(uint64_t offset, std::string_view bytes);
  // DataRecord::checksum of a staged hole, which has no bytes.
  static constexpr uint64_t kStagedHole = 1;
  static bool IsStagedHole(const DataRecord& record) {
    return record.bytes.empty() && record.checksum == kStagedHole;
  }

 private:
  // The block in memory: what it will have is in buffer_.
  struct Current {
    ObjectId object;  // null: none
    uint64_t block = 0;
    uint64_t length = 0;   // of what it will have
    bool known = true;     // all of that is right
    uint64_t covered = 0;  // so much from the start on is right in any case
  };
  bool IsCurrent(ObjectId object, uint64_t block) const {
    return current_.object == object && current_.block == block;
  }
  // Makes the block the current one, with what it has of a file of `size` bytes.
  Status Load(ObjectId object, uint64_t block, uint64_t size, const Opener& open);
  Result<bool> LoadUnlessZeros(ObjectId object, uint64_t block, uint64_t size, const Opener& open);
  Status Flush();
  void DropCurrent() { current_ = Current(); }
  // Gives the current block zeros at its end, or cuts it.
  void SetLength(uint64_t length);
  Status Set(ObjectId object, uint64_t first, uint64_t end, BlockDigests::Digest digest);
  // A part of one block: `offset` is within it. `bytes` null: nobody knows what is written.
  Status WritePart(ObjectId object, uint64_t block, uint64_t offset, uint64_t length,
                   const char* bytes, const Opener& open);
  Status TakeStagedPart(ObjectId object, ByteRange part, uint64_t end, BlockDigests::Digest digest,
                        int staged_fd, const Opener& open);
  Status Grow(ObjectId object, uint64_t size, const Opener& open);
  Status Shrink(ObjectId object, uint64_t size, const Opener& open);

  Catalog& catalog_;
  BlockDigests& table_;
  Current current_;
  std::string buffer_ = std::string(BlockDigests::kBlock, '\0');
  std::unordered_map<ObjectId, uint64_t> sizes_;
  bool notes_renewed_ = false;
  std::unordered_map<ObjectId, RangeSet> renewed_;
  std::unordered_map<ObjectId, RangeSet> mismatched_;
};

}  // namespace tandem::replica
