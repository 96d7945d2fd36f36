// Callers in namespaces of their own: capabilities they have there count through the mount for what
// they count beneath, and no more.
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

class Namespaces : public Conformance {
 protected:
  void PrepareFiles(const std::string& name);
};

// Owners and groups that a namespace of alice's has, and that it has not.
struct Owners {
  const char* name;
  uid_t uid;
  gid_t gid;
};
const Owners kOwners[] = {{"root ", 0, 0},
                          {"alice ", kAlice, kAlice},
                          {"alice, staff ", kAlice, kStaff},
                          {"bob, alice ", kBob, kAlice},
                          {"root, staff ", 0, kStaff}};
constexpr mode_t kModes[] = {04777, 02777, 02767, 06777};

struct Change {
  const char* name;
  long (*make)(const std::string& path);
};

template <long (*Call)(int fd)>
long Opened(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  return fd.valid() ? Call(fd.get()) : -1;
}
long WriteByte(int fd) { return write(fd, "x", 1); }
long AllocateMore(int fd) { return fallocate(fd, 0, 0, 8192); }
long CopyWithin(int fd) {
  loff_t from = 0;
  loff_t to = 2048;
  return copy_file_range(fd, &from, fd, &to, 1000, 0);
}
long ChownNothing(const std::string& path) {
  return chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(-1));
}
long ChownToOneself(const std::string& path) { return chown(path.c_str(), geteuid(), getegid()); }
long Chmod(const std::string& path) { return chmod(path.c_str(), 06776); }
long SetAcl(const std::string& path) {
  const std::string entry = "u:" + std::to_string(geteuid()) + ":rwx";
  return Execute({"setfacl", "-m", entry, path}).code;
}
long Truncate(const std::string& path) { return truncate(path.c_str(), 10); }

const Change kChanges[] = {{"chown to nothing", ChownNothing},
                           {"chown to oneself", ChownToOneself},
                           {"chmod", Chmod},
                           {"acl", SetAcl},
                           {"truncate", Truncate},
                           {"write", Opened<WriteByte>},
                           {"fallocate", Opened<AllocateMore>},
                           {"copy a range", Opened<CopyWithin>}};

std::string FileOf(const Owners& owners, mode_t mode, const Change& change) {
  char text[16];
  snprintf(text, sizeof text, "%o ", mode);
  return owners.name + std::string(text) + change.name;
}

void Namespaces::PrepareFiles(const std::string& name) {
  Prepare(name, [](const std::string& directory, Transcript&) {
    for (const Owners& owners : kOwners) {
      for (const mode_t mode : kModes) {
        for (const Change& change : kChanges) {
          const std::string path = directory + "/" + FileOf(owners, mode, change);
          Write(path, std::string(4096, 'a'));
          ASSERT_EQ(0, chown(path.c_str(), owners.uid, owners.gid));
          ASSERT_EQ(0, chmod(path.c_str(), mode));
        }
      }
    }
  });
}

void ChangeFiles(const std::string& directory, Transcript& transcript) {
  for (const Owners& owners : kOwners) {
    for (const mode_t mode : kModes) {
      for (const Change& change : kChanges) {
        const std::string name = FileOf(owners, mode, change);
        transcript.Call(name, change.make(directory + "/" + name));
        transcript.State(directory + "/" + name);
      }
    }
  }
}

