// Proves that a replica's disk holds what the source's does, or says where not (DESIGN section 7,
// "verify"). Names, kinds, links, attributes and extended attributes are compared one by one,
// content by block digests that each side computes from its own disk.
//
// The tree may be in use: what has changed since the replica's cut is not judged before it has
// landed there. Work is done in slices on the sender's thread, while nothing is being applied, so
// that verifying never holds up a cut for long: a slice ends after kVerifySlice, and with a page of
// the names of a large directory, or a window of a large file.
//
// Run is called on one thread; any thread may call report.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/printable.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "replica/source/sender.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

struct Difference {
  std::string kind;  // name, kind, link, attribute, xattr, content, unreadable
  std::string path;  // below the volume's root; "." is the root itself
  std::string what;  // a phrase for people
  bool repaired = false;
};

struct VerifyReport {
  uint64_t objects = 0;
  uint64_t bytes = 0;
  std::vector<Difference> differences;
  // Objects changing so fast that they could not be judged.
  std::vector<std::string> unjudged;
  bool finished = false;
  std::string error;  // why it could not run, or not to the end
};

class Verifier {
 public:
  struct Options {
    std::vector<std::string> paths;  // below the root, without leading slash; empty: everything
    bool full = false;               // read from the devices, not from caches
    bool repair = false;
    HashAlgorithm algorithm = HashAlgorithm::kXxh3;
    uint32_t block_size = 128 << 10;
  };

  Verifier(Options options, meta::Tracker& tracker, const meta::SourceTree& tree, Sender& sender)
      : options_(std::move(options)), tracker_(tracker), tree_(tree), sender_(sender) {}

  // Runs to the end; the outcome is in the report.
  void Run() EXCLUDES(mutex_);
  void Stop() { stopping_ = true; }
  // Returns a copy, with `limit` of the differences from `skip` on.
  VerifyReport report(size_t skip, size_t limit) EXCLUDES(mutex_);

 private:
  // A directory of the source as it was listed once. A name that differs is looked up again.
  struct Names {
    std::vector<meta::SourceEntry> entries;  // in byte order
    std::unordered_set<std::string> unreadable;
  };
  struct Item {
    // An object: its attributes, then its names or its content.
    enum class What { kObject, kAttributes, kNames, kContent } what;
    meta::ObjectRef object;
    std::string path;
    meta::ObjectRef parent;  // and name: how the object was met; null for roots of the walk
    std::string name;
    std::string only = {};   // of names: just this one; empty: all
    std::string after = {};  // of names: those up to this one have been judged
    std::shared_ptr<const Names> names = nullptr;  // then not null: our side, as it was listed
    size_t listed = 0;                             // of names: so many has the replica listed
    uint64_t offset = 0;                           // of content
    int tries = 0;
  };

  Status VerifyAll();
  Status AddRoots();
  Result<Item> Resolve(const std::string& path);
  Status Drain();
  Status RunSlice(Peer& peer, const Position& position);
  Status Judge(Peer& peer, const Position& position, const Item& item);
  // Reports the error of a judgement if it concerns the item alone; returns any other.
  Status ReportIfUnreadable(const Item& item, const Status& judged);

  Status JudgeObject(Peer& peer, const Position& position, const Item& item);
  Status JudgeListed(const Position& position, const Item& item, meta::SourceObject& object,
                     const Listed& theirs);
  Status JudgeNames(Peer& peer, const Position& position, const Item& item);
  Result<std::shared_ptr<const Names>> ListOurs(const Item& item,
                                                const meta::SourceObject& directory);
  Status JudgeName(const Position& position, const Item& directory, const meta::SourceEntry* ours,
                   const Listed* theirs);
  // Both sides have the name, and it leads to the same object.
  Status JudgeCommon(const Position& position, const Item& directory, const meta::SourceEntry& ours,
                     const Listed& theirs);
  // Content that the replica has been asked about.
  struct Asked {
    Item item;
    meta::SourceObject object;
    ByteRange window;
    uint64_t size = 0;  // of the file
    Peer::Pending answer;
  };
  // Judges the content of the first items, several small files at a time.
  Status JudgeContents(Peer& peer, const Position& position);
  // Returns nullopt if there is nothing to compare.
  Result<std::optional<Asked>> AskAboutContent(Peer& peer, const Item& item);
  Status JudgeContent(const Position& position, Asked& asked);
  struct Comparison {
    std::vector<ByteRange> differing;  // whole blocks; adjacent ones come as one range
    bool same_size = true;
    bool nothing_there = false;  // from the window on, the replica has no content
  };
  Result<Comparison> Compare(Asked& asked);

  // Returns whether the difference just seen may be a change that has not landed yet.
  using IsPending = std::function<bool(const meta::ObjectChange&)>;
  Result<bool> Pending(const Position& position, const ObjectId& object,
                       const IsPending& is_pending);
  void Postpone(Item item) EXCLUDES(mutex_);
  void Report(Difference difference) EXCLUDES(mutex_);
  Status RepairObject(const meta::ObjectRef& object, bool whole);
  // Repairs the name, what it leads to, and everything below that.
  Status RepairName(const meta::ObjectRef& directory, const std::string& name);
  // Where objects get other ids without an operation, makes the replica use the new id for what
  // stands there, which is then judged.
  Status RenewIdentity(const Item& directory, const meta::SourceEntry& ours, ObjectId theirs);
  Result<std::optional<meta::ObjectRef>> RepairEntry(const meta::ObjectRef& directory,
                                                     const std::string& name);

  const Options options_;
  meta::Tracker& tracker_;
  const meta::SourceTree& tree_;
  Sender& sender_;
  std::atomic<bool> stopping_{false};
  std::deque<Item> items_;
  std::vector<Item> postponed_;
  // Objects with several names whose content has been judged by one of them.
  std::unordered_set<ObjectId> judged_;
  bool repaired_something_ = false;
  bool confirming_ = false;  // the pass after a repair: nothing is repaired any more

  Mutex mutex_;
  VerifyReport report_ GUARDED_BY(mutex_);
};

using tandem::Printable;

}  // namespace tandem::replica
