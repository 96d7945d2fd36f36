// Where a volume stands on disk, STORE/NAME, and what it is called: the descriptors of its
// directories, and the errors and replies that name it to people. What is in them:
// replica/STORE.md.
//
// Any thread; nothing changes once it is open. The parts of a volume borrow it, and it outlives
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/kept_bases.h"
#include "replica/apply/marker.h"
#include "replica/apply/tree_mounts.h"
#include "replica/store/volume_terms.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class VolumePlace {
 public:
  static constexpr char kCatalogName[] = "replica.db";

  // `path` is STORE/NAME, and `fd` is open on it. Makes the directories that are missing. kUsage:
  // something is mounted on the tree, or inside it.
  static Result<std::unique_ptr<VolumePlace>> Open(UniqueFd fd, const std::string& path,
                                                   const VolumeIdentity& identity,
                                                   VolumeTerms terms = {});
  // Makes what Open expects in an empty directory, durably.
  static Status Prepare(int fd, const VolumeIdentity& identity);
  // Makes stage/ and stage/hold alone, and opens stage/hold.
  static Result<UniqueFd> PrepareStage(int fd);

  const VolumeIdentity& identity() const { return identity_; }
  const VolumeTerms& terms() const { return terms_; }
  // Returns the name for people, with that of its account.
  const std::string& name() const { return terms_.label; }
  const std::string& path() const { return path_; }
  // Of the volume's filesystem: changes if that may have lost what was written to it but not
  // synced.
  LifeId life() const { return life_; }
  int fd() const { return fd_.get(); }
  int root_fd() const { return root_fd_.get(); }    // tree/
  int stage_fd() const { return stage_fd_.get(); }  // stage/
  int hold_fd() const { return hold_fd_.get(); }    // stage/hold/
  // In bytes: how large a file may be on this filesystem.
  uint64_t largest_file() const { return largest_file_; }

  // What redoes have taken away. It goes before room is short.
  KeptBases& kept() const { return kept_; }

  // Returns what is mounted on the tree or inside it, for people, or an empty string.
  std::string Mounted() const { return mounts_.Look(); }
  // Fails with EBUSY if something is mounted on the tree or inside it.
  Status CheckMounts() const;
  // Brings all that was written to the volume's filesystem to stable storage.
  Status Sync() const;

  // Returns the reply to a request that failed with `error`.
  Reply Failure(const Error& error) const;
  // Of reading one object: kUnreadable if the error concerns that alone.
  Reply ReadFailure(const Error& error) const;

 private:
  VolumePlace(UniqueFd fd, const std::string& path, const VolumeIdentity& identity,
              VolumeTerms terms);
  Status OpenDirectories();

  const VolumeIdentity identity_;
  const VolumeTerms terms_;
  const std::string path_;
  const UniqueFd fd_;
  UniqueFd root_fd_;
  UniqueFd stage_fd_;
  UniqueFd hold_fd_;
  LifeId life_;
  uint64_t largest_file_ = 0;
  // Each has a lock of its own.
  mutable TreeMounts mounts_;
  mutable KeptBases kept_;
};

}  // namespace tandem::replica
