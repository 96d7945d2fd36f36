// rename, with RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT. The kernel holds the locks of
// both directories meanwhile.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "fs/file_system.h"

namespace tandem::fs {

using meta::Intent;
using meta::Operation;

struct FileSystem::Renaming {
  const Inode& old_parent;
  const int old_parent_fd;
  const char* const old_name;
  const Inode& new_parent;
  const int new_parent_fd;
  const char* const new_name;
  const unsigned flags;
  // The objects that the names lead to before; null if they are not captured.
  meta::ObjectRef moved = {};
  Victim replaced = {};
};

Status FileSystem::FindRenamed(Renaming& renaming) const {
  Result<Victim> replaced =
      FindVictim(renaming.new_parent, renaming.new_parent_fd, renaming.new_name);
  if (replaced) {
    renaming.replaced = std::move(*replaced);
  } else if (replaced.error().code() != ENOENT) {
    return tl::unexpected<Error>(std::move(replaced.error()));
  }
  if (!IsCaptured(renaming.old_parent)) return {};
  ASSIGN_OR_RETURN(const IdentifiedObject moved,
                   Identify(renaming.old_parent_fd, renaming.old_name));
  renaming.moved = {moved.id, moved.handle};
  return {};
}

void FileSystem::RecordRenamed(Operation& operation, const Renaming& renaming) {
  const meta::ObjectRef& old_parent = renaming.old_parent.ref();
  const meta::ObjectRef& new_parent = renaming.new_parent.ref();
  const ObjectId moved = renaming.moved.id;
  const ObjectId replaced = renaming.replaced.object.id;
  // Every filesystem sets its ctime; xfs also the mtime of a directory that changes its parent.
  operation.ChangedAttributes(renaming.moved, meta::kStatAttributes);
  if ((renaming.flags & RENAME_EXCHANGE) != 0) {
    operation.ChangedAttributes(renaming.replaced.object, meta::kStatAttributes);
    operation.SetEntry(old_parent, renaming.old_name, replaced, moved);
    operation.SetEntry(new_parent, renaming.new_name, moved, replaced);
    return;
  }
  meta::ObjectRef left_behind;
  if ((renaming.flags & RENAME_WHITEOUT) != 0) {
    const Result<IdentifiedObject> whiteout = Identify(renaming.old_parent_fd, renaming.old_name);
    if (whiteout) left_behind = {whiteout->id, whiteout->handle};
  }
  operation.SetEntry(old_parent, renaming.old_name, left_behind.id, moved);
  if (!left_behind.id.is_null()) operation.Born(left_behind);
  operation.SetEntry(new_parent, renaming.new_name, moved, replaced);
}

// ext4 makes the whiteout and removes it again: the directory keeps the new times.
void FileSystem::RecordFailedWhiteout(Operation& operation, const Inode& directory) {
  operation.ChangedAttributes(directory.ref(), meta::kStatAttributes);
  operation.End();
  InvalidateAttributes(inodes_->NodeOf(directory));
}

Status FileSystem::Rename(Request& request, fuse_ino_t old_parent, const char* old_name,
                          fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  const Inode& from = inodes_->Get(old_parent);
  const Inode& to = inodes_->Get(new_parent);
  ASSIGN_OR_RETURN(const InodeFd from_fd, inodes_->Descriptor(from));
  ASSIGN_OR_RETURN(const InodeFd to_fd, inodes_->Descriptor(to));
  Renaming renaming{from, from_fd.get(), old_name, to, to_fd.get(), new_name, flags};
  RETURN_IF_ERROR(FindRenamed(renaming));
  Intent intent;
  intent.Entries(from.ref());
  if (&to != &from) intent.Entries(to.ref());
  if (!renaming.moved.id.is_null()) intent.Attributes(renaming.moved);
  const bool exchanges = (flags & RENAME_EXCHANGE) != 0;
  if (exchanges && !renaming.replaced.object.id.is_null()) {
    intent.Attributes(renaming.replaced.object);
  }
  // Across mounts the backing call fails (EXDEV), so `from` decides whether the rename is captured.
  ASSIGN_OR_RETURN(Operation operation, Begin(from, intent));
  // A rename between two names of one object does nothing.
  const bool changes =
      renaming.moved.id.is_null() || renaming.moved.id != renaming.replaced.object.id;
  if (changes && !exchanges) AnnounceRemoval(operation, renaming.replaced);
  {
    std::optional<CallerCredentials> credentials;  // only a whiteout is created
    if ((flags & RENAME_WHITEOUT) != 0) {
      ASSIGN_OR_RETURN(auto assumed, CallerCredentials::Assume(request.caller()));
      credentials.emplace(std::move(assumed));
    }
    if (renameat2(from_fd.get(), old_name, to_fd.get(), new_name, flags) != 0) {
      auto failed = ErrnoError("rename");
      if ((flags & RENAME_WHITEOUT) != 0) RecordFailedWhiteout(operation, from);
      return failed;
    }
  }
  if (changes) RecordRenamed(operation, renaming);
  operation.End();
  if (!exchanges) listings_.Close(renaming.replaced.guard.generation());
  // The kernel does not know that xfs sets the mtime of a directory that changes its parent.
  const fuse_ino_t moved = &to == &from ? 0 : inodes_->NodeOf(renaming.moved.id);
  if (moved != 0) InvalidateAttributes(moved);
  request.Succeed();
  return {};
}

}  // namespace tandem::fs
