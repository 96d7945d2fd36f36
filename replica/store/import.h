// `tandemd import`: adopts a copy of a source that came by another way (rsync, a disk that was
// carried) as the tree of a new volume. The copy is described in a new catalog, under ids of its
// own (replica/wire/imported.h), and then moved to STORE/VOLUME/tree. The volume belongs to no
// source yet: it takes the id of the first that says Hello, which finds it at no cut and
// reconciles.
//
// A process that dies leaves the copy where it was, or in tree/ of a directory that is no volume
// yet; the next import of that name starts anew, or completes it. Format: replica/STORE.md.
//
// One thread, in a store that no daemon uses.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "meta/base/result.h"
#include "replica/store/store_layout.h"

namespace tandem::replica {

struct ImportOptions {
  // Content is to be compared with the source's even where kind, size and time are equal.
  bool compare_content = false;
  // Called with the number of objects so far.
  std::function<void(uint64_t objects)> progress = [](uint64_t) {};
};

struct Imported {
  uint64_t objects = 0;
  // An import that had been interrupted was completed. `directory` was not looked at.
  bool was_completed = false;
};

// Returns kUsage if a daemon uses the store, if there is such a volume, or if the directory cannot
// be adopted, and says why and what to do.
Result<Imported> ImportTree(const std::string& store, const VolumeKey& key,
                            const std::string& directory, const ImportOptions& options);

}  // namespace tandem::replica
