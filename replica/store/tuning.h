// The numbers that replica/store was tuned with: waiting times, sizes, limits. They can be changed
// without breaking anything but speed, memory use and how soon trouble shows.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tandem::replica {

// ---- Applying: applier.h, apply_queue.h ---------------------------------------------------------

// Pause after a redo or a sync that failed.
inline constexpr std::chrono::milliseconds kRetryRedo{1000};
inline constexpr std::chrono::milliseconds kRetrySync{1000};
// How long what was applied waits to be kept, so that one sync keeps many cuts.
inline constexpr std::chrono::milliseconds kKeepPause{1000};
// Stages that wait to be kept take disk and descriptors. From here on they do not wait.
inline constexpr uint64_t kMaxUnsyncedBytes = 256 << 20;
inline constexpr size_t kMaxUnsyncedStages = 512;
// How long a request that reads waits for a redo to end before it is refused.
inline constexpr std::chrono::milliseconds kMaxPauseWait{1000};
// WaitApplied waits no longer, whatever it asks for.
inline constexpr std::chrono::milliseconds kMaxAppliedWait{60'000};

// ---- Content that is here already: content_finder.h ---------------------------------------------

// Chunks that a volume's index has: about 100 MB.
inline constexpr uint64_t kMostChunks = 2'000'000;
// Pieces that wait to be noted.
inline constexpr size_t kMostToIndex = 100'000;
// Content that is read and cut at a time.
inline constexpr uint64_t kIndexWindow = 4 << 20;
// Content that is read at a time to be digested.
inline constexpr uint64_t kReadToDigest = 256 << 10;
// The thread that notes chunks ends after so long without work.
inline constexpr std::chrono::seconds kIndexerLingers{5};
// An index that could not be opened or written is tried again after so long.
inline constexpr std::chrono::minutes kTryIndexAgain{1};
// Files that one request may lead to. More are not looked at.
inline constexpr size_t kMostFilesToFind = 32;

// ---- Room: room_check.h -------------------------------------------------------------------------

// If this many times what is needed is free, and this much at least, nothing is measured and
// nothing claimed.
inline constexpr uint64_t kPlentyTimes = 8;
inline constexpr uint64_t kPlentyBytes = 64 << 20;
inline constexpr uint64_t kPlentyInodes = 1000;

// ---- Sessions: session_holder.h, stage_slot.h ---------------------------------------------------

// A source of which nothing is heard for this long is taken to be gone: it says something every
// kHeartbeat (replica/source/tuning.h).
inline constexpr std::chrono::seconds kHolderSilence{40};
// What the holder says within this time after another source was refused may have been sent before
// that.
inline constexpr std::chrono::milliseconds kHolderUnderWay{500};
// Refused sources that are remembered.
inline constexpr size_t kMaxRefusedSources = 16;
// Ids of stages that have ended: a repeated request may name one.
inline constexpr size_t kMaxEndedStages = 64;

// ---- Volumes: volume_table.h, account_usage.h ---------------------------------------------------

// How long a request waits for another thread to open or close its volume.
inline constexpr std::chrono::milliseconds kMaxOpenWait{2000};
// A volume of which nothing is heard for this long is closed: it costs about ten descriptors and
// two threads.
inline constexpr std::chrono::seconds kIdleVolume{10};
// After so much longer, if the connection of its source is there; or if a stage is open.
inline constexpr std::chrono::seconds kIdleConnected{50};
inline constexpr std::chrono::hours kIdleStage{1};
// How often the store looks for idle volumes.
inline constexpr std::chrono::seconds kLookForIdle{5};
// A store with more volumes than this closes each again at the start, once it is in order.
inline constexpr size_t kMostOpenAtStart = 256;
// The most volumes of an account that has no quota for them.
inline constexpr uint64_t kMostVolumes = 10'000;
// An account may make so many volumes at once, and so many a second after that.
inline constexpr int kVolumesAtOnce = 200;
inline constexpr int kVolumesASecond = 2;

// ---- Memory: memory_budget.h --------------------------------------------------------------------

// The most bytes that the chunks being decoded take at a time, in total and for one account.
inline constexpr size_t kMaxDecoding = 192 << 20;
inline constexpr size_t kMaxDecodingOfAccount = 96 << 20;
// Likewise for content that is read for signatures and deltas, and what deltas come to.
inline constexpr size_t kMaxReading = 192 << 20;
inline constexpr size_t kMaxReadingOfAccount = 96 << 20;
// Memory is returned to the system when so many bytes have been decoded and nothing is.
inline constexpr size_t kTrimAfter = 32 << 20;

// The records that a stage may have for each object of a quota: about 100 bytes of memory each.
inline constexpr uint64_t kRecordsOfObject = 8;
// A stage whose records carry no content may take so much beside a quota or a reserve: what makes
// room must get in.
inline constexpr uint64_t kMostWithoutContent = 64 << 20;

// ---- The log: store.h ---------------------------------------------------------------------------

// Refusals of one cause are logged once in this time.
inline constexpr std::chrono::seconds kRefusalsLogged{60};

// ---- Scrub: scrubber.h --------------------------------------------------------------------------

// About how long a scrub holds off a redo.
inline constexpr std::chrono::milliseconds kScrubSlice{10};
// Pause while other threads wait for the catalog.
inline constexpr std::chrono::milliseconds kScrubYield{1};
// Pause after a slice for which redoes had no time.
inline constexpr std::chrono::milliseconds kScrubPause{200};
// Objects of the catalog, or names of a directory, that a slice looks at.
inline constexpr size_t kScrubbedAtATime = 512;
// Content that is read before it is compared.
inline constexpr uint64_t kScrubReadBytes = 1 << 20;
// A scrub whose report nobody has asked for this long gives way to another: its client is
// gone.
inline constexpr std::chrono::seconds kScrubForgotten{30};
// How often a schedule looks how its scrub is going, and which volume is due: 30 times in the time
// after which each is scrubbed again, within these limits.
inline constexpr std::chrono::seconds kScrubLook{1};
inline constexpr std::chrono::seconds kScrubLookLongest{60};
// Volumes that it opens at a time to learn when they are due. They stay open for kIdleVolume.
inline constexpr size_t kMostOpenedByLook = 4;
// When a scheduled scrub that could not run is tried again.
inline constexpr std::chrono::seconds kScrubRetry{3600};
// Differences that are kept to be shown. All are counted.
inline constexpr size_t kMostScrubDifferences = 100'000;
// Those that are logged.
inline constexpr uint64_t kMostScrubLogged = 1000;

// ---- Listings: copied_tree.h, inspect.h ---------------------------------------------------------

// Entries of the catalog that are read at a time.
inline constexpr size_t kEntriesAtATime = 1000;
// Names and bytes in one answer; the caller asks on from the last name.
inline constexpr size_t kMaxListed = 4096;
inline constexpr size_t kMaxListedBytes = 4 << 20;
// How long the listing of names on the disk goes on: redoes wait meanwhile.
inline constexpr std::chrono::milliseconds kListingTime{15};
inline constexpr std::chrono::seconds kTreeKeptFor{1};
// What is said of one damaged object, in bytes.
inline constexpr size_t kMostSaidOfDamage = 1024;
// The names of directories that are listed in pages: from how many on they are kept from one page
// to the next, of how many directories of a volume, and what they take at most in the process.
inline constexpr size_t kNamesKeptFrom = 2000;
inline constexpr size_t kMostNamesKeptBytes = 64 << 20;
inline constexpr size_t kDirectoriesListed = 4;
// Longer than a tick of the clock that filesystems take times from.
inline constexpr int64_t kTickNs = 20'000'000;

}  // namespace tandem::replica
