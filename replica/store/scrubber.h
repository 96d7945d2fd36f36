// Compares a volume's tree with what the catalog says was applied there, without the source: finds
// what the disk or another program has damaged (replica/STORE.md, "Scrub"). Names, kinds, owners,
// modes, sizes, times, link targets and extended attributes are compared with the catalog's,
// content with the digests of its blocks.
//
// The volume may be in use. What is judged is judged between two redoes, in slices of about
// kScrubSlice; content is read while redoes go on, and only a block that does not match is read
// once more between two of them.
//
// Run is called on one thread, and lowers that thread's I/O priority for what it reads while redoes
// go on. Any thread may call Stop and
// report. Borrows what it is given, which outlives it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <unordered_set>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/catalog.h"
#include "replica/apply/tree.h"
#include "replica/store/apply_queue.h"
#include "replica/store/kept_catalog.h"
#include "replica/store/volume_place.h"

namespace tandem::replica {

struct ScrubOptions {
  uint64_t bytes_per_second = 0;  // of content that is read; 0: no limit
  // Whether the source is asked to send again the blocks that have no digest.
  bool resend_unknown = false;
};

struct ScrubDifference {
  std::string kind;  // name, kind, attribute, xattr, content, unreadable
  std::string path;  // below the volume's root; "." is the root itself
  std::string what;  // a phrase for people
};

struct ScrubReport {
  uint64_t objects = 0;
  uint64_t bytes = 0;          // of content, holes included
  uint64_t unknown_bytes = 0;  // of which nobody knows what they should be
  uint64_t unknown_files = 0;
  uint64_t difference_count = 0;
  std::vector<ScrubDifference> differences;  // some of them
  bool finished = false;
  std::string error;  // why it could not run, or not to the end
};

class Scrubber {
 public:
  Scrubber(const ScrubOptions& options, const VolumePlace& place, ApplyQueue& queue,
           KeptCatalog& kept)
      : options_(options), place_(place), queue_(queue), kept_(kept) {}

  // Runs to the end; the outcome is in the report. What was found is durable then, and the source
  // is asked to send it again.
  void Run() EXCLUDES(mutex_);
  void Stop() { stopping_ = true; }
  // Returns a copy, with `limit` of the differences from `skip` on.
  ScrubReport report(size_t skip, size_t limit) EXCLUDES(mutex_);

 private:
  // What a slice may use: the catalog and the tree, which agree until it ends.
  struct Slice {
    Catalog& catalog;
    Tree& tree;
    CondVar::Clock::time_point deadline = {};
    bool IsOver() const { return CondVar::Clock::now() >= deadline; }
  };
  // A regular file whose content is to be compared.
  struct File {
    ObjectId object;
    InodeId inode;
    uint64_t size = 0;
    std::string path = {};
    uint64_t unknown_bytes = 0;
    RangeSet unknown = {};
    RangeSet damaged = {};  // in whole blocks
  };

  // What a redo can give to a file here.
  struct Settable {
    bool owner = false;
    bool mode = false;
  };

  Status ScrubAll();
  // Calls `work` between two redoes. Waits for them as long as it takes.
  Status InSlice(const std::function<Status(Slice&)>& work);
  Status ScrubRoot();
  Status ScrubDirectory(ObjectId directory);
  // Finds names in the directory that the catalog does not have.
  Status FindStrangers(ObjectId directory, int directory_fd);

  // ---- scrubber_judge.cc
  // `parent`: the path of the directory.
  Status JudgeEntry(Slice& slice, const std::string& parent, int directory_fd,
                    const CatalogEntry& entry, std::vector<File>& files);
  Status JudgeObject(Slice& slice, ObjectId object, const CatalogObject& row, int fd,
                     const std::string& path, std::vector<File>& files);
  // Reports what cannot be read, if the error concerns this object alone; otherwise returns the
  // error. The source is not asked for it: a redo cannot replace what it cannot open. What earlier
  // scrubs found there is not forgotten.
  Status PassOver(ObjectId object, const std::string& path, Error error);
  // Returns what differs in attributes other than mtime and size; empty: nothing.
  std::string OtherDifference(const meta::Attributes& applied, const meta::Attributes& here);
  // Tries whether these owner and mode can be set: a container may lack the capability, a server of
  // NFS refuse.
  Settable WhatCanBeSet(const meta::Attributes& applied);
  // Returns false if the object is not there by any name.
  Result<bool> IsThere(Slice& slice, ObjectId object);

  // ---- scrubber_content.cc
  Status ScrubContent(File file);
  // Compares what the file has from `offset` on, up to the end of a run of blocks. Returns where to
  // go on; nullopt if the file has changed so that it has to be judged at another time.
  Result<std::optional<uint64_t>> ScrubRun(File& file, const UniqueFd& fd, uint64_t offset);
  // Reads the block once more, between two redoes.
  Status Rejudge(File& file, uint64_t block);
  Status ReportContent(const File& file);
  Status KeepAskingFor(const File& file);
  // Sleeps so that no more is read than the options allow.
  void Pace(uint64_t bytes);

  void Report(ScrubDifference difference) EXCLUDES(mutex_);
  void NoteDamage(DamagedObjects::Row row);
  // Writes to the catalog what was found so far.
  Status KeepDamage(bool at_end, bool now);
  Status WriteDamage(Catalog& catalog);
  Status ClearOldDamage(Catalog& catalog);
  // Returns whether it has a name in a directory that could not be read.
  Result<bool> IsInUnread(Catalog& catalog, ObjectId object);

  const ScrubOptions options_;
  const VolumePlace& place_;
  ApplyQueue& queue_;
  KeptCatalog& kept_;
  std::atomic<bool> stopping_{false};
  // Objects with several names that have been judged by one of them.
  std::unordered_set<ObjectId> judged_;
  std::map<ObjectId, DamagedObjects::Row> damage_;  // not in the catalog yet
  std::unordered_set<ObjectId> found_;              // or unreadable: rows in the catalog stay
  std::unordered_set<ObjectId> unread_;             // directories whose names were not judged
  std::map<std::tuple<uint32_t, uint32_t, uint32_t>, Settable> settable_;  // by uid, gid, mode
  CondVar::Clock::time_point paced_{};

  Mutex mutex_;
  ScrubReport report_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
