#include "replica/apply/staged_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "meta/base/fault_point.h"
#include "replica/apply/content_digests.h"
#include "replica/apply/file_data.h"
#include "replica/apply/removal.h"
#include "replica/apply/spare_file.h"
#include "replica/apply/tree.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

constexpr uint64_t kBlockBytes = 4096;

std::string NameOf(ObjectId object) { return object.ToHex(); }

ByteRange RangeOf(const DataRecord& record) { return ByteRange::Of(record.offset, record.length); }

}  // namespace

// ---- Writing -----------------------------------------------------------------------------------

Result<bool> StagedFiles::Take(std::vector<Record>& records, uint64_t sequence) {
  bool some = false;
  for (Record& record : records) {
    if (auto* data = std::get_if<DataRecord>(&record)) {
      ASSIGN_OR_RETURN(const bool taken, TakeOne(*data, sequence));
      some |= taken;
    } else if (const auto* object = std::get_if<ObjectRecord>(&record)) {
      RETURN_IF_ERROR(Shrink(*object, sequence));
    }
  }
  return some;
}

Result<bool> StagedFiles::TakeOne(DataRecord& record, uint64_t sequence) {
  ASSIGN_OR_RETURN(const auto place, PlaceFor(record, sequence));
  if (!place) return false;
  UniqueFd fd;
  {
    MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(fd, OpenOwn(directory_fd_.get(), record.object, place->inode, O_RDWR));
  }
  if (record.encoding == Encoding::kHole) {
    RETURN_IF_ERROR(PunchHole(fd.get(), record.offset, record.length));
    record.checksum = ContentDigests::kStagedHole;
  } else {
    const auto write = record.length >= kDirectFrom ? WritePastCache : WriteFully;
    RETURN_IF_ERROR(write(fd.get(), record.bytes, record.offset));
    // The disk begins at once: when the stage is synced, most of it has been written.
    (void)sync_file_range(fd.get(), static_cast<off_t>(record.offset),
                          static_cast<off_t>(record.length), SYNC_FILE_RANGE_WRITE);
    record.bytes = ContentDigests::StagedDigests(record.offset, record.bytes);
    record.checksum = 0;
  }
  record.encoding = Encoding::kStaged;
  record.basis = place->inode.digest;
  record.fresh = place->fresh;
  FAULT_POINT("replica.stage.file_written");
  return true;
}

// Bytes that were once beyond the end must not come back when the object grows again.
Status StagedFiles::Shrink(const ObjectRecord& record, uint64_t sequence) {
  MutexLock lock(mutex_);
  const auto file = files_.find(record.object);
  if (file == files_.end() || !file->second.fresh || sequence < file->second.since) return {};
  ASSIGN_OR_RETURN(const UniqueFd fd,
                   OpenOwn(directory_fd_.get(), record.object, file->second.inode, O_RDWR));
  struct stat stat_buffer;
  if (fstat(fd.get(), &stat_buffer) != 0) return ErrnoError("stat a staged file");
  if (static_cast<uint64_t>(stat_buffer.st_size) <= record.attributes.size) return {};
  if (ftruncate(fd.get(), static_cast<off_t>(record.attributes.size)) != 0) {
    return ErrnoError("shrink a staged file");
  }
  return {};
}

