#include "tools/system_call_filter.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace tandem::tools {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

// Names of older and newer kernels, and of other machines, may be among them: what is unknown to
// libseccomp is left out.
constexpr char kAllowed[] =
    // Threads, time, memory, signals.
    "arch_prctl brk clock_getres clock_gettime clock_nanosleep exit exit_group futex "
    "futex_requeue futex_wait futex_waitv futex_wake get_robust_list getcpu getpid getppid "
    "getrandom getrusage gettid gettimeofday madvise membarrier mincore mlock mlock2 mmap "
    "mmap2 mprotect mremap munlock munmap nanosleep restart_syscall rseq rt_sigaction "
    "rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam "
    "ioprio_set sched_getscheduler sched_yield set_robust_list set_tid_address sigaltstack sysinfo "
    "time "
    "times uname "
    // Who the process is.
    "capget getegid geteuid getgid getgroups getpgrp getresgid getresuid getuid umask "
    // Descriptors, waiting.
    "close close_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait "
    "epoll_pwait2 epoll_wait eventfd eventfd2 fcntl fcntl64 inotify_add_watch inotify_init "
    "inotify_init1 inotify_rm_watch pipe pipe2 poll ppoll pselect6 select signalfd signalfd4 "
    "timerfd_create timerfd_gettime timerfd_settime "
    // Connections (socket itself: below).
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg "
    "recvmsg sendmmsg sendmsg sendto setsockopt shutdown "
    // Content.
    "copy_file_range fadvise64 fadvise64_64 fallocate fdatasync flock fsync ftruncate "
    "ftruncate64 _llseek lseek msync pread64 preadv preadv2 pwrite64 pwritev pwritev2 read "
    "readahead readv sendfile sendfile64 sync_file_range syncfs truncate truncate64 write "
    "writev "
    // Names.
    "access chdir creat faccessat faccessat2 fchdir getcwd getdents getdents64 link linkat "
    "mkdir mkdirat mknod mknodat name_to_handle_at open openat openat2 readlink readlinkat "
    "rename renameat renameat2 rmdir symlink symlinkat unlink unlinkat "
    // Attributes.
    "chmod chown chown32 fchmod fchmodat fchmodat2 fchown fchown32 fchownat fgetxattr "
    "flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 futimesat "
    "getxattr getxattrat lchown lchown32 lgetxattr listmount listxattr "
    "llistxattr lremovexattr lsetxattr lstat lstat64 newfstatat quotactl_fd removexattr "
    "removexattrat setxattr setxattrat stat stat64 statfs statfs64 statmount statx utime "
    "utimensat utimes";

constexpr char kDeadly[] =
    "acct add_key bpf capset chroot clock_adjtime clock_settime delete_module execve "
    "execveat finit_module fork fsconfig fsmount fsopen fspick init_module ioperm iopl kcmp "
    "kexec_file_load kexec_load keyctl mount mount_setattr move_mount open_by_handle_at "
    "open_tree perf_event_open pidfd_getfd pivot_root process_vm_readv process_vm_writev "
    "ptrace reboot request_key setdomainname setgid setgroups sethostname setns setregid "
    "setresgid setresuid setreuid settimeofday setuid swapoff swapon umount umount2 unshare "
    "userfaultfd vfork";

// Newer than libseccomp may be. The same on all machines.
constexpr int kListxattrat = 465;

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)), &seccomp_release) {}

  // `names` are separated by blanks.
  void AddAll(uint32_t action, const char* names) {
    std::istringstream words(names);
    for (std::string name; words >> name;) Add(action, name.c_str());
  }
  // Only if the arguments are as `conditions` says.
  void Add(uint32_t action, const char* name, const std::vector<scmp_arg_cmp>& conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number != __NR_SCMP_ERROR) AddNumber(action, number, conditions);
  }
  void AddNumber(uint32_t action, int number, const std::vector<scmp_arg_cmp>& conditions = {}) {
    if (context_ == nullptr) return;
    const int result =
        seccomp_rule_add_array(context_.get(), action, number,
                               static_cast<unsigned>(conditions.size()), conditions.data());
    // A call that this machine does not have needs no rule.
    if (result != -EDOM) Note(result);
  }
  Status Load() {
    if (context_ == nullptr) return ErrnoError(ENOMEM, "make a filter of system calls");
    Note(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1));
    Note(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
    if (error_ == 0) Note(seccomp_load(context_.get()));
    if (error_ == 0) return {};
    return ErrnoError(error_, "limit the process's system calls (seccomp)");
  }

 private:
  void Note(int result) {
    if (error_ == 0 && result < 0) error_ = -result;
  }

  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int error_ = 0;
};

scmp_arg_cmp Equals(unsigned argument, scmp_datum_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}

void AddByArgument(Filter& filter) {
  const auto self = static_cast<scmp_datum_t>(getpid());
  // New threads, no new processes. clone3 keeps its flags in memory, where no filter sees them: it
  // fails with ENOSYS, and the C library takes clone.
  filter.Add(SCMP_ACT_ALLOW, "clone", {SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)});
  filter.Add(SCMP_ACT_ALLOW, "kill", {Equals(0, self)});
  filter.Add(SCMP_ACT_ALLOW, "tgkill", {Equals(0, self)});
  // Of the calling thread.
  filter.Add(SCMP_ACT_ALLOW, "sched_setscheduler", {Equals(0, 0), Equals(1, SCHED_IDLE)});
  filter.Add(SCMP_ACT_ALLOW, "setpriority", {Equals(0, PRIO_PROCESS), Equals(1, 0)});
  // Limits of this process, to be read.
  filter.Add(SCMP_ACT_ALLOW, "prlimit64", {Equals(2, 0)});
  filter.Add(SCMP_ACT_ALLOW, "getrlimit");
  for (const int domain : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    const auto is = Equals(0, static_cast<scmp_datum_t>(domain));
    filter.Add(SCMP_ACT_ALLOW, "socket", {is});
    filter.Add(SCMP_ACT_ALLOW, "socketpair", {is});
  }
  for (const unsigned long request :
       {FICLONE, FICLONERANGE, FS_IOC_FIEMAP, static_cast<unsigned long>(FIONREAD),
        static_cast<unsigned long>(FIONBIO), static_cast<unsigned long>(TCGETS),
        static_cast<unsigned long>(TIOCGWINSZ)}) {
    filter.Add(SCMP_ACT_ALLOW, "ioctl", {Equals(1, request)});
  }
  for (const int option : {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_CAPBSET_READ}) {
    filter.Add(SCMP_ACT_ALLOW, "prctl", {Equals(0, static_cast<scmp_datum_t>(option))});
  }
}

}  // namespace

bool FiltersSystemCalls() { return !kSanitized; }

Status FilterSystemCalls() {
  if (kSanitized) return {};
  Filter filter;
  filter.AddAll(SCMP_ACT_ALLOW, kAllowed);
  filter.AddNumber(SCMP_ACT_ALLOW, kListxattrat);
  filter.AddAll(SCMP_ACT_KILL_PROCESS, kDeadly);
  AddByArgument(filter);
  return filter.Load();
}

}  // namespace tandem::tools
