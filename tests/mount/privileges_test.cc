// What a change of content takes from a file: setuid and setgid bits, unless whoever makes it has
// CAP_FSETID, and capabilities in any case. As if the mount were not there.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

constexpr size_t kSize = 16 << 10;

// Root, who is in the file's group and who is not, who owns it and who does not.
const User kUsers[] = {{0, 0},         {kAlice, kStaff}, {kAlice, kOthers},
                       {kBob, kStaff}, {kBob, kOthers},  {kBob, kOthers, {kStaff}}};

class Privileges : public Conformance {};

void SetNetRaw(const std::string& path) {
  const vfs_cap_data capability = {VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                   {{1U << CAP_NET_RAW, 0}, {0, 0}}};
  ASSERT_EQ(0, setxattr(path.c_str(), "security.capability", &capability, sizeof capability, 0))
      << strerror(errno);
}

struct Change {
  const char* name;
  std::function<long(const std::string& path)> make;
};

// With a descriptor opened beforehand.
std::function<long(const std::string&)> Through(int flags, const std::function<long(int)>& change) {
  return [flags, change](const std::string& path) {
    const UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC));
    return fd.valid() ? change(fd.get()) : -1L;
  };
}

long StoreInMapping(int fd) {
  void* mapped = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return -1;
  static_cast<char*>(mapped)[1] = 'm';
  const int result = msync(mapped, kSize, MS_SYNC);
  munmap(mapped, kSize);
  return result;
}

long CopyRange(int fd) {
  loff_t from = 0;
  loff_t to = kSize / 2;
  return copy_file_range(fd, &from, fd, &to, 1000, 0);
}

long ChownToNothing(const std::string& path) {
  return chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(-1));
}

const Change kChanges[] = {
    {"write", Through(O_WRONLY, [](int fd) { return write(fd, "x", 1); })},
    {"append", Through(O_WRONLY | O_APPEND, [](int fd) { return write(fd, "x", 1); })},
    {"write directly", Through(O_WRONLY | O_DIRECT,
                               [](int fd) {
                                 alignas(4096) static char page[4096];
                                 return write(fd, page, sizeof page);
                               })},
    {"write nothing", Through(O_WRONLY, [](int fd) { return write(fd, "x", 0); })},
    {"write twice", Through(O_RDWR,
                            [](int fd) {
                              const long first = pwrite(fd, "x", 1, 0);
                              return first < 0 ? first : pwrite(fd, "yz", 2, kSize - 1);
                            })},
    {"only open", Through(O_RDWR, [](int) { return 0; })},
    {"mapping", Through(O_RDWR, StoreInMapping)},
    {"truncate", [](const std::string& path) { return truncate(path.c_str(), 10); }},
    {"truncate to the same", [](const std::string& path) { return truncate(path.c_str(), kSize); }},
    {"ftruncate", Through(O_WRONLY, [](int fd) { return ftruncate(fd, 2 * kSize); })},
    {"open and truncate", Through(O_WRONLY | O_TRUNC, [](int) { return 0; })},
    {"fallocate", Through(O_WRONLY, [](int fd) { return fallocate(fd, 0, 0, 2 * kSize); })},
    {"punch a hole", Through(O_WRONLY,
                             [](int fd) {
                               return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                                4096);
                             })},
    {"copy a range", Through(O_RDWR, CopyRange)},
    {"chown to nothing", ChownToNothing},
    {"fchown to nothing",
     Through(O_RDONLY,
             [](int fd) { return fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(-1)); })},
};

// Some take more than beneath from a file that has a capability (fs/LOCKING.md): a store in a
// mapping, a write by root to a file that is setuid too, a chown that is refused.
bool IsKnownToDiffer(const std::string& change, const User& user, mode_t mode, bool capable) {
  if (!capable) return false;
  const bool setid = (mode & (S_ISUID | S_ISGID)) != 0;
  return change == "mapping" || (user.uid == 0 && setid) ||
         (user.uid == kBob && change.ends_with("to nothing") && setid);
}

// To a file for each change, and once more when the kernel knows what the first did.
void MakeChanges(const std::string& directory, Transcript& transcript) {
  for (const Change& change : kChanges) {
    const std::string path = directory + "/" + change.name;
    transcript.State(path);
    for (int time = 0; time < 2; ++time) {
      transcript.Call(change.name, change.make(path));
      transcript.State(path);
      transcript.Note("capability", getxattr(path.c_str(), "security.capability", nullptr, 0));
    }
  }
}

TEST_F(Privileges, ChangesOfContentTakeThemAsBeneath) {
  for (const bool capable : {false, true}) {
    for (const mode_t mode : {06777, 04777, 02777, 02767, 06666, 0777}) {
      for (size_t user = 0; user < std::size(kUsers); ++user) {
        const std::string name =
            std::to_string(user) + " " + std::to_string(mode) + (capable ? " capable" : "");
        Prepare(name, [&](const std::string& directory, Transcript&) {
          for (const Change& change : kChanges) {
            if (IsKnownToDiffer(change.name, kUsers[user], mode, capable)) continue;
            const std::string path = directory + "/" + change.name;
            Write(path, std::string(kSize, 'a'));
            ASSERT_EQ(0, chown(path.c_str(), kAlice, kStaff));
            ASSERT_EQ(0, chmod(path.c_str(), mode));
            if (capable) SetNetRaw(path);
          }
        });
        ExpectSameTo(kUsers[user], name, MakeChanges);
        ExpectSameTrees(name);
      }
    }
  }
}

}  // namespace
}  // namespace tandem::test
