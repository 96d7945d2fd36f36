// Proves that a replica's disk holds what the source's does, or says where not (DESIGN section 7,
// "verify"). Names, kinds, links, attributes and extended attributes are compared one by one,
// content by block digests that each side computes from its own disk.
//
// The tree may be in use. A Survey compares both sides as they are while cuts go on, and finds most
// of them equal. What it suspects is *judged* here: on the sender's thread, between two cuts, while
// nothing is being applied. What has changed since the replica's cut is not judged before it has
// landed there. A slice of judgements ends after kVerifySlice, so cuts are not held up for long.
//
// A repair only marks what differs as changed; the next cut sends it. What was marked is judged
// once more when it has landed.
//
// Run is called on one thread; any thread may call report and Stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/printable.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "replica/source/sender.h"
#include "replica/source/survey.h"
#include "replica/source/verify_item.h"
#include "replica/source/verify_rate.h"
#include "replica/source/verify_report.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class Verifier {
 public:
  struct Options {
    std::vector<std::string> paths;  // below the root, without leading slash; empty: everything
    // Compares all content. Otherwise only that of files whose size or time of change differs.
    bool full = true;
    bool drop_caches = false;  // read from the devices, not from the page caches
    bool repair = false;
    bool allocation = false;  // a hole and zeros that were written differ
    HashAlgorithm algorithm = HashAlgorithm::kXxh3;
    uint32_t block_size = 128 << 10;
    // The most bytes of content, and files, that are read in a second; 0: no limit. With a limit
    // the source's disk is read with the I/O priority "idle".
    uint64_t bytes_a_second = 0;
    uint64_t files_a_second = 0;
    // What an interrupted verify had found and left; then only that is compared.
    VerifyReport found_before = {};
    std::vector<VerifyLeft> left_before = {};
    // Is called every few seconds on the thread of Run, and at its end, with what is left. Nothing
    // is left in the end unless there was an error.
    std::function<void(const std::vector<VerifyLeft>& left)> checkpoint = {};
  };

  Verifier(Options options, meta::Tracker& tracker, const meta::SourceTree& tree, Sender& sender);

  // Runs to the end; the outcome is in the report.
  void Run();
  void Stop() { stopping_ = true; }
  bool WaitUntilFinished(CondVar::Clock::time_point deadline) {
    return tally_.WaitUntilFinished(deadline);
  }
  bool full() const { return options_.full; }
  VerifyReport report(size_t skip, size_t limit) { return tally_.report(skip, limit); }

 private:
  using Item = VerifyItem;
  struct WrongName {
    meta::ObjectRef directory;
    std::string name;
  };
  struct WrongObject {
    meta::ObjectRef object;
    bool whole;                     // all of it is to be sent
    std::vector<ByteRange> blocks;  // otherwise these, in order, and the attributes
  };

  DigestOptions Digesting() const;
  uint64_t SurveyWindow() const;
  Status VerifyAll();
  Status AddRoots();
  Status AddLeft(const VerifyLeft& left);
  void Checkpoint();
  std::vector<VerifyLeft> LeftNow();
  Result<Item> Resolve(const std::string& path);
  Status Drain();
  // Compares what is left for the survey.
  Status RunSurvey();
  Status RefuseIfStuck(bool waits_for_changes);
  // Until when to wait for a replica. As long as it answers while it catches up, that is put off.
  struct Patience {
    CondVar::Clock::time_point until;
    uint64_t received_bytes = 0;
  };
  Patience BePatient();
  bool IsPatient(Patience& patience);
  // Has the sender do it. Waits for as long as the replica goes on.
  Status RunTask(const Sender::Task& task);
  Status RunSlice(Peer& peer, const Position& position);
  Status Judge(Peer& peer, const Position& position, const Item& item);

  Status JudgeObject(Peer& peer, const Position& position, const Item& item);
  Status JudgeListed(Peer& peer, const Position& position, const Item& item,
                     meta::SourceObject& object, const Listed& theirs);
  // Returns whether the replica's disk has the object as it was applied from a change that the
  // source made since the verify began. Enough of an object that changes all the time: it is not
  // found equal to the source's.
  Result<bool> IsAsApplied(Peer& peer, const Item& item, const Listed& theirs);
  Status JudgeName(Peer& peer, const Position& position, const Item& item);
  Status JudgeContent(Peer& peer, const Position& position, const Item& item);
  struct Comparison {
    std::vector<ByteRange> differing;  // whole blocks; adjacent ones come as one range
    bool same_size = true;
    bool nothing_there = false;   // from the window on, the replica has no content
    std::string unreadable = {};  // why the replica cannot read the window; empty: it can
  };
  // Returns false if nothing of it was kept.
  bool ReportContent(const Position& position, const Item& item, const Comparison& comparison);
  // Returns the blocks of the window that differ.
  Result<Comparison> Compare(Peer& peer, const ObjectId& object, int fd, ByteRange window,
                             const DigestOptions& digests);

  // Returns whether the difference just seen may be a change that has not landed yet.
  using IsPending = std::function<bool(const meta::ObjectChange&)>;
  Result<bool> Pending(const Position& position, const ObjectId& object,
                       const IsPending& is_pending);
  void Postpone(Item item);
  // Returns false if there are too many differences to keep this one.
  bool Report(const Position& position, const char* kind, std::string path, std::string what);
  // With `repair`, has what differs judged once more in the end, if the difference was kept.
  void ConfirmLater(const Item& item, bool kept);
  // ---- Repairs. Marks are made between the slices: they may wait for a commit.
  Status RepairAll();
  static meta::Intent IntentOf(const WrongObject& wrong);
  // Repairs some objects.
  Status RepairObjects();
  // Repairs the name, and adds what it leads to, and everything below that.
  Status RepairName(const WrongName& wrong);
  std::unordered_set<std::string> PathsReported();
  // Judges once more what was repaired, when it has landed.
  Status Confirm();
  // Where objects get other ids without an operation, makes the replica use the new id for what
  // stands there, which is then judged.
  Status RenewIdentity(const Item& directory, const meta::SourceEntry& ours, ObjectId theirs);

  const Options options_;
  meta::Tracker& tracker_;
  const meta::SourceTree& tree_;
  Sender& sender_;
  std::atomic<bool> stopping_{false};
  VerifyTally tally_;
  VerifyRate rate_;
  Survey survey_;

  CondVar::Clock::time_point next_checkpoint_{};
  std::optional<Epoch> applied_at_first_;  // by the replica, when something was first judged
  bool has_roots_ = false;                 // until then it is not known what is left
  // To be judged, or judged again after changes have landed.
  std::deque<Item> items_;
  std::vector<Item> postponed_;
  // What is to be repaired, and what was: to be judged once more.
  std::deque<WrongObject> wrong_objects_;
  std::deque<WrongName> wrong_names_;
  std::vector<Item> to_confirm_;
  bool confirming_ = false;  // nothing is repaired any more
  std::vector<Difference> unconfirmed_;
  int in_vain_ = 0;  // surveys in a row that the replica has not answered
};

using tandem::Printable;

}  // namespace tandem::replica
