// What a replica has of a change set whose sending was broken off, so that it is not sent again.
// Content that was sent is what the source has now, if the object's record is the same, ctime
// included, and its ctime is older than the first reading: then a write after the reading would
// have given it a younger one, however coarse the filesystem's clock is.
//
// One thread. Keeps what it was last told about one page of objects.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>

#include "meta/source/attributes.h"
#include "replica/source/peer.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class StagedBefore {
 public:
  // `begun_ns`: when the first reading began, by this host's clock. `peer` must outlive this.
  StagedBefore(Peer& peer, CutId stage, int64_t begun_ns)
      : peer_(peer), stage_(stage), begun_ns_(begun_ns) {}

  // Asks about these objects, which will be looked for next. Forgets all others.
  Status Expect(std::span<const ObjectId> objects);

  enum class Sent {
    kNothing,  // the stage knows nothing of the object
    kOlder,    // it may have another state of it
    kSame,     // the record, and the content in `ranges`
  };
  struct Found {
    Sent sent = Sent::kNothing;
    std::vector<ByteRange> ranges;
  };
  Result<Found> Find(const ObjectRecord& record);

 private:
  bool MayHaveChangedSince(const meta::Timestamp& ctime) const;

  Peer& peer_;
  const CutId stage_;
  const int64_t begun_ns_;
  std::unordered_map<ObjectId, StagedObject> known_;
};

}  // namespace tandem::replica
