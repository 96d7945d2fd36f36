// The FUSE low-level operations: passes each one to the directory beneath and reports to capture
// what it changes. The handlers stand in fs/ops/*.cc by kind. file_system.cc has the table of
// operations and the one place that turns exceptions and errors into replies. The order of steps in
// a changing handler: fs/LOCKING.md.
//
// libfuse calls the handlers from several threads at once.
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
#include "fs/describe_object.h"
#include "fs/objects/handle_table.h"
#include "fs/objects/inode_table.h"
#include "fs/objects/listings.h"
#include "fs/objects/open_file.h"
#include "fs/objects/walk_order.h"
#include "fs/optimizations.h"
#include "fs/serving/delayed_calls.h"
#include "fs/serving/fuse_api.h"
#include "fs/serving/request.h"
#include "fs/serving/transport.h"
#include "fs/serving/writeback_log.h"
#include "fs/tuning.h"
#include "fs/writable_files.h"
#include "meta/base/result.h"
#include "meta/capture/capture.h"

namespace tandem::fs {

class FileSystem {
 public:
  struct Settings {
    // The kernel caches writes instead of sending each at once.
    bool writeback = false;
    // Reads through the mount update no access times.
    bool noatime = false;
    // Bytes of one read request at most; 0: no limit but the kernel's.
    unsigned max_read = 0;
    Optimizations optimizations;
    DescribeObject describe = nullptr;  // may be empty
  };

  // `source_fd` is used during the call only. `capture` is borrowed; null: nothing is captured.
  static Result<std::unique_ptr<FileSystem>> Create(int source_fd, meta::Capture* capture,
                                                    Settings settings);

  // For fuse_session_new, whose user data must be the FileSystem.
  static const fuse_lowlevel_ops& Operations();
  // Called before the session serves. `session` is borrowed. `flush` flushes a file through the
  // mount (fs/writable_files.h).
  using FlushFile = std::function<void(const WritableFile& file)>;
  void Attach(fuse_session* session, FlushFile flush) {
    session_ = session;
    flush_file_ = std::move(flush);
  }
  // Called after something was mounted below SOURCE, or unmounted. Any thread.
  void OnMountsChanged();
  // Waits until the delayed calls have answered their requests. Called before the session ends,
  // since they need other requests to be served.
  void FinishDelayedCalls();
  // How the session's requests come, if Attach was called with it.
  Transport& transport() { return transport_; }
  const Transport& transport() const { return transport_; }
  // Returns each file that is open for writing, once. Any thread.
  std::vector<WritableFile> ListWritableFiles();
  WritebackLog& writebacks() { return writebacks_; }
  const Settings& settings() const { return settings_; }

 private:
  // A handler that succeeds has replied. Otherwise it returns the error.
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
  // The same, after the kernel has written back what it caches of the file.
  void ChangeFlagsLater(Request& request, fuse_ino_t node, unsigned number, int fd,
                        const ControlValue& value);

  // ---- What handlers share --------------------------------------------------------------------

  // Properties of the backing filesystem.
  struct Backing {
    bool has_acls = false;
    // close(2) reports no errors of earlier writes.
    bool close_cannot_fail = false;
    // Any descriptor of a directory may go on where another has got to.
    bool has_stable_offsets = false;
  };

  FileSystem(std::unique_ptr<InodeTable> inodes, meta::Capture* capture, Settings settings,
             Backing backing)
      : inodes_(std::move(inodes)),
        capture_(capture),
        settings_(std::move(settings)),
        backing_(backing) {}

  template <auto kHandler>
  struct Trampoline;
  // If `error` means that there is no room, waits for removed objects to be freed. Returns whether
  // it is worth trying the request again. Sets `failed` at the first failure, and gives up
  // kFreedSpaceTimeout later.
  using TimePoint = std::chrono::steady_clock::time_point;
  bool WaitForFreedSpace(const Error& error, std::optional<TimePoint>& failed);
  static void Initialise(void* user_data, fuse_conn_info* connection);

  // Returns whether changes of the object, or of entries in it, are captured.
  bool IsCaptured(const Inode& inode) const { return capture_ != nullptr && inode.in_volume(); }
  // Tells capture that a program is about to wait for the disk.
  void NoteSync() {
    if (capture_ != nullptr) capture_->NoteSync();
  }
  // What a file opened with O_SYNC or O_DSYNC asks for after a write.
  Status SyncIfAsked(const OpenFile& file) {
    if (file.syncs()) NoteSync();
    return file.SyncIfAsked();
  }
  // Tells capture which object an entry of a captured directory leads to.
  void ReportName(const Inode& directory, const char* name, const FoundObject& found);
  // With -o noatime, makes reads through `fd` update no access time. Has no effect on objects of
  // other owners if we are not root.
  void ApplyNoatime(int fd) const;
  // Opens the backing file for an application that opens it with `flags`.
  Result<std::unique_ptr<OpenFile>> OpenBacking(const Inode& inode, int flags);
  // Returns a descriptor, opened before the file became append-only, that may write anywhere in it;
  // invalid if there is none.
  UniqueFd FindNonAppendWriter(const Inode& inode);
  // Begins an operation of capture. Does nothing if `inode` is not captured: then no object of the
  // intent is.
  Result<meta::Operation> Begin(const Inode& inode, const meta::Intent& intent);

