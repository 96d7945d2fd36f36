// The numbers that replica/source was tuned with: waiting times, sizes, limits. They can be changed
// without breaking anything but speed, memory use and how soon trouble shows.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::replica {

// ---- Sessions: sender.h, peer.h -----------------------------------------------------------------

// Longer than any answer takes on a working host, fsync of a busy disk included. A request that
// may take longer says so itself (WaitApplied) or is sent again (Commit).
inline constexpr std::chrono::milliseconds kAnswerTimeout{30'000};
// Pause before another session is opened, at first and at most: it doubles each time.
inline constexpr std::chrono::milliseconds kBackOffFirst{100};
inline constexpr std::chrono::milliseconds kBackOffLongest{5000};
// A session that moved so much content, or brought a cut to the replica, or lasted for
// kBackOffLongest, is followed by the shortest.
inline constexpr uint64_t kSessionGotOn = 8 << 20;
// An idle replica is asked this often whether it is still there. It must hear from its source
// within kIdleConnected and kHolderSilence (replica/store/tuning.h).
inline constexpr std::chrono::seconds kHeartbeat{15};
// Likewise one from before protocol 2, which takes a source for gone after ten seconds.
inline constexpr std::chrono::seconds kHeartbeatOfOld{2};
// Cuts come so much more slowly while programs wait for the source's disk: each cut costs a sync of
// the replica's, which may be the same, and a few threads woken.
inline constexpr int kSlowerBesideSyncs = 4;
// Whoever waits for a cut wakes the sender so often.
inline constexpr std::chrono::milliseconds kAskAgainEvery{250};
// Status asks an idle replica if it has not been heard for so long, and waits so long for it.
inline constexpr std::chrono::milliseconds kHeardLately{2000};
inline constexpr std::chrono::milliseconds kStatusWaits{2500};
// How long the replica may take to answer WaitApplied with "not yet".
inline constexpr std::chrono::milliseconds kAppliedPoll{1000};
// Likewise in answer to an Increment: a small cut is applied sooner.
inline constexpr std::chrono::milliseconds kIncrementWaits{250};
// Pause for a replica that answers at once that the cut is not applied yet.
inline constexpr std::chrono::milliseconds kAppliedPause{50};
// Names that a directory of the replica may list: no directory has more.
inline constexpr size_t kMaxNamesListed = size_t{1} << 28;

// ---- What status calls current: replica_view.h --------------------------------------------------

// A replica that is connected and no further behind than this is current: in time, and in bytes
// that still have to be sent.
inline constexpr double kCurrentLagSeconds = 3;
inline constexpr uint64_t kCurrentBytes = 32 << 20;

// ---- What is remembered: replication.h, thin_names.h --------------------------------------------

// Changed objects and names that are remembered for replicas that are behind: about a gigabyte.
inline constexpr uint64_t kMaxChangesRemembered = 2 << 20;
// How often what all replicas have is dropped and their positions are written down, at most, after
// a replica has reached a cut. Neither is urgent: both only save repeated work after a crash.
inline constexpr std::chrono::milliseconds kDropEvery{100};
// How often it is looked whether too much is remembered, while no replica reaches a cut; and while
// nothing is remembered.
inline constexpr std::chrono::milliseconds kLookAtChangesEvery{1000};
inline constexpr std::chrono::milliseconds kDropAtLeastEvery{5000};
// Names of sets of no moment. More are not in question at any time.
inline constexpr size_t kMaxThinNames = 8;

// ---- Change sets: sender_ship.cc, sender_cramped.cc, cut_shipper.h ------------------------------

// A change set larger than this is pre-copied: shipped from one cut, and the stage committed with a
// later, smaller one.
inline constexpr uint64_t kPreCopyAbove = 64 << 20;
// Pre-copies of one change set, at most.
inline constexpr int kMaxPreCopies = 8;
// How many cuts may fall within one tick of a slow clock.
inline constexpr uint64_t kCutsInATick = 2;
// Commits that name again what had been asked for before, at most.
inline constexpr int kMaxCommitTries = 16;
// Commits of one stage, at most. Each refusal names thousands of objects that are missing: a
// replica that refuses more often never has them all.
inline constexpr int kMaxCommits = 1024;
// The same of a set of no moment, from which names are taken back.
inline constexpr int kMaxThinCommits = 16;
// What an object costs in a change set beside its content, roughly; a name costs a quarter.
inline constexpr uint64_t kEstimatedPerObject = 512;
// What a range with an open end counts for if the size of the file is not known.
inline constexpr uint64_t kEstimatedUnknownSize = 64 << 10;
// A range from this size on is measured rather than counted: it may hold holes.
inline constexpr uint64_t kMeasureFrom = 16 << 20;
// Extents of a file that are read at a time.
inline constexpr size_t kExtentsAtATime = 1024;

// ---- Content: object_shipper.h ------------------------------------------------------------------

// Content of a data record that is sent as it is, and that is compared for a delta.
inline constexpr uint64_t kLiteralBytes = 512 << 10;
inline constexpr uint64_t kDeltaBytes = 4 << 20;
// Below this, asking for a signature costs more than sending the bytes.
inline constexpr uint64_t kCompareFrom = 32 << 10;
// From this size on the replica puts a new file's content where it will be moved from.
inline constexpr uint64_t kFileOfItsOwnFrom = 1 << 20;
// How far content of a rewritten file may have moved and still be found in the old file.
inline constexpr uint64_t kBasisSlack = 4 << 20;
// Content is compared in blocks of this size, and a file with a damaged part is read in them.
inline constexpr uint32_t kCompareBlock = 4096;
// After this many bad blocks in a row the rest is not tried: a disk may take long to fail.
inline constexpr int kMaxBadBlocksInARow = 16;

// ---- Content that the replica has already: known_content.h --------------------------------------

// Of less, looking for it costs more than sending the bytes.
inline constexpr uint64_t kKnownFrom = 64 << 10;
// Content that is looked for at a time, and that is asked about ahead, where it is expected.
inline constexpr uint64_t kKnownWindow = kDeltaBytes;
inline constexpr size_t kWindowsAhead = 8;
// Content that is sent without asking after some that was not there, at first and at most.
inline constexpr uint64_t kUnaskedFirst = 4 << 20;
inline constexpr uint64_t kUnaskedMost = 32 << 20;
// Content below this is asked about less and less while none of it is known; on a way that is long
// and fast, below the second. So many pieces are sent without asking at most.
inline constexpr size_t kSmallContent = 1 << 20;
inline constexpr size_t kSmallOnALongWay = 4 << 20;
inline constexpr int kSmallUnaskedMost = 64;
// New files of which it is remembered what they are named like.
inline constexpr size_t kMostLikenesses = 256;
// Small files that may be known are asked about when so many have come; while none is found, when
// more and more have come. Of smaller ones a copy is no shorter than the content.
inline constexpr size_t kFewSmallFiles = 4;
inline constexpr size_t kManySmallFiles = 256;
inline constexpr uint64_t kLeastSmallFile = 256;
// Between two places that are known a delta is made if that much is missing, at least.
inline constexpr size_t kGapFrom = 1 << 10;
// What content may resemble is guessed from this size on. A signature has 20 bytes for 1024, and
// those in vain may cost so much at first, and one byte in so many of content that is sent.
inline constexpr size_t kGuessFrom = 256 << 10;
inline constexpr uint64_t kGuessedBefore = 64 << 10;
inline constexpr uint64_t kBytesInASignature = 50;
inline constexpr uint64_t kSignatureCredit = 512 << 10;
inline constexpr uint64_t kSignatureShare = 400;
inline constexpr uint64_t kSignatureShareOfSaved = 4;
// How much longer than the gap its basis may be.
inline constexpr uint64_t kGapSlack = 16 << 10;
// Objects of which it is remembered where the next content is expected.
inline constexpr size_t kMostExpected = 64;

// ---- Stages: stage_writer.h ---------------------------------------------------------------------

// A chunk ends with the record that reaches one of these, the last of which counts content that
// stands as copies of what the replica has.
inline constexpr size_t kChunkBytes = 1 << 20;
inline constexpr size_t kChunkRecords = 4096;
inline constexpr uint64_t kChunkCopies = 8 << 20;
// So many chunks are in flight at most.
inline constexpr size_t kChunksInFlight = 8;
// On a slow link chunks are smaller, and fewer bytes under way: pace.h. The least window still
// fills a link of 128 kbit/s in the time that an answer may take.
inline constexpr size_t kLeastChunkBytes = 16 << 10;
inline constexpr uint64_t kChunksASecond = 4;
inline constexpr size_t kLeastWindow = 64 << 10;
inline constexpr size_t kFirstWindow = 256 << 10;
inline constexpr size_t kUsualWindow = 1 << 20;
inline constexpr std::chrono::milliseconds kLongWay{10};
inline constexpr size_t kLargestWindow = kChunksInFlight * kChunkBytes;
// Answers are awaited for so long before less is sent at a time, and come so soon before more is.
// The former is less than status takes to say that nothing is heard.
inline constexpr std::chrono::milliseconds kAnswerIsLate{3000};
inline constexpr std::chrono::milliseconds kAnswerIsQuick{1000};
// What a record costs beside its bytes, roughly.
inline constexpr size_t kRecordOverhead = 160;
// Smaller chunks are sent as they are.
inline constexpr size_t kCompressFrom = 512;
inline constexpr int kZstdLevel = 1;
inline constexpr size_t kSamples = 8;
inline constexpr size_t kSampleBytes = 8 << 10;

// ---- Going on with a stage that was broken off: staged_before.h ---------------------------------

// Times of change within this count as equal: no filesystem has a coarser clock; and that of one
// whose times have more than milliseconds is the kernel's, which ticks a hundred times a second.
inline constexpr std::chrono::milliseconds kCoarsestClock{3000};
inline constexpr std::chrono::milliseconds kFineClock{100};

// ---- Objects that fall short: short_debts.h -----------------------------------------------------

// When an object that falls short is tried again: at first, at most if it has changed, and at most
// otherwise.
inline constexpr std::chrono::milliseconds kShortRetryFirst{1000};
inline constexpr std::chrono::milliseconds kShortRetryChanged{5000};
inline constexpr std::chrono::milliseconds kShortRetryLongest{60'000};

// ---- Reading ahead of a walk: read_ahead.h ------------------------------------------------------

// Threads; objects that one takes at a time; that are read at most before the walk comes to them;
// and the largest content that is kept of one.
inline constexpr int kReadAheadThreads = 4;
inline constexpr size_t kReadAtATime = 8;
inline constexpr size_t kMostReadAhead = 128;
inline constexpr uint64_t kReadAheadBytes = 64 << 10;

// ---- Listing ahead of a walk: list_ahead.h
// -------------------------------------------------------

// Threads; pages that are listed at most before the walk comes to them; and names of the
// directories that are being listed, beyond which no other is begun with.
inline constexpr size_t kListAheadThreads = 2;
inline constexpr size_t kMostPagesAhead = 16;
inline constexpr size_t kMostNamesAhead = 100'000;

// ---- Walks and verify: walker.h, verifier.h -----------------------------------------------------

// Names that a walk compares, and objects that the replica is asked for, at a time.
inline constexpr size_t kFindAtATime = 1000;
// How long verify keeps the sender's thread at a time: cuts wait meanwhile.
inline constexpr std::chrono::milliseconds kVerifySlice{25};
// How long verify waits for a replica that sends nothing, before each slice and for changes to
// land; and how often it looks whether it is to stop.
inline constexpr std::chrono::seconds kVerifyPatience{60};
inline constexpr std::chrono::milliseconds kVerifyLook{500};
// The most differences of which a verify keeps more than the number, and the bytes of their texts.
inline constexpr size_t kMaxDifferences = 100'000;
inline constexpr size_t kMaxDifferenceBytes = 64 << 20;
// How often an object is judged that goes on changing.
inline constexpr int kMaxJudgements = 40;
// After so many, an object that changes all the time is compared with what was applied.
inline constexpr int kTriesBeforeApplied = 4;
// Content that is compared at a time; and that is judged at a time, while redoes wait.
inline constexpr uint64_t kVerifyWindow = 32 << 20;
// It begins with less, and takes less still if comparing takes long.
inline constexpr uint64_t kFirstVerifyWindow = 4 << 20;
inline constexpr uint64_t kLeastVerifyWindow = 512 << 10;
inline constexpr std::chrono::milliseconds kWindowIsQuick{1000};
inline constexpr std::chrono::milliseconds kWindowIsSlow{4000};
inline constexpr uint64_t kJudgeWindow = 8 << 20;
// Names that are compared at a time.
inline constexpr ptrdiff_t kNamesInAPage = 512;
// Threads of a survey: each has a request under way.
inline constexpr int kSurveyThreads = 4;
// How often a verify says what is left.
inline constexpr std::chrono::seconds kVerifyCheckpoint{5};
// How often in a row a replica may answer a survey that it is busy.
inline constexpr int kMaxSurveysInVain = 60;

}  // namespace tandem::replica
