// Turns one object of the source into records: its attributes and its content. Known ranges are
// sent as they are. Suspect ranges are compared, and the blocks that differ on the replica are
// sent, as deltas where that helps. So what a stage takes on the replica is in proportion to what
// differs.
//
// One thread.
#pragma once

#include <functional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "meta/change/change_set.h"
#include "meta/source/object_reader.h"
#include "replica/source/cut_progress.h"
#include "replica/source/known_content.h"
#include "replica/source/peer.h"
#include "replica/source/stage_writer.h"
#include "replica/source/staged_before.h"

namespace tandem::replica {

// What is noted of an object of which nothing can be read.
meta::ObjectChange EverythingUnreadable();

class ObjectShipper {
 public:
  enum class Compare {
    kNot,     // the replica is empty
    kBlocks,  // without deltas
    kAll,
  };
  // All references must outlive the shipper. No content is sent of files that are larger than
  // `largest_file`, the largest that the replica can have.
  ObjectShipper(Peer& peer, StageWriter& stage, ShipProgress& progress, KnownContent& known,
                Compare compare, uint64_t largest_file)
      : peer_(peer),
        stage_(stage),
        progress_(progress),
        known_(known),
        compare_(compare),
        largest_file_(largest_file) {
    if (const auto& resumed = stage.resumed()) {
      before_.emplace(peer, stage.stage(), resumed->begun_ns);
    }
  }

  // Whether the stage is one that was broken off: what it has already is not sent again.
  bool goes_on() const { return before_.has_value(); }
  // Files that were rewritten are to be written in place: there is little room on the replica.
  void WriteInPlace() { renews_ = false; }
  // These objects are shipped next. Only makes that quicker.
  Status Expect(std::span<const ObjectId> objects);

  // Where content like that of an object may stand on the replica.
  struct Likeness {
    ObjectId replaced;  // the file that it replaced; null: none
    // Returns an object with a similar name; null if there is none. Called for new large files.
    std::function<ObjectId()> find_by_name;
  };
  // Returns the attributes that were sent. Returns nullopt if they
  // could not be read (EIO): then nothing was sent.
  Result<std::optional<meta::Attributes>> Ship(const ObjectId& id, meta::ObjectReader& object,
                                               const meta::ObjectChange& change,
                                               const Likeness& like);

  // Whether anything is looked for that the replica has already.
  bool LooksForKnown() const { return compare_ == Compare::kAll && peer_.FindsContent(); }
  // These are among the files that are shipped next. Only saves bytes.
  Status LookForSmall(const KnownContent::SmallFiles& files) {
    return known_.AskForSmall(peer_, files);
  }

  // Returns what could not be read since the last call. Everything else of these objects has been
  // shipped.
  struct Unreadable {
    meta::ObjectRef object;
    meta::ObjectChange change;
    std::string why;
  };
  void NoteUnreadable(const meta::ObjectRef& object, const meta::ObjectChange& change,
                      const std::string& why);
  std::vector<Unreadable> TakeUnreadable() { return std::exchange(unreadable_, {}); }

 private:
  struct Content {
    meta::ObjectRef file;
    meta::ObjectReader& object;
    uint64_t size;
    bool fresh;   // as in DataRecord
    bool staged;  // the stage speaks of it already
    bool whole;   // all of it travels
  };

  Result<std::optional<meta::Attributes>> ReadAttributes(const meta::ObjectReader& object,
                                                         const meta::ObjectRef& ref,
                                                         bool& with_xattrs);
  Status ShipRange(const Content& content, ByteRange range, ObjectId basis);
  Status ShipHole(const Content& content, ByteRange range);
  Status ShipData(const Content& content, ByteRange range, ObjectId basis);
  // Ships the range block by block, because a part of it cannot be read.
  Status ShipReadable(const Content& content, ByteRange range, const Error& error);
  Status ShipPiece(const Content& content, uint64_t offset, std::string bytes, ObjectId basis);
  Status ShipCopy(const Content& content, uint64_t offset, KnownContent::Part part);
  // Ships what the replica has elsewhere as copies of that.
  Status ShipKnown(const Content& content, uint64_t offset, std::string_view bytes);
  // Returns which of the bytes differ on the replica, or are not there.
  Result<std::vector<ByteRange>> FindDiffering(const Content& content, uint64_t offset,
                                               std::string_view bytes);
  Status ShipLiteral(const Content& content, uint64_t offset, std::string bytes);
  // Returns how much smaller the delta is that was sent. Returns 0, and sends nothing, if there is
  // nothing to compare with, or a delta is no smaller.
  Result<uint64_t> ShipDelta(const Content& content, uint64_t offset, std::string_view bytes,
                             const ContentPlace& basis);

  Peer& peer_;
  StageWriter& stage_;
  ShipProgress& progress_;
  KnownContent& known_;
  const Compare compare_;
  bool renews_ = true;
  const uint64_t largest_file_;
  std::optional<StagedBefore> before_;  // of a stage that is gone on with
  uint64_t signature_bytes_ = 0;        // of the delta that was tried last
  std::unordered_set<ObjectId> fresh_;
  // Objects of which the stage has records. Content that the replica has already may be left out
  // only if the stage has no earlier record of the object, which may have cut it short.
  std::unordered_set<ObjectId> staged_;
  std::vector<Unreadable> unreadable_;
};

}  // namespace tandem::replica