bool WriteText(const char* path, const std::string& text) {
  const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  return write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// With all capabilities in a user namespace that has this one user, as `uid` and `gid`.
bool EnterUserNamespace(uid_t uid, gid_t gid) {
  const std::string uids = std::to_string(uid) + " " + std::to_string(geteuid()) + " 1";
  const std::string gids = std::to_string(gid) + " " + std::to_string(getegid()) + " 1";
  return prctl(PR_SET_DUMPABLE, 1) == 0 && unshare(CLONE_NEWUSER) == 0 &&
         WriteText("/proc/self/setgroups", "deny") && WriteText("/proc/self/uid_map", uids) &&
         WriteText("/proc/self/gid_map", gids);
}

// From root, as alice: in a namespace that has two hundred users and groups from hers on.
bool EnterContainer() {
  int to_helper[2];
  int from_helper[2];
  if (pipe(to_helper) != 0 || pipe(from_helper) != 0) return false;
  const std::string proc = "/proc/" + std::to_string(getpid());
  const std::string map = "0 " + std::to_string(kAlice) + " 200";
  char byte = 'x';
  if (fork() == 0) {
    const bool mapped = read(to_helper[0], &byte, 1) == 1 &&
                        WriteText((proc + "/uid_map").c_str(), map) &&
                        WriteText((proc + "/gid_map").c_str(), map);
    _exit(mapped && write(from_helper[1], &byte, 1) == 1 ? 0 : 1);
  }
  close(from_helper[1]);
  return setgroups(0, nullptr) == 0 && setresgid(kAlice, kAlice, kAlice) == 0 &&
         setresuid(kAlice, kAlice, kAlice) == 0 && unshare(CLONE_NEWUSER) == 0 &&
         write(to_helper[1], &byte, 1) == 1 && read(from_helper[0], &byte, 1) == 1;
}

const User kUsers[] = {{kAlice, kAlice}, {kAlice, kAlice, {kStaff}}, {kBob, kOthers}, {0, 0}};

TEST_F(Namespaces, AUserNamespaceGivesNothingBeyondItsOwnIds) {
  for (size_t user = 0; user < std::size(kUsers); ++user) {
    for (const bool as_root : {false, true}) {
      const std::string name = std::to_string(user) + (as_root ? " as root" : " as itself");
      PrepareFiles(name);
      ExpectSameTo(kUsers[user], name, [&](const std::string& directory, Transcript& transcript) {
        const uid_t uid = as_root ? 0 : kUsers[user].uid;
        const gid_t gid = as_root ? 0 : kUsers[user].gid;
        transcript.Note("entered", EnterUserNamespace(uid, gid));
        ChangeFiles(directory, transcript);
      });
      ExpectSameTrees(name);
    }
  }
}

// Root gives alice's namespace the ids of a container.
TEST_F(Namespaces, AUserNamespaceGivesWhatItsOwnIdsLet) {
  PrepareFiles("container");
  ExpectSameTo({}, "container", [](const std::string& directory, Transcript& transcript) {
    transcript.Note("entered", EnterContainer());
    ChangeFiles(directory, transcript);
  });
  ExpectSameTrees("container");
}

TEST_F(Namespaces, APidNamespaceChangesNothing) {
  for (size_t user = 0; user < std::size(kUsers); ++user) {
    const std::string name = std::to_string(user);
    PrepareFiles(name);
    ExpectSameTo({}, name, [&](const std::string& directory, Transcript& transcript) {
      transcript.Call("unshare", unshare(CLONE_NEWPID));
      transcript.Append(InProcess(
          [&](Transcript& nested) {
            nested.Note("pid", getpid());
            ChangeFiles(directory, nested);
          },
          kUsers[user]));
    });
    ExpectSameTrees(name);
  }
}

// The kernel cannot say who asks, and /proc tells of others by the numbers the daemon knows.
TEST_F(Namespaces, ADaemonInAPidNamespaceTakesNobodyForAnother) {
  mount_.options().under = {"unshare", "--pid", "--fork", "--kill-child"};
  ASSERT_TRUE(MountAgain({}));
  for (const User& user : {User{0, 0}, User{kAlice, kAlice}, User{kBob, kOthers}}) {
    const std::string name = std::to_string(user.uid);
    PrepareFiles(name);
    ExpectSameTo(user, name, ChangeFiles);
    ExpectSameTrees(name);
  }
}

TEST_F(Namespaces, TheDaemonsOwnGroupsAreNobodyElses) {
  const gid_t group = kStaff;
  ASSERT_EQ(0, setgroups(1, &group));
  const auto mounted = MountAgain({});
  ASSERT_EQ(0, setgroups(0, nullptr));
  ASSERT_TRUE(mounted);
  PrepareFiles("groups");
  ExpectSameTo({kAlice, kAlice}, "groups", ChangeFiles);
  ExpectSameTrees("groups");
}

}  // namespace
}  // namespace tandem::test
