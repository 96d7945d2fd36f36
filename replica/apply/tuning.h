// The numbers that replica/apply was tuned with: sizes, limits, room that is claimed in advance.
// They can be changed without breaking anything but speed and memory use. Those of room have to be
// as large as what they stand for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem::replica {

// ---- The catalog: catalog.h ---------------------------------------------------------------------

// The log needs room for the pages after which it starts afresh, and for one transaction, which
// writes each page of the database at most once. Not more than kMaxTransactionBytes is claimed for
// that.
inline constexpr uint64_t kLogBytes = 1100 * 4096;
inline constexpr uint64_t kMaxTransactionBytes = 64 << 20;
// Room that is claimed for growth of the database file. It is claimed again when less than half of
// it is left.
inline constexpr uint64_t kCatalogGrowth = 1 << 20;
// Objects that lack extended attributes are counted up to this number.
inline constexpr uint64_t kMaxCountedLacking = 10'000;
// Rows of digests that one hole or one piece of unknown content may take: those of a terabyte.
inline constexpr uint64_t kMaxDigestRows = 1 << 17;
// Damaged ranges that are remembered of an object: more are merged.
inline constexpr size_t kMaxDamagedRanges = 64;

// What SQLite may keep of the database in memory: usually, while a redo changes many objects, and
// for each of these.
inline constexpr uint64_t kCacheBytes = 2 << 20;
inline constexpr uint64_t kMostCacheBytes = 16 << 20;
inline constexpr uint64_t kCacheBytesOfObject = 600;

// ---- Room: room.h, stage.h, spare_objects.h -----------------------------------------------------

// What the catalog takes for an object, and how much of that the catalog has claimed in advance.
inline constexpr uint64_t kRowBytes = 760;
inline constexpr uint64_t kCatalogClaimed = kCatalogGrowth / 2;
// Size of a spare stage, and number and size of spare objects: enough for a cut that removes
// things. Spare objects are filled with zeros.
inline constexpr uint64_t kSpareStageBytes = 512 << 10;
inline constexpr int kSpareObjects = 16;
inline constexpr uint64_t kSpareObjectBytes = 4096;

// ---- Redo: redo_content.cc, tree.h, tree_path.h, foreign_edits.h --------------------------------

// Descriptors of files and of directories that are kept open; directories whose mode is widened for
// the redo and put back after it.
inline constexpr size_t kMaxOpenFiles = 128;
inline constexpr size_t kMaxOpenDirectories = 512;
inline constexpr size_t kMaxLoosened = 512;
// Deeper than any real tree. A circle in the catalog must not make a loop endless.
inline constexpr size_t kMaxTreeDepth = 1 << 20;
// Names in a path that is shown to people.
inline constexpr int kMaxShownDepth = 4096;
// Paths with changes by other programs that are remembered.
inline constexpr size_t kMaxForeignPaths = 1000;

// ---- New files made in threads: redo_bulk.h -----------------------------------------------------

// Objects of a redo from which on it pays; the largest such file; the files and bytes that are
// handed over at a time; how often that is done, and of how many chunks, before the first is waited
// for; threads of one redo.
inline constexpr size_t kBulkFrom = 64;
inline constexpr uint64_t kBulkFileBytes = 512 << 10;
inline constexpr size_t kBulkBatchFiles = 256;
inline constexpr uint64_t kBulkBatchBytes = 512 << 10;
inline constexpr size_t kBulkBatches = 16;
inline constexpr uint64_t kBulkChunks = 3;
inline constexpr int kMostFileMakers = 3;

// ---- Content: file_data.h, staged_files.h -------------------------------------------------------

// Bytes that are copied at a time, and that are written past the page cache at a time.
inline constexpr uint64_t kCopyAtATime = 1 << 20;
inline constexpr size_t kDirectAtATime = 512 << 10;
// Smaller pieces of staged content are written through the page cache.
inline constexpr size_t kDirectFrom = 256 << 10;
// Smaller pieces of old objects are not worth a file.
inline constexpr uint64_t kCloneFrom = 128 << 10;
// If a stage has more files than this, the whole filesystem is synced instead of each file.
inline constexpr size_t kMaxSyncedAlone = 16;

}  // namespace tandem::replica
