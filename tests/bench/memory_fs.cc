// memory_fs [--io-uring] MOUNTPOINT: a FUSE filesystem with nothing beneath it. Names, attributes
// and content stand in memory, and one thread (or, with --io-uring, those of
// fs/serving/ring_threads.h, one at a time) answers from there: what is left is the way of each
// request through the kernel to a process and back. Nothing in user space that answers the same
// requests is faster, so it shows the floor under tandemfs. It agrees with the kernel on the same
// things (fs/capabilities.cc). No links, no permissions beyond the kernel's, and no errors but the
// obvious.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "fs/serving/fuse_api.h"
#include "fs/serving/transport.h"
#include "fs/serving/wake_signal.h"

namespace {

constexpr double kCacheSeconds = 3600.0;
constexpr unsigned kMaxWrite = 1 << 20;

// As the kernel knows it: a node's number is its address, but the root's.
struct Node {
  struct stat attributes = {};
  std::map<std::string, Node*, std::less<>> entries;
  std::string content;  // of a symbolic link: its target
  uint64_t lookups = 0;
};

Node& Root() {
  static Node root;
  return root;
}

Node& At(fuse_ino_t number) {
  return number == FUSE_ROOT_ID ? Root() : *reinterpret_cast<Node*>(number);
}

fuse_ino_t NumberOf(const Node& node) {
  return &node == &Root() ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(&node);
}

timespec Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

void Touch(Node& node) { node.attributes.st_mtim = node.attributes.st_ctim = Now(); }

void DeleteIfUnused(Node* node) {
  if (node->attributes.st_nlink == 0 && node->lookups == 0) delete node;
}

Node* Find(Node& directory, const char* name) {
  const auto found = directory.entries.find(name);
  return found == directory.entries.end() ? nullptr : found->second;
}

fuse_entry_param EntryOf(Node& node) {
  fuse_entry_param entry = {};
  entry.ino = NumberOf(node);
  entry.attr = node.attributes;
  entry.attr_timeout = entry.entry_timeout = kCacheSeconds;
  ++node.lookups;
  return entry;
}

Node& Make(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  auto* const node = new Node;
  node->attributes.st_ino = reinterpret_cast<ino_t>(node);
  node->attributes.st_mode = mode & ~fuse_req_ctx(request)->umask;
  node->attributes.st_nlink = S_ISDIR(mode) ? 2 : 1;
  node->attributes.st_uid = fuse_req_ctx(request)->uid;
  node->attributes.st_gid = fuse_req_ctx(request)->gid;
  node->attributes.st_blksize = 4096;
  node->attributes.st_atim = Now();
  Touch(*node);
  At(parent).entries.emplace(name, node);
  Touch(At(parent));
  return *node;
}

void Resize(Node& node, uint64_t size) {
  node.content.resize(size);
  node.attributes.st_size = static_cast<off_t>(size);
  node.attributes.st_blocks = static_cast<blkcnt_t>((size + 511) / 512);
}

void RemoveName(Node& directory, const char* name) {
  const auto found = directory.entries.find(name);
  if (found == directory.entries.end()) return;
  Node* const node = found->second;
  directory.entries.erase(found);
  Touch(directory);
  node->attributes.st_nlink -= S_ISDIR(node->attributes.st_mode) ? 2 : 1;
  DeleteIfUnused(node);
}

// ---- Requests ----------------------------------------------------------------------------------

void Initialise(void* /*data*/, fuse_conn_info* connection) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  const auto set = [connection](uint64_t capability) {
    fuse_set_feature_flag(connection, capability);
  };
  const auto unset = [connection](uint64_t capability) {
    fuse_unset_feature_flag(connection, capability);
  };
#else
  const auto set = [connection](unsigned capability) {
    connection->want |= capability & connection->capable;
  };
  const auto unset = [connection](unsigned capability) { connection->want &= ~capability; };
#endif
  set(FUSE_CAP_DONT_MASK);
  set(FUSE_CAP_PARALLEL_DIROPS);
  set(FUSE_CAP_READDIRPLUS);
  set(FUSE_CAP_READDIRPLUS_AUTO);
  set(FUSE_CAP_EXPLICIT_INVAL_DATA);
  set(FUSE_CAP_CACHE_SYMLINKS);
#if defined(TANDEM_HAVE_FUSE_KILL_SUIDGID)
  set(FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
  unset(FUSE_CAP_ATOMIC_O_TRUNC);
  unset(FUSE_CAP_AUTO_INVAL_DATA);
  unset(FUSE_CAP_SPLICE_READ);
  connection->max_write = kMaxWrite;
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry = {};
  entry.entry_timeout = kCacheSeconds;
  if (Node* const node = Find(At(parent), name)) entry = EntryOf(*node);
  fuse_reply_entry(request, &entry);
}

void Forget(fuse_ino_t number, uint64_t lookups) {
  Node& node = At(number);
  node.lookups -= std::min(lookups, node.lookups);
  if (&node != &Root()) DeleteIfUnused(&node);
}

void ForgetOne(fuse_req_t request, fuse_ino_t number, uint64_t lookups) {
  Forget(number, lookups);
  fuse_reply_none(request);
}

void ForgetMany(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) Forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

void GetAttributes(fuse_req_t request, fuse_ino_t number, fuse_file_info* /*info*/) {
  fuse_reply_attr(request, &At(number).attributes, kCacheSeconds);
}

void SetAttributes(fuse_req_t request, fuse_ino_t number, struct stat* wanted, int which,
                   fuse_file_info* /*info*/) {
  Node& node = At(number);
  struct stat& have = node.attributes;
  have.st_ctim = Now();
  if ((which & FUSE_SET_ATTR_MODE) != 0) have.st_mode = wanted->st_mode;
  if ((which & FUSE_SET_ATTR_UID) != 0) have.st_uid = wanted->st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) have.st_gid = wanted->st_gid;
  if ((which & FUSE_SET_ATTR_ATIME) != 0) have.st_atim = wanted->st_atim;
  if ((which & FUSE_SET_ATTR_MTIME) != 0) have.st_mtim = wanted->st_mtim;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    Resize(node, static_cast<uint64_t>(wanted->st_size));
    Touch(node);
  }
  fuse_reply_attr(request, &have, kCacheSeconds);
}

void MakeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  const fuse_entry_param entry = EntryOf(Make(request, parent, name, S_IFDIR | mode));
  fuse_reply_entry(request, &entry);
}

void MakeSymlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  Node& node = Make(request, parent, name, S_IFLNK | 0777);
  Resize(node, std::strlen(target));
  node.content = target;
  const fuse_entry_param entry = EntryOf(node);
  fuse_reply_entry(request, &entry);
}

void ReadLink(fuse_req_t request, fuse_ino_t number) {
  fuse_reply_readlink(request, At(number).content.c_str());
}

void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
  const fuse_entry_param entry = EntryOf(Make(request, parent, name, S_IFREG | mode));
  info->noflush = 1;
  fuse_reply_create(request, &entry, info);
}

void Open(fuse_req_t request, fuse_ino_t /*number*/, fuse_file_info* info) {
  info->keep_cache = info->noflush = 1;
  fuse_reply_open(request, info);
}

void Remove(fuse_req_t request, fuse_ino_t parent, const char* name) {
  RemoveName(At(parent), name);
  fuse_reply_err(request, 0);
}

void RemoveDirectory(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const Node* const node = Find(At(parent), name);
  if (node != nullptr && !node->entries.empty()) {
    fuse_reply_err(request, ENOTEMPTY);
    return;
  }
  Remove(request, parent, name);
}

void Rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Node* const node = Find(At(parent), name);
  if (node == nullptr || flags != 0) {
    fuse_reply_err(request, node == nullptr ? ENOENT : EINVAL);
    return;
  }
  RemoveName(At(new_parent), new_name);
  At(parent).entries.erase(name);
  At(new_parent).entries.emplace(new_name, node);
  Touch(At(parent));
  Touch(At(new_parent));
  fuse_reply_err(request, 0);
}

void Read(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
          fuse_file_info* /*info*/) {
  const std::string& content = At(number).content;
  const size_t start = std::min(content.size(), static_cast<size_t>(offset));
  fuse_reply_buf(request, content.data() + start, std::min(size, content.size() - start));
}

void Write(fuse_req_t request, fuse_ino_t number, const char* data, size_t size, off_t offset,
           fuse_file_info* /*info*/) {
  Node& node = At(number);
  const size_t end = static_cast<size_t>(offset) + size;
  if (end > node.content.size()) Resize(node, end);
  std::memcpy(node.content.data() + offset, data, size);
  Touch(node);
  fuse_reply_write(request, size);
}

void Succeed(fuse_req_t request, fuse_ino_t /*number*/, fuse_file_info* /*info*/) {
  fuse_reply_err(request, 0);
}

void Sync(fuse_req_t request, fuse_ino_t /*number*/, int /*data_only*/, fuse_file_info* /*info*/) {
  fuse_reply_err(request, 0);
}

void OpenDirectory(fuse_req_t request, fuse_ino_t /*number*/, fuse_file_info* info) {
  info->cache_readdir = info->keep_cache = 1;
  fuse_reply_open(request, info);
}

// An entry's offset is its place among the names: good enough for who lists, then removes.
template <typename Add>
void List(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, const Add& add) {
  std::string buffer(size, '\0');
  size_t filled = 0;
  off_t place = 0;
  for (const auto& [name, node] : At(number).entries) {
    if (place++ < offset) continue;
    const size_t needed = add(buffer.data() + filled, size - filled, name.c_str(), *node, place);
    if (needed > size - filled) break;
    filled += needed;
  }
  fuse_reply_buf(request, buffer.data(), filled);
}

