// Lists the directories that a walk comes to next, in threads of its own, while the replica lists
// what it has under their names. A directory comes in pages of at most kFindAtATime names, so that
// of a large one little more than the names is in memory.
//
// A page may be as old as kMostPagesAhead pages when the walk comes to it. It is not older than the
// walk, and what changes after a walk has begun is captured.
//
// One thread calls Want, Take and Next. It never waits for a page that no thread has begun with: it
// lists that itself. The destructor waits for what is being listed. Borrows the tree, and the peer
// of the session.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/source/source_tree.h"
#include "replica/source/peer.h"

namespace tandem::replica {

class ListAhead {
 public:
  struct Wanted {
    meta::ObjectRef directory;
    // The directory whose names the replica is to list; null: none.
    ObjectId on_replica = {};
    bool attributes = false;  // of what is in it, as far as nothing has to be opened for them
  };
  struct Page {
    // Of the source's directory. Null: it is gone, or `failure` says why it cannot be listed.
    std::shared_ptr<const meta::SourceObject> directory;
    std::optional<Error> failure;
    meta::SourceListing ours;
    // As many as there are entries, or none. Without extended attributes and link targets.
    std::vector<std::optional<meta::Attributes>> attributes;
    // What the replica was asked for, which says between which names the page is; and its first
    // answer. Nullopt: nothing was asked.
    List asked;
    std::optional<Result<Reply>> theirs;
    bool more = false;  // another page follows
  };

  // Without `threads` nothing is listed ahead.
  ListAhead(const meta::SourceTree& tree, PeerSession session, bool threads)
      : tree_(tree), session_(session), uses_threads_(threads) {}
  ~ListAhead();
  ListAhead(const ListAhead&) = delete;
  ListAhead& operator=(const ListAhead&) = delete;

  // Adds a directory behind those that are wanted.
  void Want(Wanted wanted) EXCLUDES(mutex_);
  // Returns the first page of the first directory that is wanted, of which there is one. Drops what
  // is left of the directory before.
  Page Take() EXCLUDES(mutex_);
  // Returns the page after one that had `more`.
  Page Next() EXCLUDES(mutex_);

 private:
  // Where a page begins.
  struct Place {
    std::shared_ptr<const meta::SourceObject> directory;
    std::shared_ptr<const std::vector<std::string>> names;  // null: the directory's first page
    size_t first = 0;
    bool is_first() const { return names == nullptr; }
  };
  enum class State { kWaiting, kBegun, kDone };
  struct Slot {
    Wanted wanted;
    Place place;
    State state = State::kWaiting;
    Page page = {};
  };
  using Slots = std::list<Slot>;

  void Run() EXCLUDES(mutex_);
  // Returns the first slot that a thread may begin with, or the end.
  Slots::iterator Claimable() REQUIRES(mutex_);
  // Lists the page of a slot that this thread has made kBegun.
  void Fill(Slots::iterator slot, const Wanted& wanted, Place place) EXCLUDES(mutex_);
  // Returns the page, and moves `place` to the next one.
  Page Read(const Wanted& wanted, Place& place) const noexcept;
  Status Open(const Wanted& wanted, Place& place) const;
  Status ReadNames(const Wanted& wanted, Place& place, Page& page) const;
  Page Pop() EXCLUDES(mutex_);

  const meta::SourceTree& tree_;
  const PeerSession session_;
  const bool uses_threads_;
  std::vector<std::thread> threads_;

  Mutex mutex_;
  CondVar work_;  // for the threads
  CondVar done_;  // for Take and Next
  // The pages of a directory are adjacent.
  Slots slots_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::replica
