// What a Position says of a volume beside its cuts: what could not be replicated, objects that fall
// short, what others have changed in the tree, and what happened to the volume before.
//
// Any thread. Takes no lock of the volume while it holds its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "replica/apply/attributes_writer.h"
#include "replica/apply/foreign_edits.h"
#include "replica/store/volume_place.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class VolumeReport {
 public:
  // `place` is borrowed.
  explicit VolumeReport(const VolumePlace& place) : place_(place), edits_(place.name()) {}

  // Sets the notice, and the objects that fall short.
  void AddTo(Position& position) EXCLUDES(mutex_);

  ForeignEdits& edits() { return edits_; }
  Notices notices() EXCLUDES(mutex_);
  void SetNotices(const Notices& notices) EXCLUDES(mutex_);
  // `listed`: the first of the `count` objects that fall short.
  void SetShortObjects(std::vector<ShortObject> listed, uint64_t count) EXCLUDES(mutex_);
  // Says what a scrub has found and the source has not sent again yet.
  void SetDamage(const std::string& text) EXCLUDES(mutex_);
  // Says why the source has to send or compare everything, until the tree is at a cut again. An
  // empty text ends that.
  void SetHistory(const std::string& text) EXCLUDES(mutex_);

 private:
  const VolumePlace& place_;
  ForeignEdits edits_;

  Mutex mutex_;
  Notices notices_ GUARDED_BY(mutex_);
  std::vector<ShortObject> short_objects_ GUARDED_BY(mutex_);
  uint64_t short_count_ GUARDED_BY(mutex_) = 0;
  std::string damage_ GUARDED_BY(mutex_);
  std::string history_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