void ReadDirectory(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
                   fuse_file_info* /*info*/) {
  List(request, number, size, offset,
       [request](char* to, size_t room, const char* name, const Node& node, off_t place) {
         return fuse_add_direntry(request, to, room, name, &node.attributes, place);
       });
}

void ReadDirectoryPlus(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
                       fuse_file_info* /*info*/) {
  List(request, number, size, offset,
       [request](char* to, size_t room, const char* name, Node& node, off_t place) {
         const fuse_entry_param entry = EntryOf(node);
         const size_t needed = fuse_add_direntry_plus(request, to, room, name, &entry, place);
         if (needed > room) --node.lookups;
         return needed;
       });
}

void GetXattr(fuse_req_t request, fuse_ino_t /*number*/, const char* /*name*/, size_t /*size*/) {
  fuse_reply_err(request, ENODATA);
}

void ListXattrs(fuse_req_t request, fuse_ino_t /*number*/, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, 0);
  } else {
    fuse_reply_buf(request, nullptr, 0);
  }
}

void Statfs(fuse_req_t request, fuse_ino_t /*number*/) {
  struct statvfs answer = {};
  answer.f_bsize = answer.f_frsize = 4096;
  answer.f_blocks = answer.f_bfree = answer.f_bavail = 1 << 24;
  answer.f_namemax = 255;
  fuse_reply_statfs(request, &answer);
}

// Over io_uring each processor has threads of its own.
std::mutex one_at_a_time;
template <auto kFunction>
struct Locked;
template <typename... Arguments, void (*kFunction)(Arguments...)>
struct Locked<kFunction> {
  static void Call(Arguments... arguments) {
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    kFunction(arguments...);
  }
};

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops table = {};
  table.init = &Initialise;
  table.lookup = &Locked<&Lookup>::Call;
  table.forget = &Locked<&ForgetOne>::Call;
  table.forget_multi = &Locked<&ForgetMany>::Call;
  table.getattr = &Locked<&GetAttributes>::Call;
  table.setattr = &Locked<&SetAttributes>::Call;
  table.readlink = &Locked<&ReadLink>::Call;
  table.mkdir = &Locked<&MakeDirectory>::Call;
  table.symlink = &Locked<&MakeSymlink>::Call;
  table.unlink = &Locked<&Remove>::Call;
  table.rmdir = &Locked<&RemoveDirectory>::Call;
  table.rename = &Locked<&Rename>::Call;
  table.create = &Locked<&Create>::Call;
  table.open = &Locked<&Open>::Call;
  table.read = &Locked<&Read>::Call;
  table.write = &Locked<&Write>::Call;
  table.release = &Locked<&Succeed>::Call;
  table.fsync = &Locked<&Sync>::Call;
  table.opendir = &Locked<&OpenDirectory>::Call;
  table.readdir = &Locked<&ReadDirectory>::Call;
  table.readdirplus = &Locked<&ReadDirectoryPlus>::Call;
  table.releasedir = &Locked<&Succeed>::Call;
  table.getxattr = &Locked<&GetXattr>::Call;
  table.listxattr = &Locked<&ListXattrs>::Call;
  table.statfs = &Locked<&Statfs>::Call;
  return table;
}

tandem::fs::Transport transport;
tandem::fs::Transport& TransportOf(void* /*data*/) { return transport; }

}  // namespace

int main(int argc, char** argv) {
  const bool io_uring = argc == 3 && std::string(argv[1]) == "--io-uring";
  const char* const mountpoint = argv[argc - 1];
  if (argc != (io_uring ? 3 : 2)) {
    std::fprintf(stderr, "usage: memory_fs [--io-uring] MOUNTPOINT\n");
    return EXIT_FAILURE;
  }
  Root().attributes.st_ino = FUSE_ROOT_ID;
  Root().attributes.st_mode = S_IFDIR | 0777;
  Root().attributes.st_nlink = 2;
  Touch(Root());
  const char* options[] = {argv[0], "-o", "allow_other,default_permissions,fsname=memory_fs"};
  fuse_args arguments = FUSE_ARGS_INIT(3, const_cast<char**>(options));
  const fuse_lowlevel_ops operations = Operations();
  fuse_session* const session =
      fuse_session_new(&arguments, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_set_signal_handlers(session) != 0 ||
      fuse_session_mount(session, mountpoint) != 0) {
    return EXIT_FAILURE;
  }
  tandem::fs::InstallWakeSignal();
  if (io_uring && !transport.Attach<TransportOf>(session)) return EXIT_FAILURE;
  const int result = fuse_session_loop(session);
  transport.Stop();
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
