// The filesystem as the kernel asks for it: passes every operation to the directory beneath, and
// tells capture what each one changes. The handlers are spread over fs/ops/*.cc by kind; the table
// that leads to them and the one place that turns exceptions and errors into replies are in
// file_system.cc. What a changing handler does, in which order: fs/LOCKING.md.
//
// libfuse calls the handlers from its threads, at the same time.
#pragma once

#include <linux/fs.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/caller/caller_credentials.h"
#include "fs/held_stores.h"
#include "fs/objects/handle_table.h"
#include "fs/objects/inode_table.h"
#include "fs/objects/open_directory.h"
#include "fs/objects/open_file.h"
#include "fs/objects/walk_order.h"
#include "fs/optimizations.h"
#include "fs/serving/blocking_pool.h"
#include "fs/serving/delayed_calls.h"
#include "fs/serving/fuse_api.h"
#include "fs/serving/request.h"
#include "fs/serving/tuning.h"
#include "fs/serving/slow_request_detector.h"
#include "fs/serving/writeback_log.h"
#include "fs/tuning.h"
#include "meta/base/result.h"
#include "meta/capture.h"

namespace tandem::fs {

class FileSystem {
 public:
  struct Settings {
    // The kernel collects writes in its cache instead of sending each at once.
    bool writeback = false;
    // No access time moves because of what is read through the mount.
    bool noatime = false;
    // Bytes of one read at most; 0 for what the kernel sends.
    unsigned max_read = 0;
    // Requests that may wait long for the disk, at a time.
    unsigned max_blocking = kBlockingPerThread;
    Optimizations optimizations;
  };

  // `source_fd` is used during the call only. `capture` (may be null) is borrowed.
  static Result<std::unique_ptr<FileSystem>> Create(int source_fd, meta::Capture* capture,
                                                    Settings settings);

  // For fuse_session_new, whose user data must be the FileSystem.
  static const fuse_lowlevel_ops& Operations();
  // Before it serves anybody. `session` is borrowed. `take_in` syncs a file through the mount.
  using TakeInFile = std::function<void(const HeldFile& file)>;
  void Attach(fuse_session* session, TakeInFile take_in) {
    session_ = session;
    take_in_ = std::move(take_in);
  }
  // Something was mounted below SOURCE, or unmounted. Any thread.
  void MountsHaveChanged();
  // Answers what waits for other requests, while those are still served. To be called before the
  // session ends.
  void FinishDelayedCalls();
  // Waits for requests that were handed over, and hands none over any more. They use what belongs
  // to the thread that has read them: to be called before that ends.
  void FinishHandedOver() { blocking_pool_.Close(); }
  // Whether any request has come over io_uring.
  bool over_io_uring() const { return over_io_uring_.load(std::memory_order_relaxed); }
  // What the kernel may hold stores of: each file that is open for writing, once. Any thread.
  std::vector<HeldFile> OpenForWriting();
  WritebackLog& writebacks() { return writebacks_; }
  const Settings& settings() const { return settings_; }

 private:
  // Handlers reply themselves when they succeed and return the error otherwise.
  Status Lookup(Request& request, fuse_ino_t parent, const char* name);
  Status ForgetNode(Request& request, fuse_ino_t node, uint64_t lookups);
  Status ForgetNodes(Request& request, size_t count, fuse_forget_data* forgets);

  Status GetAttributes(Request& request, fuse_ino_t node, fuse_file_info* info);
  Status SetAttributes(Request& request, fuse_ino_t node, struct stat* wanted, int to_set,
                       fuse_file_info* info);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
  Status Statx(Request& request, fuse_ino_t node, int flags, int mask, fuse_file_info* info);
#endif
  Status ReadLink(Request& request, fuse_ino_t node);
  Status Statfs(Request& request, fuse_ino_t node);

