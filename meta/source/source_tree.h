// Reads SOURCE for shipping. Objects are opened by their handles, so neither renames nor mounts
// over them matter. If handles cannot be opened, objects are opened by the names they were last
// known to have (meta/WHEREABOUTS.md).
//
// Any thread; a SourceObject belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/change/change_set.h"
#include "meta/source/attributes.h"
#include "meta/source/name_resolver.h"
#include "meta/source/object_reader.h"

namespace tandem::meta {

// Reads one object as it is now.
class SourceObject final : public ObjectReader {
 public:
  // Takes ownership of `path_fd`, an O_PATH descriptor of the object.
  explicit SourceObject(UniqueFd path_fd) : path_fd_(std::move(path_fd)) {}

  Result<Attributes> ReadAttributes(WithXattrs with_xattrs) const override;
  Result<size_t> Read(uint64_t offset, std::span<char> buffer) override;
  // Finds holes with SEEK_DATA and SEEK_HOLE.
  Result<Layout> ReadLayout(ByteRange range, size_t limit) override;

  int path_fd() const { return path_fd_.get(); }
  // Requires a regular file. Returns a descriptor for reading, which this object owns.
  Result<int> ContentFd();

 private:
  UniqueFd path_fd_;
  UniqueFd content_fd_;
};

struct SourceEntry {
  std::string name;
  ObjectRef object;
};

struct SourceListing {
  // In byte order of the names.
  std::vector<SourceEntry> entries;
  // Names whose objects cannot be identified.
  struct Unreadable {
    std::string name;
    Error error;
  };
  std::vector<Unreadable> unreadable;
};

// Returns whether the error concerns only this one object, so that all others can still be read:
// the disk is damaged there, we have no permission to read it (in a user's mount over files of
// others), or it has too many extended attributes.
bool IsUnreadable(const Error& error);
// Returns whether the error is that the object, or the name that led to it, is not there any more.
bool IsGone(const Error& error);
// Returns whether the error is that we have no permission.
bool IsForbidden(const Error& error);

class SourceTree {
 public:
  // `root_fd` is SOURCE, opened before the mount, and is borrowed. Fails if the root cannot be
  // identified.
  static Result<SourceTree> Open(int root_fd);

  // Returns an O_PATH descriptor, or nullopt if the object is gone. `effort` matters only if
  // objects are found by their names.
  Result<std::optional<UniqueFd>> OpenPath(const ObjectRef& object,
                                           Effort effort = Effort::kSearch) const;
  Result<std::optional<SourceObject>> Open(const ObjectRef& object,
                                           Effort effort = Effort::kSearch) const;
  // Opens an object that was just listed in `directory`, whose id is `parent`.
  Result<std::optional<SourceObject>> OpenListed(const SourceObject& directory,
                                                 const ObjectId& parent,
                                                 const SourceEntry& entry) const;
  struct Named {
    ObjectRef ref;
    SourceObject object;
  };
  // Opens the object that `name` leads to in `directory`, whose id is `parent`. Returns nullopt if
  // there is no such name, or if it is the root of a nested mount.
  Result<std::optional<Named>> OpenName(const SourceObject& directory, const ObjectId& parent,
                                        const std::string& name) const;
  // Returns the object that `name` leads to. Returns nullopt if there is no such name, or if it is
  // the root of a nested mount, which is not replicated.
  Result<std::optional<ObjectRef>> Lookup(int directory_fd, const char* name) const;
  // Does the same in `directory`. Returns nullopt also if the directory is gone.
  Result<std::optional<ObjectRef>> LookupIn(const ObjectRef& directory,
                                            const std::string& name) const;
  // Lists those of the names that lead to something in the directory, but not the roots of nested
  // mounts.
  Result<SourceListing> List(const SourceObject& directory,
                             std::span<const std::string> names) const;

  // Called before an object is opened that was found at (parent, name) earlier. Notes that name if
  // it has been forgotten since.
  void NoteNameIfForgotten(const ObjectId& object, const ObjectId& parent,
                           const std::string& name) const;

  // Runs syncfs on the source: everything written before the call is on stable storage when it
  // returns. May take long.
  Status Sync() const;
  // Returns the current size of a regular file, or nullopt if it cannot be determined.
  std::optional<uint64_t> SizeOf(const ObjectRef& object) const;

  // Returns the object's current path for messages; any of them if it has several. Returns its
  // inode number if the kernel does not know a path.
  std::string PathOf(const ObjectRef& object) const;

  int root_fd() const { return root_fd_; }
  const ObjectRef& root() const { return root_; }
  // Returns null if objects are opened by their handles. Otherwise code that gives names to
  // objects, or looks them up, must report the names to it.
  NameResolver* by_names() const { return by_names_.get(); }
  // Returns whether an object's id may change without an operation (overlayfs: the id of a file
  // that was copied up changes once the kernel has evicted its inode).
  bool ids_may_change() const { return ids_may_change_; }
  // Messages for the user about what SOURCE's filesystem lacks and what follows from that. Usually
  // empty.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  SourceTree(int root_fd, ObjectRef root, int mount_id)
      : root_fd_(root_fd), root_(std::move(root)), mount_id_(mount_id) {}
  void ProbeFilesystem();

  int root_fd_;
  ObjectRef root_;
  int mount_id_;
  std::unique_ptr<NameResolver> by_names_;
  bool ids_may_change_ = false;
  std::vector<std::string> notices_;
};

}  // namespace tandem::meta
