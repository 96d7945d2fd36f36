// Reading SOURCE for shipping: objects are opened by handle, whatever they are called by now and
// whatever is mounted over them; or, where handles cannot be opened, by the names they were last
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

#include "meta/attributes.h"
#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/change_set.h"
#include "meta/name_resolver.h"
#include "meta/object_reader.h"

namespace tandem::meta {

// One object, open for reading as it is now.
class SourceObject final : public ObjectReader {
 public:
  // `path_fd`: an O_PATH descriptor of it.
  explicit SourceObject(UniqueFd path_fd) : path_fd_(std::move(path_fd)) {}

  Result<Attributes> ReadAttributes(WithXattrs with_xattrs) const override;
  Result<size_t> Read(uint64_t offset, std::span<char> buffer) override;
  // By SEEK_DATA.
  Result<Layout> ReadLayout(ByteRange range, size_t limit) override;

  int path_fd() const { return path_fd_.get(); }
  // Of files: a descriptor to read from. Borrowed.
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
  // In byte order of names.
  std::vector<SourceEntry> entries;
  // What these lead to cannot be found out.
  struct Unreadable {
    std::string name;
    Error error;
  };
  std::vector<Unreadable> unreadable;
};

// Whether the error is one of this one object: the disk is damaged there, it is not ours to read (a
// user's mount over files of others), or it has too many extended attributes. All else can still be
// read.
bool IsUnreadable(const Error& error);
// The latter.
bool IsForbidden(const Error& error);

class SourceTree {
 public:
  // `root_fd` is borrowed: SOURCE, opened before the mount. Fails if it cannot be identified.
  static Result<SourceTree> Open(int root_fd);

  // Nothing: the object is gone. Effort counts only where objects are found by their names.
  Result<std::optional<UniqueFd>> OpenPath(const ObjectRef& object,
                                           Effort effort = Effort::kSearch) const;
  Result<std::optional<SourceObject>> Open(const ObjectRef& object,
                                           Effort effort = Effort::kSearch) const;
  // One that has just been listed in `parent`, open as `directory`.
  Result<std::optional<SourceObject>> OpenListed(const SourceObject& directory,
                                                 const ObjectId& parent,
                                                 const SourceEntry& entry) const;
  // The object's id as the volume knows it. Nothing: no such name, or a nested mount's root, which
  // is not replicated.
  Result<std::optional<ObjectRef>> Lookup(int directory_fd, const char* name) const;
  // Likewise in a directory of the tree; nothing as well if that is gone.
  Result<std::optional<ObjectRef>> LookupIn(const ObjectRef& directory,
                                            const std::string& name) const;
  // All names in the directory but "." and "..", of objects that are replicated.
  Result<SourceListing> List(const SourceObject& directory) const;

  // Where an object was that is about to be opened, if that has been forgotten since.
  void Remind(const ObjectId& object, const ObjectId& parent, const std::string& name) const;

  // Everything written so far is on stable storage when this returns; may take long.
  Status Sync() const;
  // Size of a regular file now. Nothing: it cannot be found out.
  std::optional<uint64_t> SizeOf(const ObjectRef& object) const;

  // What the object is called now, for people; of several names any. Its inode number where the
  // kernel does not know the name.
  std::string PathOf(const ObjectRef& object) const;

  int root_fd() const { return root_fd_; }
  const ObjectRef& root() const { return root_; }
  // Null: objects are opened by their handles. Code that gives or sees names tells it.
  NameResolver* by_names() const { return by_names_.get(); }
  // An object may come to have another id without any operation (overlayfs: a file that was copied
  // up, once the kernel has forgotten it).
  bool ids_may_change() const { return ids_may_change_; }
  // For people: what SOURCE lacks, and what follows from it; nothing is usual.
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
