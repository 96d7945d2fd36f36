// What a FUSE request does not say about its caller: its groups, and its capabilities together with
// the user namespace they count in. Read from /proc/TID once a request, so all of it describes one
// thread at one moment. The rules are the kernel's: a capability counts in the thread's user
// namespace, and there only for objects whose owner is mapped into it.
//
// The thread of a request waits in the kernel until the request is answered, even if it was killed,
// so its id is not reused meanwhile. /proc/TID is therefore the caller's, with two exceptions: the
// caller acts with credentials of another process (a stacked filesystem, nfsd, an io_uring
// personality), or it does not wait for the answer. In the first case uid and gid differ from the
// request's; in the second the thread may be gone.
//
// A caller that cannot be looked up has root's capabilities if its uid is 0, and none otherwise.
// The kernel has translated that uid, so 0 is the real root. There are two exceptions: a thread
// seen in another user namespace has no capabilities, and a thread that is gone has none. A request
// without a thread comes from outside our PID namespace or from the kernel itself; there root has
// all capabilities.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/serving/fuse_api.h"

namespace tandem::fs {

// The uids, or gids, that are mapped into a user namespace, as our namespace numbers them.
class MappedIds {
 public:
  static MappedIds All();
  // `text`: /proc/TID/uid_map or gid_map. Read from another user namespace than the thread's.
  static MappedIds Parse(const std::string& text);
  // All ids but the overflow id, which stands for ids that our namespace does not map.
  static MappedIds OurOwn();

  bool Contains(uint64_t id) const;

 private:
  struct Range {
    uint64_t first = 0;
    uint64_t count = 0;
  };
  std::vector<Range> ranges_;
};

class CallerStatus {
 public:
  static CallerStatus Of(const fuse_ctx& caller);

  // The kernel's in_group_p().
  bool IsIn(gid_t group) const;
  // The kernel's capable(): false outside the initial user namespace.
  bool Has(unsigned capability) const;
  // The kernel's inode_owner_or_capable().
  bool MayActAsOwnerOf(const struct stat& object) const;
  // The kernel's in_group_or_capable(): whether the object keeps its setgid bit if the caller
  // changes it.
  bool MayKeepSetgidOf(const struct stat& object) const;

 private:
  enum class UserNamespace { kInitial, kOurs, kOther, kUnknown };

  CallerStatus(uid_t uid, gid_t gid) : uid_(uid), gid_(gid) {}
  static UserNamespace NamespaceOf(int directory_fd);
  void Read(int directory_fd);
  void GrantAllIfRoot();

  uid_t uid_;
  gid_t gid_;
  std::vector<gid_t> groups_;
  uint64_t capabilities_ = 0;
  bool initial_namespace_ = false;
  MappedIds uids_;
  MappedIds gids_;
};

}  // namespace tandem::fs