  Status MakeNode(Request& request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
  Status MakeDirectory(Request& request, fuse_ino_t parent, const char* name, mode_t mode);
  Status MakeSymlink(Request& request, const char* target, fuse_ino_t parent, const char* name);
  Status Link(Request& request, fuse_ino_t node, fuse_ino_t new_parent, const char* new_name);
  Status Unlink(Request& request, fuse_ino_t parent, const char* name);
  Status RemoveDirectory(Request& request, fuse_ino_t parent, const char* name);
  Status Rename(Request& request, fuse_ino_t old_parent, const char* old_name,
                fuse_ino_t new_parent, const char* new_name, unsigned flags);

  Status CreateFile(Request& request, fuse_ino_t parent, const char* name, mode_t mode,
                    fuse_file_info* info);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  Status CreateTemporary(Request& request, fuse_ino_t parent, mode_t mode, fuse_file_info* info);
#endif
  Status Open(Request& request, fuse_ino_t node, fuse_file_info* info);
  Status Flush(Request& request, fuse_ino_t node, fuse_file_info* info);
  Status Release(Request& request, fuse_ino_t node, fuse_file_info* info);
  Status Sync(Request& request, fuse_ino_t node, int data_only, fuse_file_info* info);

  Status Read(Request& request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info);
  Status Write(Request& request, fuse_ino_t node, fuse_bufvec* data, off_t offset,
               fuse_file_info* info);
  Status Allocate(Request& request, fuse_ino_t node, int mode, off_t offset, off_t length,
                  fuse_file_info* info);
  Status CopyRange(Request& request, fuse_ino_t from, off_t from_offset, fuse_file_info* from_info,
                   fuse_ino_t to, off_t to_offset, fuse_file_info* to_info, size_t length,
                   int flags);
  Status Seek(Request& request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* info);

  Status OpenDir(Request& request, fuse_ino_t node, fuse_file_info* info);
  Status ReadDir(Request& request, fuse_ino_t node, size_t size, off_t offset,
                 fuse_file_info* info);
  Status ReadDirPlus(Request& request, fuse_ino_t node, size_t size, off_t offset,
                     fuse_file_info* info);
  Status ReleaseDir(Request& request, fuse_ino_t node, fuse_file_info* info);
  Status SyncDir(Request& request, fuse_ino_t node, int data_only, fuse_file_info* info);

  Status SetXattr(Request& request, fuse_ino_t node, const char* name, const char* value,
                  size_t size, int flags);
  Status GetXattr(Request& request, fuse_ino_t node, const char* name, size_t size);
  Status ListXattrs(Request& request, fuse_ino_t node, size_t size);
  Status RemoveXattr(Request& request, fuse_ino_t node, const char* name);

  Status Control(Request& request, fuse_ino_t node, unsigned number, void* argument,
                 fuse_file_info* info, unsigned flags, const void* in, size_t in_size,
                 size_t out_size);
  using ControlValue = std::array<char, sizeof(fsxattr)>;
  Status ChangeFlags(Request& request, fuse_ino_t node, unsigned number, int fd,
                     ControlValue value);
  // The same once the kernel has sent what it holds of the file.
  void ChangeFlagsLater(Request& request, fuse_ino_t node, unsigned number, int fd,
                        const ControlValue& value);

  // ---- What handlers share --------------------------------------------------------------------

  // What of the backing filesystem we behave by.
  struct Backing {
    bool has_acls = false;
    // close(2) gives no errors of its own there.
    bool close_cannot_fail = false;
  };

  FileSystem(std::unique_ptr<InodeTable> inodes, meta::Capture* capture, Settings settings,
             Backing backing)
      : inodes_(std::move(inodes)),
        capture_(capture),
        settings_(settings),
        backing_(backing),
        blocking_pool_(settings.max_blocking) {}

  template <auto kHandler, uint32_t kOpcode = 0>
  struct Trampoline;
  void NoteTransport(const Request& request);
  // Whether a request that failed may do better now, because what was removed has gone meanwhile;
  // not beyond kFreedSpaceTimeout after `failed`, when it did so first.
  using TimePoint = std::chrono::steady_clock::time_point;
  bool MakesRoomAfter(const Error& error, std::optional<TimePoint>& failed);
  static void Initialise(void* user_data, fuse_conn_info* connection);

  // Whether changes of the object, or of names in it, are captured.
  bool Captures(const Inode& inode) const { return capture_ != nullptr && inode.in_volume(); }
  // Tells capture what a name in a directory that it captures leads to.
  void Saw(const Inode& directory, const char* name, const FoundObject& found);
  // What an application has opened is read through `fd`: that moves no access time if the mount is
  // to be so. Objects of other owners are left out where we are not root.
  void HeedNoatime(int fd) const;
  // For an application that opens with `flags`.
  Result<std::unique_ptr<OpenFile>> OpenBacking(const Inode& inode, int flags);
  // A descriptor that may write anywhere in a file that others can only append to. Invalid: nobody
  // has one.
  UniqueFd FindUnboundWriter(const Inode& inode);
  // Enters capture if the object concerned is captured; all objects of an intent are, or none.
  Result<meta::Operation> Begin(const Inode& inode, const meta::Intent& intent);

  // Whether a change of the object's content takes anything from its mode and attributes. `fd` may
  // be O_PATH.
  static bool LosesPrivileges(const Inode& inode, int fd);
  // Begin for a change of `range` of the content, which may take long (Intent::Long). `loses`:
  // whether it may take anything else, which is then marked too.
  struct ContentChange {
    meta::Operation operation;
    bool loses = false;
  };
  Result<ContentChange> BeginContentChange(const Inode& inode, int fd, ByteRange range,
                                           bool is_long = false);
  struct ContentCall {
    const Inode& inode;
    int fd;
    ByteRange range;
    bool is_long = false;
    bool may_straddle = true;  // any part of it may be in a cut (Operation::Alter)
  };
  // Runs `call`, which changes the content, with all that belongs to it (fs/ops/data.cc); returns
  // what it returns. `takes_setid()`: whether the caller's change takes setuid and setgid bits;
  // asked only where there may be some. `changed(result)`: the range to record.
  template <typename TakesSetid, typename Call, typename Changed>
  auto ChangeContent(Request& request, const ContentCall& what, TakesSetid takes_setid, Call call,
                     Changed changed) -> Result<decltype(call())>;
  // Returns how much was written.
  Result<size_t> WriteOnce(Request& request, const Inode& inode, int fd, fuse_bufvec& data,
                           off_t offset, const fuse_file_info& info);
  // The kernel goes on showing, and obeying, the mode it knows when a write takes bits from it.
  // Outside the gate, before the reply.
  void MakeKernelForgetAttributes(fuse_ino_t node);

  // After the backing call that made `name`: finds the new object and records it. If it cannot be
  // found the call is undone with unlinkat(removal_flags).
  Result<FoundObject> RecordCreated(meta::Operation& operation, const Inode& parent, int parent_fd,
                                    const char* name, int removal_flags);
  Result<FoundObject> RecordFound(meta::Operation& operation, const Inode& parent, int parent_fd,
                                  const char* name, int removal_flags, Result<FoundObject> found);
  // After a backing call that failed, and may have made `name` all the same.
  void RecordLeftBehind(meta::Operation& operation, fuse_ino_t parent, int parent_fd,
                        const char* name);
  // The counterpart for names removed: the object the name leads to; null where capture does not
  // want to know.
  struct Victim {
    meta::ObjectRef object;
    // Kept until the gate is left: the blocks are freed when it is closed.
    InodeTable::RemovalGuard guard;
  };
  Result<Victim> FindVictim(const Inode& parent, int parent_fd, const char* name) const;
  static void AnnounceRemoval(meta::Operation& operation, const Victim& victim);
  Status RemoveEntry(Request& request, fuse_ino_t parent, const char* name, int flags);

  struct Renaming;
  Status FindRenamed(Renaming& renaming) const;
  static void RecordRenamed(meta::Operation& operation, const Renaming& renaming);
  void RecordFailedWhiteout(meta::Operation& operation, const Inode& directory);

  // The entry that tells the kernel of the object, counting a lookup.
  fuse_entry_param EntryOf(FoundObject found, Inode** inode);
  // Counts a name that the kernel is told of by itself, not in a listing.
  void CountKnownName(const Inode& directory) const;
  // `directory` is where it was found.
  Status ReplyEntry(Request& request, const Inode& directory, FoundObject found);
  Status ReplyCreated(Request& request, FoundObject found, std::unique_ptr<OpenFile> file,
                      fuse_file_info& info);

  static Status Resize(meta::Operation& operation, const Inode& inode, int fd, int open_fd,
                       off_t size);

  // The name of an open file below the root, for HeldFile.
  std::string NameOf(int fd) const;

  const std::unique_ptr<InodeTable> inodes_;
  HandleTable<OpenFile> files_;
  HandleTable<OpenDirectory> directories_;
  DelayedCalls delayed_calls_;
  meta::Capture* const capture_;
  WalkOrder walk_order_;  // of what is captured
  WritebackLog writebacks_;
  const Settings settings_;
  const Backing backing_;
  fuse_session* session_ = nullptr;
  TakeInFile take_in_;
  // How long a name that leads to a directory stays valid; set when the session begins.
  double directory_seconds_ = kUntoldCacheSeconds;
  std::atomic<bool> over_io_uring_{false};
  SlowRequestDetector slow_requests_;
  BlockingPool blocking_pool_;  // last: its threads use all the rest
};

}  // namespace tandem::fs
