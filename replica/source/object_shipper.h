// Turns one object of the source into records: its attributes, and of its content known ranges as
// they are, and of suspect ranges the blocks that the replica has otherwise, as deltas where that
// helps: what a stage takes on the replica is in proportion to what differs. One thread.
#pragma once

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "meta/change_set.h"
#include "meta/object_reader.h"
#include "replica/source/cut_progress.h"
#include "replica/source/peer.h"
#include "replica/source/stage_writer.h"

namespace tandem::replica {

// Of an object nothing of which can be read.
meta::ObjectChange EverythingUnreadable();

class ObjectShipper {
 public:
  enum class Compare {
    kNot,     // the replica is empty
    kBlocks,  // without deltas
    kAll,
  };
  // All must outlive the shipper. Of files that are larger than the replica can have them no
  // content is sent.
  ObjectShipper(Peer& peer, StageWriter& stage, ShipProgress& progress, Compare compare,
                uint64_t largest_file)
      : peer_(peer),
        stage_(stage),
        progress_(progress),
        compare_(compare),
        largest_file_(largest_file) {}

  // `basis`: another object whose content on the replica this one's may resemble (the file it
  // replaced); null: none. Returns the attributes sent; nothing: the disk did not give them (EIO),
  // and nothing was sent.
  Result<std::optional<meta::Attributes>> Ship(const ObjectId& id, meta::ObjectReader& object,
                                               const meta::ObjectChange& change, ObjectId basis);

  // What the disk did not give. Everything else of these objects has been shipped.
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
  };

  Result<std::optional<meta::Attributes>> ReadAttributes(const meta::ObjectReader& object,
                                                         const meta::ObjectRef& ref,
                                                         bool& with_xattrs);
  Status ShipRange(const Content& content, ByteRange range, ObjectId basis);
  Status ShipHole(const Content& content, ByteRange range);
  Status ShipData(const Content& content, ByteRange range, ObjectId basis);
  // Block by block, because a part of it cannot be read.
  Status ShipReadable(const Content& content, ByteRange range, const Error& error);
  Status ShipPiece(const Content& content, uint64_t offset, std::string bytes, ObjectId basis);
  // What of the bytes the replica has otherwise, or not.
  Result<std::vector<ByteRange>> FindDiffering(const Content& content, uint64_t offset,
                                               std::string_view bytes);
  Status ShipLiteral(const Content& content, uint64_t offset, std::string bytes);
  // False: there is nothing to compare with, or nothing gained.
  Result<bool> ShipDelta(const Content& content, uint64_t offset, std::string_view bytes,
                         ObjectId basis);

  Peer& peer_;
  StageWriter& stage_;
  ShipProgress& progress_;
  const Compare compare_;
  const uint64_t largest_file_;
  std::unordered_set<ObjectId> fresh_;
  // Objects the stage speaks of. That the replica has the same content need not be sent only if the
  // stage has said nothing else of it (it may have been shorter).
  std::unordered_set<ObjectId> staged_;
  std::vector<Unreadable> unreadable_;
};

}  // namespace tandem::replica
