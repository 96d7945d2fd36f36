// opendir, readdir, readdirplus, releasedir, fsyncdir.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "fs/file_system.h"
#include "meta/source/directory_names.h"

namespace tandem::fs {
namespace {

// The buffer of one reply. Add returns false if the entry does not fit.
class ListingReply {
 public:
  ListingReply(const Request& request, size_t size)
      : request_(request), buffer_(std::make_unique_for_overwrite<char[]>(size)), size_(size) {}

  bool Add(const dirent64& entry, ino_t number) {
    struct stat attributes = {};
    attributes.st_ino = number;
    attributes.st_mode = DTTOIF(static_cast<mode_t>(entry.d_type));
    return Took(fuse_add_direntry(request_.raw(), buffer_.get() + used_, size_ - used_,
                                  entry.d_name, &attributes, entry.d_off));
  }
  bool AddPlus(const dirent64& entry, const fuse_entry_param& parameters) {
    return Took(fuse_add_direntry_plus(request_.raw(), buffer_.get() + used_, size_ - used_,
                                       entry.d_name, &parameters, entry.d_off));
  }
  std::string_view bytes() const { return {buffer_.get(), used_}; }

 private:
  bool Took(size_t length) {
    if (length > size_ - used_) return false;
    used_ += length;
    return true;
  }

  const Request& request_;
  const std::unique_ptr<char[]> buffer_;
  const size_t size_;
  size_t used_ = 0;
};

// An entry without attributes: the kernel looks the name up when it needs them.
fuse_entry_param BareEntry(const dirent64& entry, ino_t number) {
  fuse_entry_param bare = {};
  bare.attr.st_ino = number;
  bare.attr.st_mode = DTTOIF(static_cast<mode_t>(entry.d_type));
  return bare;
}

}  // namespace

// The kernel caches a listing until an entry is made or removed. Where it may, it is told not to
// ask for directories to be opened and released, so that a listing from its cache takes no request.
Status FileSystem::OpenDir(Request& request, fuse_ino_t node, fuse_file_info* info) {
  if (may_skip_opendir_) return ErrnoError(ENOSYS, "open directory");
  ASSIGN_OR_RETURN(UniqueFd fd, inodes_->Open(inodes_->Get(node),
                                              O_RDONLY | O_DIRECTORY | (info->flags & O_NOATIME)));
  ApplyNoatime(fd.get());
  info->keep_cache = 1;
  info->cache_readdir = 1;
  info->fh = directories_.Add(std::make_unique<OpenDirectory>(std::move(fd)));
  if (!request.ReplyOpen(*info)) directories_.Remove(info->fh);
  return {};
}

Status FileSystem::ReleaseDir(Request& request, fuse_ino_t /*node*/, fuse_file_info* info) {
  if (info->fh != 0) directories_.Remove(info->fh);
  request.Succeed();
  return {};
}

Result<FileSystem::Reading> FileSystem::BeginRead(const Inode& inode, off_t offset,
                                                  const fuse_file_info& info) {
  if (info.fh != 0) return Reading{&directories_.Get(info.fh)};
  Reading reading;
  // Offset 0 begins a listing, or is a rewind: either reads the directory anew.
  if (offset != 0) reading.shared = listings_.Find(inode.generation(), offset);
  if (!reading.shared) {
    ASSIGN_OR_RETURN(UniqueFd fd, inodes_->Open(inode, O_RDONLY | O_DIRECTORY));
    ApplyNoatime(fd.get());
    inode.NoteListed();
    auto stream = std::make_unique<OpenDirectory>(std::move(fd));
    reading.shared.emplace(
        listings_.Add(inode.generation(), std::move(stream), /*begins=*/offset == 0));
  }
  reading.stream = &reading.shared->stream();
  return reading;
}

// The request that finds nothing more is the last one. What is not in the volume may be on a
// filesystem that is to be unmounted.
void FileSystem::EndRead(const Inode& inode, off_t offset, Reading& reading) {
  const OpenDirectory& stream = *reading.stream;
  const bool found_nothing = stream.at_end() && stream.position() == offset;
  if (reading.shared && !found_nothing && inode.in_volume()) reading.shared->Keep();
  // The next request may come as soon as this one is answered.
  reading.shared.reset();
}

Status FileSystem::ReadDir(Request& request, fuse_ino_t node, size_t size, off_t offset,
                           fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(Reading reading, BeginRead(inode, offset, *info));
  ListingReply reply(request, size);
  RETURN_IF_ERROR(reading.stream->Visit(offset, [&](const dirent64& entry) {
    return reply.Add(entry, inode.PublicNumber(entry.d_ino));
  }));
  EndRead(inode, offset, reading);
  (void)request.ReplyBytes(reply.bytes());
  return {};
}

Status FileSystem::ReadDirPlus(Request& request, fuse_ino_t node, size_t size, off_t offset,
                               fuse_file_info* info) {
  const Inode& inode = inodes_->Get(node);
  ASSIGN_OR_RETURN(Reading reading, BeginRead(inode, offset, *info));
  OpenDirectory& directory = *reading.stream;
  ListingReply reply(request, size);
  std::vector<Inode*> announced;
  std::vector<WalkOrder::Listed> listed;
  if (offset == 0) directory.known_names().MoveFrom(inode.known_names());
  const auto add = [&](const dirent64& entry) {
    if (!meta::IsDotOrDotDot(entry.d_name) && !directory.known_names().Consume()) {
      Result<FoundObject> found = inodes_->Find(directory.fd(), entry.d_name);
      if (found) {
        if (IsCaptured(inode)) ReportName(inode, entry.d_name, *found);
        Inode* child = nullptr;
        const fuse_entry_param parameters = EntryOf(std::move(*found), &child);
        announced.push_back(child);
        if (reply.AddPlus(entry, parameters)) {
          if (IsCaptured(*child)) {
            listed.push_back({&child->ref(), S_ISDIR(parameters.attr.st_mode)});
          }
          return true;
        }
        announced.pop_back();
        inodes_->Forget(*child, 1);
        return false;
      }
    }
    return reply.AddPlus(entry, BareEntry(entry, inode.PublicNumber(entry.d_ino)));
  };
  RETURN_IF_ERROR(directory.Visit(offset, add));
  EndRead(inode, offset, reading);
  if (settings_.optimizations.walk_order) walk_order_.Add(listed);
  if (!request.ReplyBytes(reply.bytes())) {
    for (Inode* child : announced) inodes_->Forget(*child, 1);
  }
  return {};
}

Status FileSystem::SyncDir(Request& request, fuse_ino_t node, int data_only,
                           fuse_file_info* /*info*/) {
  ASSIGN_OR_RETURN(const UniqueFd fd, inodes_->Open(inodes_->Get(node), O_RDONLY | O_DIRECTORY));
  NoteSync();
  if ((data_only != 0 ? fdatasync(fd.get()) : fsync(fd.get())) != 0) {
    return ErrnoError("fsync directory");
  }
  request.Succeed();
  return {};
}

}  // namespace tandem::fs
