#include "fs/mount/mount_options.h"

#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <string_view>

namespace tandem::fs {
namespace {

struct Parsed {
  int writeback;
  int noatime;
  unsigned max_threads;
  unsigned max_read;
  char* io_uring;
  int io_uring_on;  // as an older version had it
  int io_uring_off;
};

const fuse_opt kOptions[] = {
    {"writeback", offsetof(Parsed, writeback), 1},
    {"noatime", offsetof(Parsed, noatime), 1},
    FUSE_OPT_KEY("noatime", FUSE_OPT_KEY_KEEP),  // the mount's, too
    {"max_threads=%u", offsetof(Parsed, max_threads), 0},
    {"max_read=%u", offsetof(Parsed, max_read), 0},
    FUSE_OPT_KEY("max_read=", FUSE_OPT_KEY_KEEP),  // the kernel's, too
    {"io_uring=%s", offsetof(Parsed, io_uring), 0},
    {"io_uring", offsetof(Parsed, io_uring_on), 1},
    {"no_io_uring", offsetof(Parsed, io_uring_off), 1},
    FUSE_OPT_KEY("defaults", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("auto", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("noauto", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("nofail", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("_netdev", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("user", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("users", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("nouser", FUSE_OPT_KEY_DISCARD),
    // The backing filesystem keeps access times by its own mount options.
    FUSE_OPT_KEY("atime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("relatime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("norelatime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("strictatime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("nostrictatime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("lazytime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_KEY("nolazytime", FUSE_OPT_KEY_DISCARD),
    FUSE_OPT_END,
};

int ProcessOther(void* /*data*/, const char* argument, int key, fuse_args* /*arguments*/) {
  constexpr int kDrop = 0;
  constexpr int kKeep = 1;
  const bool for_mount = std::string_view(argument).starts_with("x-");
  return key == FUSE_OPT_KEY_OPT && for_mount ? kDrop : kKeep;
}

Result<IoUring> IoUringFrom(const std::string& value) {
  if (value == "auto") return IoUring::kAuto;
  if (value == "on") return IoUring::kOn;
  if (value == "off") return IoUring::kOff;
  return MakeError(ErrorKind::kUsage,
                   "mount option io_uring=" + value + ": it can be auto, on or off");
}

// Adds the options that every mount has. default_permissions: the kernel checks the caller's
// permissions by mode and ACL. This process runs as root and would not.
bool AddDefaults(fuse_args* arguments, const std::string& fs_name) {
  char* list = nullptr;
  bool added = fuse_opt_add_opt_escaped(&list, ("fsname=" + fs_name).c_str()) == 0 &&
               fuse_opt_add_opt(&list, "subtype=tandemfs,default_permissions") == 0;
  if (added && geteuid() == 0) added = fuse_opt_add_opt(&list, "allow_other") == 0;
  added = added && fuse_opt_add_arg(arguments, "tandemfs") == 0 &&
          fuse_opt_add_arg(arguments, "-o") == 0 && fuse_opt_add_arg(arguments, list) == 0;
  std::free(list);
  return added;
}

}  // namespace

Result<SessionOptions> SessionOptions::Parse(const std::string& comma_list,
                                             const std::string& fs_name) {
  SessionOptions options;
  fuse_args* const arguments = options.arguments.get();
  if (!AddDefaults(arguments, fs_name)) return ErrnoError(ENOMEM, "mount options");
  if (!comma_list.empty() && (fuse_opt_add_arg(arguments, "-o") != 0 ||
                              fuse_opt_add_arg(arguments, comma_list.c_str()) != 0)) {
    return ErrnoError(ENOMEM, "mount options");
  }
  Parsed parsed = {};
  parsed.max_threads = kDefaultThreads;
  const int error = fuse_opt_parse(arguments, &parsed, kOptions, ProcessOther);
  std::string io_uring = parsed.io_uring_on != 0 ? "on" : "auto";
  if (parsed.io_uring_off != 0) io_uring = "off";
  if (parsed.io_uring != nullptr) io_uring = parsed.io_uring;
  std::free(parsed.io_uring);
  if (error != 0) {
    return MakeError(ErrorKind::kUsage,
                     "parse mount options -o " + comma_list + " (see tandemfs --help)");
  }
  if (parsed.max_threads < kMinThreads) {
    return MakeError(ErrorKind::kUsage,
                     "mount option max_threads=" + std::to_string(parsed.max_threads) +
                         ": at least " + std::to_string(kMinThreads) + " threads are needed");
  }
  options.writeback = parsed.writeback != 0;
  options.max_threads = parsed.max_threads;
  options.max_read = parsed.max_read;
  options.noatime = parsed.noatime != 0;
  ASSIGN_OR_RETURN(options.io_uring, IoUringFrom(io_uring));
  return options;
}

}  // namespace tandem::fs
