// The way into STORE/VOLUME/tree and stage/hold: by one name at a time, never through a symbolic
// link, a mount or "..", and from directories whose inode is the one the catalog says (invariant
// 5). Nothing else in replica/ opens anything there.
//
// A Tree belongs to one thread, and to one request or redo: descriptors it keeps must not outlive
// other people's changes. During a redo things are not where the catalog has them; Held and Placed
// say so.
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

// One name in `directory_fd`, itself if it is a symbolic link (with O_PATH).
Result<UniqueFd> OpenBeneath(int directory_fd, const std::string& name, int flags);
// The error says that there is nothing (of that kind) by that name.
bool MeansAbsent(const Error& error);
// What stands at the name; an empty name means the descriptor itself. Nothing: nullopt.
Result<std::optional<InodeId>> InodeAt(int directory_fd, const std::string& name);
// A descriptor for reading or writing from an O_PATH one, access times left alone. Where the mode
// does not let us (we are not root), the owner is given the right for a moment.
Result<UniqueFd> Reopen(int path_fd, int flags);
// meta::ReadAttributes, also where the mode does not let us (we are not root) read user.*: we are
// given the right for a moment.
Result<meta::Attributes> ReadWithRights(int path_fd, meta::WithXattrs with_xattrs);
// Lets us, if we are not root and it is a directory, work in it. Returns its mode before, if that
// had to be changed.
Result<std::optional<mode_t>> MakeAccessible(int path_fd);

class Tree {
 public:
  using Directory = std::shared_ptr<const UniqueFd>;

  // Borrows all three. `hold_fd` is stage/hold.
  Tree(int root_fd, int hold_fd, Catalog& catalog);
  // Directories get back the modes MakeAccessible has changed on the way.
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  int hold_fd() const { return hold_fd_; }
  static std::string HoldName(ObjectId object) { return object.ToHex(); }

  // O_PATH; null: not there, or something else is in its place.
  Result<Directory> OpenDirectory(ObjectId directory);
  // O_PATH; an invalid one: not there.
  Result<UniqueFd> OpenObject(ObjectId object);
  // The inode that stands for the object; nullopt: none does.
  Result<std::optional<InodeId>> InodeOf(ObjectId object);

  // From now on the object is hold/ID, and `inode` stands for it.
  void Held(ObjectId object, InodeId inode);
  // From now on it is where `key` says.
  void Placed(ObjectId object, const EntryKey& key, InodeId inode);
  // Directories whose mode MakeAccessible has changed on the way, since the last call. They are the
  // caller's to finish.
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

  const int hold_fd_;
  Catalog& catalog_;
  Directory root_;
  Directory hold_;
  std::unordered_map<ObjectId, Directory> open_;
  std::unordered_map<ObjectId, Place> moved_;
  std::unordered_map<ObjectId, InodeId> inodes_;
  struct Loosened {
    Directory directory;
    mode_t mode;  // before
  };
  std::unordered_map<ObjectId, Loosened> loosened_;
};

}  // namespace tandem::replica
