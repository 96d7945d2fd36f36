// The larger part of a verify: compares the live source with the replica's disk, without holding up
// cuts. What it finds equal is equal. What it finds different is only suspect, because both sides
// go on meanwhile: the verifier judges it between two cuts.
//
// Several threads take items from one stack. Each compares a page of a directory's names, with the
// content of small files if content is compared, or a window of a large file's content; both sides
// read at the same time. What is left of the directory or the file goes back to the stack first,
// below what the page leads to. So the stack stays small in wide and in deep trees, and a single
// large directory or file keeps all threads busy.
//
// Run is called on one thread at a time; any thread may call the other functions. Borrows what it
// is given, which outlives it.
#pragma once

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/source/source_tree.h"
#include "replica/source/peer.h"
#include "replica/source/tuning.h"
#include "replica/source/verify_item.h"
#include "replica/source/verify_rate.h"
#include "replica/source/verify_report.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class Survey {
 public:
  struct Options {
    DigestOptions digests;
    bool content = true;   // of all files, beside names and attributes
    uint64_t window;       // bytes of content that are compared at a time, at most
    bool idle_io = false;  // reads with the I/O priority "idle"
  };

  Survey(const Options& options, const meta::SourceTree& tree, VerifyTally& tally, VerifyRate& rate,
         const std::atomic<bool>& stopping)
      : options_(options),
        tree_(tree),
        tally_(tally),
        rate_(rate),
        stopping_(stopping),
        window_(std::min(kFirstVerifyWindow, options.window)) {}

  // Adds names of a directory, or content.
  void Add(VerifyItem item) EXCLUDES(mutex_);
  // Works until nothing is left to compare, many items are suspect, the deadline, or `stopping`.
  // After an error the items that were not compared are left; kUnreachable: another session is
  // needed.
  Status Run(const PeerSession& session, CondVar::Clock::time_point deadline) EXCLUDES(mutex_);
  bool empty() EXCLUDES(mutex_);
  // Returns what has to be judged.
  std::vector<VerifyItem> TakeSuspects() EXCLUDES(mutex_);
  // Returns what has not been compared yet. Not while Run runs.
  std::vector<VerifyItem> Left() EXCLUDES(mutex_);
  // Returns true for the first name at which an object of several is met: its content is compared
  // once.
  bool IsFirstName(const ObjectId& object) EXCLUDES(mutex_);
  void ForgetNames() EXCLUDES(mutex_);

 private:
  // An object of ours, as it was a moment ago.
  struct Ours {
    std::string name;
    std::optional<meta::ObjectRef> object;  // nullopt: there is none
    meta::Attributes attributes;
    std::string digests;
    std::optional<Error> unreadable;
  };
  class Page;

  void Work(const PeerSession& session) EXCLUDES(mutex_);
  std::optional<VerifyItem> Next() EXCLUDES(mutex_);
  void Done(VerifyItem item, const Status& status) EXCLUDES(mutex_);
  bool MustEnd() const REQUIRES(mutex_) {
    return stopping_ || !failed_ || suspects_.size() >= kMostSuspects ||
           CondVar::Clock::now() >= deadline_;
  }
  bool IsTimeToEnd() EXCLUDES(mutex_);
  void Suspect(VerifyItem item) EXCLUDES(mutex_);
  Status SuspectObject(VerifyItem item) EXCLUDES(mutex_);

  Status CompareNames(const PeerSession& session, VerifyItem& item);
  void CompareListed(const VerifyItem& directory, const Ours* ours, const Listed* theirs);
  Status CompareContent(const PeerSession& session, VerifyItem& item);
  void SuspectBlockOf(VerifyItem window) EXCLUDES(mutex_);
  void SuspectContent(VerifyItem window, const Digests& ours, const Digests& theirs)
      EXCLUDES(mutex_);
  Result<Ours> ReadOurs(const VerifyItem& directory, const meta::SourceObject& opened,
                        const std::string& name);
  Status ReadUnopened(const meta::SourceObject& opened, Ours& ours);
  void NoteTime(CondVar::Clock::duration took, bool answered);
  // The object is to be met again.
  void ForgetName(const ObjectId& object) EXCLUDES(mutex_);
  ByteRange WindowAt(int fd, uint64_t offset, uint64_t end) const;
  bool IsSmall(uint64_t size) const;

  static constexpr size_t kMostSuspects = 4096;

  const Options options_;
  const meta::SourceTree& tree_;
  VerifyTally& tally_;
  VerifyRate& rate_;
  const std::atomic<bool>& stopping_;
  std::atomic<uint64_t> window_;  // what the two disks read in a part of a time-out

  Mutex mutex_;
  CondVar changed_;
  std::vector<VerifyItem> todo_ GUARDED_BY(mutex_);
  int working_ GUARDED_BY(mutex_) = 0;
  CondVar::Clock::time_point deadline_ GUARDED_BY(mutex_);
  Status failed_ GUARDED_BY(mutex_);
  std::vector<VerifyItem> suspects_ GUARDED_BY(mutex_);
  std::unordered_set<ObjectId> met_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
