// Syncs SOURCE, and knows which epoch's changes are on its stable storage: a mark may go only once
// what it covers has been synced (invariant 2).
//
// Any thread; one thread at a time may call Sync.
#pragma once

#include <atomic>
#include <cstdint>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/capture/straddlers.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_writer.h"

namespace tandem::meta {

class SourceSync {
 public:
  // All references must outlive this.
  SourceSync(const SourceTree& tree, StateWriter& writer, Straddlers& straddlers)
      : tree_(tree), writer_(writer), straddlers_(straddlers) {}

  // Syncs the source. `newest_cut` is the newest cut before the call: what belongs to it is synced
  // on return, but for alterations that are under way now. If the source cannot be synced, the
  // database remembers it and the next start compares.
  Status Sync(Epoch newest_cut);
  // The newest epoch whose changes are on the source's stable storage, as far as is known.
  Epoch synced() const { return Epoch(synced_.load()); }
  // Counts completed syncs, from 1 on.
  uint64_t syncs() const { return syncs_.load(); }

  // Every replica has all changes up to `epoch`: their dirty rows go with the next sync.
  void NoteDropped(Epoch epoch);
  // Whether dirty rows wait for a sync.
  bool is_owed() const { return synced_.load() < dropped_.load(); }

 private:
  const SourceTree& tree_;
  StateWriter& writer_;
  Straddlers& straddlers_;
  std::atomic<uint64_t> syncs_{1};
  std::atomic<uint64_t> synced_{0};
  std::atomic<uint64_t> dropped_{0};
};

}  // namespace tandem::meta
