// The only way into STORE/VOLUME/tree and stage/hold: one name at a time, never through a symbolic
// link, a mount or "..", and only from directories whose inode is the one in the catalog (invariant
// 5). No other code in replica/ opens anything there.
//
// A Tree is used by one thread, for one request or redo, because its descriptors must not outlive
// changes by other threads. During a redo objects are not where the catalog has them; the redo
// calls Held and Placed to say where they are.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/catalog.h"

namespace tandem::replica {

// Opens one name in `directory_fd`. With O_PATH it opens a symbolic link itself.
Result<UniqueFd> OpenBeneath(int directory_fd, const std::string& name, int flags);
// Returns true if the error means that there is no object (of that kind) by that name.
bool MeansAbsent(const Error& error);
// Returns true if the error means that the filesystem refuses the object because its inode, or what
// leads to it, is damaged on the disk.
bool MeansDamaged(const Error& error);
// Returns the inode at the name, or nullopt if there is none. An empty name means the descriptor
// itself.
Result<std::optional<InodeId>> InodeAt(int directory_fd, const std::string& name);
// Opens an O_PATH descriptor of a regular file or a directory again for reading or writing, without
// updating the access time. If the mode denies it (we are not root), the owner is given the right
// while this runs. Fails with EINVAL for other kinds: opening a device may already do something.
Result<UniqueFd> Reopen(int path_fd, int flags);
// Like meta::ReadAttributes. If the mode denies reading user.* (we are not root), the owner is
// given the right while this runs.
Result<meta::Attributes> ReadWithRights(int path_fd, meta::WithXattrs with_xattrs);
// Gives the owner all rights to a directory if we are not root. Returns the previous mode if it had
// to be changed, otherwise nullopt.
Result<std::optional<mode_t>> MakeAccessible(int path_fd);

class Tree {
 public:
  using Directory = std::shared_ptr<const UniqueFd>;

  // Borrows all three. `hold_fd` is stage/hold.
  Tree(int root_fd, int hold_fd, Catalog& catalog);
  // Restores the modes of directories that MakeAccessible has changed on the way.
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  int hold_fd() const { return hold_fd_; }
  static std::string HoldName(ObjectId object) { return object.ToHex(); }

  // Returns an O_PATH descriptor, or null if the directory is not there or another object is in its
  // place.
  Result<Directory> OpenDirectory(ObjectId directory);
  // Returns an O_PATH descriptor, or an invalid one if the object is not there. Fails if all there
  // is is damaged (MeansDamaged).
  Result<UniqueFd> OpenObject(ObjectId object);
  // Like OpenObject; invalid, too, if the filesystem refuses to show the object.
  Result<UniqueFd> OpenReadable(ObjectId object);
  // Returns the inode that stands for the object, or nullopt if none does.
  Result<std::optional<InodeId>> InodeOf(ObjectId object);

  // Records that the object is at hold/ID now, and that `inode` stands for it.
  void Held(ObjectId object, InodeId inode);
  // Records that the object is at `key` now, and that `inode` stands for it.
  void Placed(ObjectId object, const EntryKey& key, InodeId inode);
  // Ends what Placed has recorded of an object that is not looked for again.
  void Forget(ObjectId object);
  // Returns the directories whose mode MakeAccessible has changed on the way since the last call.
  // The caller has to restore their modes.
  std::unordered_set<ObjectId> TakeLoosened();

 private:
  struct Place {
    bool held = false;
    EntryKey key;
  };
  Result<std::optional<Place>> PlaceOf(ObjectId object);
  Status Loosen(const Directory& directory, ObjectId object);
  Result<Directory> Enter(const Directory& parent, const std::string& name, ObjectId object);
  Result<UniqueFd> OpenAt(int directory_fd, const std::string& name, ObjectId object, int flags);
  Result<UniqueFd> OpenAtOneOf(const std::vector<EntryKey>& names, ObjectId object);

  const int hold_fd_;
  Catalog& catalog_;
  Directory root_;
  Directory hold_;
  std::unordered_map<ObjectId, Directory> open_;
  std::unordered_map<ObjectId, Place> moved_;
  std::unordered_map<ObjectId, InodeId> inodes_;
  struct Loosened {
    Directory directory;
    mode_t mode;  // before the change
  };
  std::unordered_map<ObjectId, Loosened> loosened_;
};

}  // namespace tandem::replica