  // Returns false if the object has no privileges that a change of its content clears
  // (fs/caller/privileges.h). `fd` may be O_PATH.
  static bool MayHavePrivileges(const Inode& inode, int fd);
  // Begin for a change of the content in `range`. `is_long`: it may take long (Intent::Long). The
  // attributes are marked too if the object has privileges.
  struct ContentChange {
    meta::Operation operation;
    bool has_privileges = false;
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
  // Runs `call`, which changes the content, between Begin and End (fs/ops/data.cc). Returns what it
  // returns. `clears_setid()`: whether the caller's change clears setuid and setgid bits; called
  // only if the file may have some. `changed(result)`: the range to record.
  template <typename ClearsSetid, typename Call, typename Changed>
  auto ChangeContent(Request& request, const ContentCall& what, ClearsSetid clears_setid, Call call,
                     Changed changed) -> Result<decltype(call())>;
  // Returns how many bytes were written.
  Result<size_t> WriteOnce(Request& request, const Inode& inode, int fd, fuse_bufvec& data,
                           off_t offset, const fuse_file_info& info);
  // Makes the kernel drop the attributes that it caches, after a change that it does not know of:
  // otherwise it goes on showing and enforcing the old mode. Called outside the gate, before the
  // reply.
  void InvalidateAttributes(fuse_ino_t node);

  // Called after the backing call that made `name`. Finds the new object and records it. If that
  // fails, removes it again with unlinkat(removal_flags).
  Result<FoundObject> RecordCreated(meta::Operation& operation, const Inode& parent, int parent_fd,
                                    const char* name, int removal_flags);
  Result<FoundObject> RecordFound(meta::Operation& operation, const Inode& parent, int parent_fd,
                                  const char* name, int removal_flags, Result<FoundObject> found);
  // Called after a backing call that failed and may have made `name` nevertheless.
  void RecordLeftBehind(meta::Operation& operation, fuse_ino_t parent, int parent_fd,
                        const char* name);
  // An object that is about to lose a name. `object` is null if it is not captured.
  struct Victim {
    meta::ObjectRef object;
    // Destroyed after the gate is left: closing the descriptor may free blocks.
    InodeTable::RemovalGuard guard;
  };
  Result<Victim> FindVictim(const Inode& parent, int parent_fd, const char* name) const;
  static void AnnounceRemoval(meta::Operation& operation, const Victim& victim);
  Status RemoveEntry(Request& request, fuse_ino_t parent, const char* name, int flags);

  struct Renaming;
  Status FindRenamed(Renaming& renaming) const;
  static void RecordRenamed(meta::Operation& operation, const Renaming& renaming);
  void RecordFailedWhiteout(meta::Operation& operation, const Inode& directory);

  // The kernel has forgotten so many lookups.
  void Forgotten(Inode& inode, uint64_t lookups);
  // Returns the reply that tells the kernel of the object, and counts a lookup.
  fuse_entry_param EntryOf(FoundObject found, Inode** inode);
  // Called when the kernel is told of a name by a lookup or creation, not by a listing.
  void CountKnownName(const Inode& directory) const;
  // `directory` is where the object was found.
  Status ReplyEntry(Request& request, const Inode& directory, FoundObject found);
  Status ReplyCreated(Request& request, FoundObject found, std::unique_ptr<OpenFile> file,
                      fuse_file_info& info);

  static Status Resize(meta::Operation& operation, const Inode& inode, int fd, int open_fd,
                       off_t size);

  // A stream of a directory, for one request.
  struct Reading {
    OpenDirectory* stream = nullptr;
    std::optional<Listings::Use> shared = {};  // where it is from, unless of an open directory
  };
  // Returns one for reading on from `offset`. To be given to EndRead once the reading has
  // succeeded, before the reply.
  Result<Reading> BeginRead(const Inode& inode, off_t offset, const fuse_file_info& info);
  static void EndRead(const Inode& inode, off_t offset, Reading& reading);

  // Returns the path of an open file below the root.
  std::string NameOf(int fd) const;

  const std::unique_ptr<InodeTable> inodes_;
  HandleTable<OpenFile> files_;
  HandleTable<OpenDirectory> directories_;  // where offsets are not stable
  Listings listings_;                       // elsewhere
  DelayedCalls delayed_calls_;
  meta::Capture* const capture_;
  WalkOrder walk_order_;  // of captured objects
  WritebackLog writebacks_;
  const Settings settings_;
  const Backing backing_;
  fuse_session* session_ = nullptr;
  FlushFile flush_file_;
  // How long the kernel may cache names of directories. Set when the session begins.
  double directory_seconds_ = kUntoldCacheSeconds;
  bool may_skip_opendir_ = false;  // the kernel takes ENOSYS for "never ask again"
  Transport transport_;            // last: its threads use all other members
};

}  // namespace tandem::fs
