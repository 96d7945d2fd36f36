// Finds content in what the replica has already (replica/known/KNOWN.md): takes what is to be sent
// a window at a time, and says of which parts the replica has the bytes, and where.
//
// One thread. Lives as long as the sender: where an object's content went on is remembered from cut
// to cut.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "replica/source/peer.h"
#include "replica/source/tuning.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class KnownContent {
 public:
  struct Part {
    enum class How { kNew, kCopy, kDelta };
    How how = How::kNew;
    size_t offset = 0;  // in the window
    size_t length = 0;
    ContentPlace place = {};  // kCopy: the same content; kDelta: content that may resemble it
    std::string digest = {};  // kCopy
    bool whole = false;       // kDelta: the window; NoteTried is to be called
  };

  // Content of `object` from `offset` on is expected to be that of `basis` at the same offset,
  // unless it is known better.
  void Expect(ObjectId object, uint64_t offset, ObjectId basis);

  // Content of `object` from `offset` on may resemble that of `basis` around the same offset. Tried
  // only where nothing is found otherwise, and seldom as long as it is of no use: it costs a
  // signature.
  void Guess(ObjectId object, uint64_t offset, ObjectId basis);

  // The object's content is written anew, from its beginning.
  void BeginAnew(ObjectId object);

  // Small files of which the replica may have all the content, each with an object that may have it
  // there: what the file replaced, or is named like. Asks for them, if that is likely to be of use:
  // they are many, or some were found lately.
  using SmallFiles = std::vector<std::pair<ObjectId, ObjectId>>;
  Status AskForSmall(Peer& peer, const SmallFiles& files);
  // Returns the copy that all of `content`, which is the object's, can be sent as.
  Result<std::optional<Part>> ExplainSmall(ObjectId object, std::string_view content);

  // Returns the parts of `window`, which is the object's content from `offset` on, in order and
  // without gaps. Asks `peer`, which must take FindContent.
  Result<std::vector<Part>> Explain(Peer& peer, ObjectId object, uint64_t offset,
                                    std::string_view window);

  // A delta of a whole window was smaller than the window by so many bytes, and took a signature of
  // so many, which may be none.
  void NoteTried(ObjectId object, uint64_t saved, uint64_t signature_bytes);

  // The replica is at another cut.
  void BeginStage() {
    ahead_.clear();
    small_asked_.clear();
  }
  // It may be another one: forgets all.
  void Forget();

 private:
  // Where content went on.
  struct Trail {
    uint64_t offset = 0;  // of the object
    ObjectId basis;       // null: nowhere
    uint64_t basis_offset = 0;
    ObjectId guess;             // null: none
    bool followed = false;      // content was found where it was expected
    uint64_t small = 0;         // bytes of small content that were not asked about
    uint64_t unasked = 0;       // bytes to be sent before anything is asked
    uint64_t unasked_next = 0;  // after the next window in vain
  };
  // A run of chunks that the replica has one after the other.
  struct Run {
    size_t offset = 0;  // in the window
    size_t length = 0;
    ObjectId object;
    uint64_t object_offset = 0;
    std::string digest = {};  // empty: not computed yet
  };

  static bool IsSmall(Peer& peer, size_t bytes);
  bool IsNotAsked(Peer& peer, Trail& trail, size_t bytes);
  void NoteInVain(Trail& trail, size_t bytes);
  // Returns the window as one part that may resemble what was guessed, if that is worth a
  // signature.
  std::optional<Part> TryGuess(Trail& trail, uint64_t offset, size_t bytes);
  Trail& TrailOf(ObjectId object, uint64_t offset);
  // Returns whether the replica has content of that digest at the place. `ahead`: asks for what
  // follows as well.
  Result<bool> IsExpected(Peer& peer, const ContentPlace& place, std::string_view digest,
                          bool ahead);
  static Result<FoundContent> Ask(Peer& peer, const FindContent& find);
  static Result<std::vector<Run>> FindRuns(Peer& peer, std::string_view window);
  // Adds what stands before and after the runs at their places, where that is the same content.
  static Status Extend(Peer& peer, std::string_view window, std::vector<Run>& runs);
  static Result<std::vector<Part>> PartsOf(std::string_view window, std::vector<Run> runs);

  void NoteLikeness(const SmallFiles& files);

  std::unordered_map<ObjectId, Trail> trails_;
  std::deque<ObjectId> trail_order_;
  int small_unasked_ = 0;  // pieces of small content to be sent before one is asked about
  int small_unasked_next_ = 0;
  // Small files that were asked for: what may have their content, and the name of that.
  std::unordered_map<ObjectId, std::pair<ObjectId, uint64_t>> small_asked_;
  // What new files are named like, in case that they grow: a journal is empty at first.
  std::unordered_map<ObjectId, ObjectId> likeness_;
  std::deque<ObjectId> likeness_order_;
  size_t small_passed_by_ = 0;                    // since some were asked for
  size_t small_wait_for_ = kFewSmallFiles;        // as many are passed by
  uint64_t signature_credit_ = kSignatureCredit;  // bytes that guesses in vain may cost
  // Digests that were asked for ahead.
  std::map<std::pair<ObjectId, uint64_t>, std::pair<uint64_t, std::string>> ahead_;
};

}  // namespace tandem::replica