// A file that is fresh takes all later content of its object: the file then has the pieces in the
// order in which they were written. An object whose file is not fresh also has records in the
// stage, and a redo copies piece by piece, in the order of the records. So in such a file each
// place is written at most once; further content for that place, in whatever order it comes, stays
// in the stage.
Result<std::optional<StagedFiles::Place>> StagedFiles::PlaceFor(const DataRecord& record,
                                                                uint64_t sequence) {
  MutexLock lock(mutex_);
  auto file = files_.find(record.object);
  const bool begun_fresh =
      file != files_.end() && file->second.fresh && sequence >= file->second.since;
  if (!record.fresh && !begun_fresh) {
    const bool clonable = record.encoding == Encoding::kLiteral && record.length >= kCloneFrom &&
                          record.offset % kBlockBytes == 0;
    if (!clonable || !SharesBlocks()) return std::nullopt;
    const bool taken = file != files_.end() &&
                       (file->second.fresh || file->second.pieces.Intersects(RangeOf(record)));
    if (taken) return std::nullopt;
  }
  if (file == files_.end()) {
    ASSIGN_OR_RETURN(const File made, Create(record.object));
    file = files_.emplace(record.object, made).first;
  }
  if (record.fresh) {
    File& fresh = file->second;
    // Pieces of the older content would otherwise show where the new content has none.
    if (!fresh.fresh && !fresh.pieces.empty()) RETURN_IF_ERROR(Empty(record.object, fresh.inode));
    fresh.since = fresh.fresh ? std::min(fresh.since, sequence) : sequence;
    fresh.fresh = true;
  } else if (!begun_fresh) {
    file->second.pieces.Add(RangeOf(record));
  }
  return Place{file->second.inode, file->second.fresh};
}

Result<UniqueFd> StagedFiles::OpenOwn(int directory_fd, ObjectId object, InodeId inode, int flags) {
  ASSIGN_OR_RETURN(const UniqueFd path_fd, OpenBeneath(directory_fd, NameOf(object), O_PATH));
  ASSIGN_OR_RETURN(const auto found, InodeAt(path_fd.get(), ""));
  if (found != inode) return ErrnoError(ESTALE, "open staged file " + NameOf(object));
  return Reopen(path_fd.get(), flags);
}

Status StagedFiles::Empty(ObjectId object, InodeId inode) {
  ASSIGN_OR_RETURN(const UniqueFd lost, CreateAfresh(directory_fd_.get(), kPiecesLost, 0600));
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenOwn(directory_fd_.get(), object, inode, O_RDWR));
  if (ftruncate(fd.get(), 0) != 0) return ErrnoError("empty a staged file");
  return {};
}

