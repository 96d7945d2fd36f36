#include "replica/apply/file_maker.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <exception>
#include <system_error>

#include "meta/base/fault_point.h"
#include "meta/base/printable.h"
#include "replica/apply/file_data.h"

namespace tandem::replica {
namespace {

bool HasNoXattrs(FileMaker::Directory& directory, int fd) {
  if (directory.gives_no_xattrs) return true;
  if (flistxattr(fd, nullptr, 0) != 0) return false;
  directory.gives_no_xattrs = true;
  return true;
}

Status Fill(FileMaker::File& file, int fd, Notices& notices) {
  ASSIGN_OR_RETURN(const auto inode, InodeAt(fd, ""));
  if (!inode) return ErrnoError(ENOENT, "find " + Printable(file.name));
  file.inode = *inode;
  FAULT_POINT("replica.redo.object_made");
  if (!file.content.empty()) RETURN_IF_ERROR(WriteFully(fd, file.content, 0));
  FAULT_POINT("replica.redo.data_written");
  const auto now = HasNoXattrs(*file.directory, fd) ? XattrsNow::kNone : XattrsNow::kUnknown;
  ASSIGN_OR_RETURN(file.unset, WriteAttributes(fd, *file.attributes, notices, now));
  FAULT_POINT("replica.redo.attributes_set");
  for (size_t at = 0; at < file.content.size(); at += BlockDigests::kBlock) {
    file.digests.push_back(BlockDigests::Of(file.content.substr(at, BlockDigests::kBlock)));
  }
  return {};
}

// The caller tries again what could not be made, one after the other, and says what went wrong.
void Make(FileMaker::File& file, Notices& notices) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  const int directory_fd = file.directory->fd->get();
  const UniqueFd fd(openat(directory_fd, file.name.c_str(), kFlags, FirstModeOf(*file.attributes)));
  if (!fd.valid()) return;
  try {
    file.made = Fill(file, fd.get(), notices).has_value();
  } catch (const std::exception&) {  // out of memory
    file.made = false;
  }
  if (!file.made) (void)unlinkat(directory_fd, file.name.c_str(), 0);
}

}  // namespace

std::unique_ptr<FileMaker> FileMaker::Start(int threads) {
  std::unique_ptr<FileMaker> maker(new FileMaker);
  try {
    for (int i = 0; i < threads; ++i) {
      maker->threads_.emplace_back(&FileMaker::Run, maker.get());
    }
  } catch (const std::system_error&) {  // there may be a limit
  }
  if (maker->threads_.empty()) return nullptr;
  return maker;
}

FileMaker::~FileMaker() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void FileMaker::Put(std::unique_ptr<Batch> batch) {
  MutexLock lock(mutex_);
  all_.push_back(std::move(batch));
  changed_.NotifyAll();
}

std::unique_ptr<FileMaker::Batch> FileMaker::Take(bool wait) {
  MutexLock lock(mutex_);
  while (wait && !all_.empty() && !all_.front()->done) changed_.Wait(mutex_);
  if (all_.empty() || !all_.front()->done) return nullptr;
  auto batch = std::move(all_.front());
  all_.pop_front();
  --begun_;
  return batch;
}

void FileMaker::Run() {
  while (true) {
    Batch* batch = nullptr;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && begun_ == all_.size()) changed_.Wait(mutex_);
      if (stopping_) return;
      batch = all_[begun_++].get();
    }
    for (File& file : batch->files) Make(file, batch->notices);
    MutexLock lock(mutex_);
    batch->done = true;
    changed_.NotifyAll();
  }
}

}  // namespace tandem::replica
