// What a request does not say of its caller: the groups it is in, and what its capabilities are
// good for. Read from /proc/TID, once a request, so that all of it is of one moment and one thread.
// The rules are the kernel's: a capability counts in the user namespace the thread is in, and
// there only for objects whose owner has a number in it.
//
// A thread whose request has reached us waits in the kernel until it is answered, even if it has
// been killed. So its number is not given to another meanwhile, and what is read is the caller's,
// unless it acts with credentials that are not its own (a filesystem stacked on the mount, an nfsd,
// an io_uring personality) or waits for no answer. Then uid and gid differ from the request's, or
// the thread is gone.
//
// A caller that cannot be looked up has the capabilities of root if its uid is root's, and none
// otherwise: the uid comes from the kernel and is translated already, so it is the real root's; and
// a thread that is seen to be in another user namespace has none. A request without a thread comes
// from outside our PID namespace or from the kernel itself, where root has all capabilities. A
// thread that is gone has none in any case.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/serving/fuse_api.h"

namespace tandem::fs {

// The ids of a user namespace, as we number them.
class MappedIds {
 public:
  static MappedIds All();
  // `text`: /proc/TID/uid_map or gid_map, read from another namespace than the one it describes.
  static MappedIds Parse(const std::string& text);
  // All of our own namespace but the number that stands for those it does not have.
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

  bool IsIn(gid_t group) const;
  // In the initial user namespace: the kernel's capable().
  bool Has(unsigned capability) const;
  // The kernel's inode_owner_or_capable().
  bool MayActAsOwnerOf(const struct stat& object) const;
  // Whether an object's setgid bit stays if the caller changes it: in_group_or_capable().
  bool MayKeepSetgidOf(const struct stat& object) const;

 private:
  enum class UserNamespace { kInitial, kOurs, kOther, kUnknown };

  CallerStatus(uid_t uid, gid_t gid) : uid_(uid), gid_(gid) {}
  static UserNamespace NamespaceOf(int directory_fd);
  void Read(int directory_fd);
  void BecomeRootIfItIs();

  uid_t uid_;
  gid_t gid_;
  std::vector<gid_t> groups_;
  uint64_t capabilities_ = 0;
  bool initial_namespace_ = false;
  MappedIds uids_;
  MappedIds gids_;
};

}  // namespace tandem::fs