Result<StagedFiles::File> StagedFiles::Create(ObjectId object) {
  if (!directory_fd_.valid()) {
    if (mkdirat(stages_fd_, directory_.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoError("make directory " + directory_);
    }
    ASSIGN_OR_RETURN(directory_fd_, OpenDirectory());
  }
  const std::string name = NameOf(object);
  ASSIGN_OR_RETURN(const UniqueFd fd, CreateAfresh(directory_fd_.get(), name, 0600));
  ASSIGN_OR_RETURN(const auto inode, InodeAt(fd.get(), ""));
  if (!inode) return ErrnoError(ENOENT, "find staged file " + name);
  File file;
  file.inode = *inode;
  return file;
}

bool StagedFiles::SharesBlocks() {
  if (!shares_blocks_) {
    const auto nameless = [this] {
      return UniqueFd(openat(stages_fd_, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    };
    const UniqueFd from = nameless();
    const UniqueFd to = nameless();
    shares_blocks_ = from.valid() && to.valid() && ioctl(to.get(), FICLONE, from.get()) == 0;
  }
  return *shares_blocks_;
}

// XFS preallocates up to as much again for a file that grows, and keeps that for minutes.
Status StagedFiles::GiveBackRoom() {
  for (const auto& [object, file] : files_) {
    ASSIGN_OR_RETURN(const UniqueFd fd, OpenOwn(directory_fd_.get(), object, file.inode, O_RDWR));
    struct stat now;
    if (fstat(fd.get(), &now) != 0) return ErrnoError("stat a staged file");
    const bool has_more = now.st_blocks > (now.st_size + 511) / 512;
    if (has_more && ftruncate(fd.get(), now.st_size) != 0) {
      return ErrnoError("cut off a staged file");
    }
  }
  return {};
}

Status StagedFiles::Sync() {
  MutexLock lock(mutex_);
  if (files_.empty()) return {};
  RETURN_IF_ERROR(GiveBackRoom());
  if (files_.size() > kMaxSyncedAlone) {  // syncs the name of their directory, too
    if (syncfs(stages_fd_) != 0) return ErrnoError("sync staged files");
    return {};
  }
  for (const auto& [object, file] : files_) {
    ASSIGN_OR_RETURN(const UniqueFd fd, OpenOwn(directory_fd_.get(), object, file.inode, O_RDWR));
    if (fdatasync(fd.get()) != 0) return ErrnoError("sync staged file " + NameOf(object));
  }
  ASSIGN_OR_RETURN(const UniqueFd directory, Reopen(directory_fd_.get(), O_RDONLY | O_DIRECTORY));
  if (fsync(directory.get()) != 0) return ErrnoError("sync directory " + directory_);
  if (fsync(stages_fd_) != 0) return ErrnoError("sync the directory of stages");
  return {};
}

// ---- Going on with a stage that was broken off -------------------------------------------------

bool StagedFiles::ResumeAt(uint64_t sequence) {
  MutexLock lock(mutex_);
  for (auto file = files_.begin(); file != files_.end();) {
    const bool is_cut_off = file->second.fresh && file->second.since >= sequence;
    if (is_cut_off && !file->second.pieces.empty()) return false;  // Empty has destroyed them
    // It is made anew when there is content for it.
    file = is_cut_off ? files_.erase(file) : std::next(file);
  }
  return true;
}

void StagedFiles::Note(const DataRecord& record, uint64_t sequence) {
  MutexLock lock(mutex_);
  File& file = files_[record.object];
  file.inode = InodeId{record.basis};
  if (!record.fresh) {
    file.pieces.Add(RangeOf(record));
    return;
  }
  file.since = file.fresh ? std::min(file.since, sequence) : sequence;
  file.fresh = true;
}

Result<bool> StagedFiles::FindAgain() {
  MutexLock lock(mutex_);
  if (files_.empty()) return true;
  auto directory = OpenDirectory();
  if (!directory && MeansAbsent(directory.error())) return false;
  if (!directory) return tl::unexpected<Error>(std::move(directory.error()));
  ASSIGN_OR_RETURN(const auto lost, InodeAt(directory->get(), kPiecesLost));
  if (lost) return false;
  for (const auto& [object, file] : files_) {
    ASSIGN_OR_RETURN(const auto found, InodeAt(directory->get(), NameOf(object).c_str()));
    if (found != file.inode) return false;
  }
  directory_fd_ = std::move(*directory);
  return true;
}

// ---- Using -------------------------------------------------------------------------------------

Result<UniqueFd> StagedFiles::OpenDirectory() const {
  return OpenBeneath(stages_fd_, directory_, O_PATH | O_DIRECTORY);
}

Result<UniqueFd> StagedFiles::Open(ObjectId object, InodeId inode) const {
  auto directory = OpenDirectory();
  if (directory) {
    auto file = OpenOwn(directory->get(), object, inode, O_RDONLY);
    if (file || !MeansAbsent(file.error())) return file;
    return UniqueFd();
  }
  if (MeansAbsent(directory.error())) return UniqueFd();
  return directory;
}

Result<bool> StagedFiles::MoveTo(ObjectId object, int directory_fd, const std::string& name) const {
  auto directory = OpenDirectory();
  if (!directory && MeansAbsent(directory.error())) return false;
  if (!directory) return tl::unexpected<Error>(std::move(directory.error()));
  if (renameat(directory->get(), NameOf(object).c_str(), directory_fd, name.c_str()) == 0) {
    return true;
  }
  if (errno == ENOENT) return false;
  return ErrnoError("move staged file " + NameOf(object) + " to " + name);
}

Status StagedFiles::Remove() {
  auto directory = OpenDirectory();
  if (!directory && MeansAbsent(directory.error())) return {};
  if (!directory) return tl::unexpected<Error>(std::move(directory.error()));
  ASSIGN_OR_RETURN(const auto names, NamesIn(directory->get()));
  for (const std::string& name : names) {
    if (unlinkat(directory->get(), name.c_str(), 0) != 0) return ErrnoError("remove " + name);
  }
  if (unlinkat(stages_fd_, directory_.c_str(), AT_REMOVEDIR) != 0) {
    return ErrnoError("remove directory " + directory_);
  }
  return {};
}

}  // namespace tandem::replica
