// Times, extended attributes, ACLs, flags, numbers and statistics.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"
#include "tests/loop_disk.h"

namespace tandem::test {
namespace {

class Attributes : public Conformance {};

std::string Text(const timespec& time) {
  return std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
}

bool IsNow(const timespec& time) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec - time.tv_sec < 60 && now.tv_sec >= time.tv_sec;
}

// What filesystems take their times from, in nanoseconds.
int64_t CoarseClock() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// A recent time is "now": the two sides are not asked in the same moment.
void NoteTimes(Transcript& seen, const std::string& path) {
  const struct stat s = Lstat(path);
  for (const timespec& time : {s.st_atim, s.st_mtim, s.st_ctim}) {
    seen.Note("time", IsNow(time) ? "now" : Text(time));
  }
}

TEST_F(Attributes, TimesAreSetToTheNanosecond) {
  ExpectSame("times", [](const std::string& directory, Transcript& seen) {
    const auto at = [&](const char* name) { return directory + "/" + name; };
    Write(at("file"), "text");
    mkdir(at("directory").c_str(), 0755);
    symlink("file", at("link").c_str());
    mkfifo(at("fifo").c_str(), 0644);
    const timespec times[][2] = {
        {{1, 1}, {2, 2}},
        {{0, 0}, {0, 999'999'999}},
        {{1'600'000'000, 123'456'789}, {0, UTIME_OMIT}},
        {{0, UTIME_OMIT}, {1'700'000'000, 987'654'321}},
        {{0, UTIME_NOW}, {0, UTIME_OMIT}},
        {{0, UTIME_OMIT}, {0, UTIME_NOW}},
        {{5, 5}, {0, UTIME_NOW}},
        {{0, UTIME_NOW}, {6, 6}},
        {{0, UTIME_OMIT}, {0, UTIME_OMIT}},
        {{0, UTIME_NOW}, {0, UTIME_NOW}},
        {{-1, 0}, {-2'000'000'000, 5}},
        {{4'000'000'000, 1}, {15'000'000'000, 2}},
        {{1'000'000'000'000, 1}, {-1'000'000'000'000, 2}},
        {{0, 1'000'000'000}, {0, 0}},
        {{0, -1}, {0, 0}},
    };
    for (const auto& pair : times) {
      for (const char* name : {"file", "directory", "link", "fifo", "none"}) {
        seen.Call(name, utimensat(AT_FDCWD, at(name).c_str(), pair, AT_SYMLINK_NOFOLLOW));
        if (std::string(name) != "none") NoteTimes(seen, at(name));
      }
      const UniqueFd fd(open(at("file").c_str(), O_RDONLY | O_CLOEXEC));
      seen.Call("futimens", futimens(fd.get(), pair));
      NoteTimes(seen, at("file"));
    }
  });
}

TEST_F(Attributes, WhatIsDoneSetsTheTimesItSetsBeneath) {
  using Action = long (*)(const std::string&);
  const struct {
    const char* name;
    Action call;
  } actions[] = {
      {"chmod", [](const std::string& d) -> long { return chmod((d + "/f").c_str(), 0600); }},
      {"chown", [](const std::string& d) -> long { return chown((d + "/f").c_str(), 1, 2); }},
      {"chown nothing",
       [](const std::string& d) -> long {
         return chown((d + "/f").c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(-1));
       }},
      {"truncate", [](const std::string& d) -> long { return truncate((d + "/f").c_str(), 2); }},
      {"to its size", [](const std::string& d) -> long { return truncate((d + "/f").c_str(), 4); }},
      {"empty it",
       [](const std::string& d) -> long {
         return UniqueFd(open((d + "/f").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC)).valid() ? 0 : -1;
       }},
      {"open",
       [](const std::string& d) -> long {
         return UniqueFd(open((d + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)).valid() ? 0
                                                                                               : -1;
       }},
      {"write",
       [](const std::string& d) -> long {
         const UniqueFd fd(open((d + "/f").c_str(), O_RDWR | O_CLOEXEC));
         return pwrite(fd.get(), "x", 1, 1);
       }},
      {"write nothing",
       [](const std::string& d) -> long {
         const UniqueFd fd(open((d + "/f").c_str(), O_RDWR | O_CLOEXEC));
         return pwrite(fd.get(), "x", 0, 1);
       }},
      {"fallocate",
       [](const std::string& d) -> long {
         const UniqueFd fd(open((d + "/f").c_str(), O_RDWR | O_CLOEXEC));
         return fallocate(fd.get(), 0, 0, 100);
       }},
      {"setxattr",
       [](const std::string& d) -> long {
         return setxattr((d + "/f").c_str(), "user.a", "b", 1, 0);
       }},
      {"link",
       [](const std::string& d) -> long { return link((d + "/f").c_str(), (d + "/l").c_str()); }},
      {"rename",
       [](const std::string& d) -> long { return rename((d + "/f").c_str(), (d + "/n").c_str()); }},
      {"rename the directory",
       [](const std::string& d) -> long { return rename((d + "/s").c_str(), (d + "/t").c_str()); }},
      {"unlink the other name",
       [](const std::string& d) -> long { return unlink((d + "/g").c_str()); }},
      {"mkdir", [](const std::string& d) -> long { return mkdir((d + "/m").c_str(), 0755); }},
      {"rmdir", [](const std::string& d) -> long { return rmdir((d + "/s").c_str()); }},
      {"create in it",
       [](const std::string& d) -> long { return mknod((d + "/s/x").c_str(), S_IFREG | 0600, 0); }},
      {"symlink", [](const std::string& d) -> long { return symlink("f", (d + "/y").c_str()); }},
      {"read link",
       [](const std::string& d) -> long {
         char target[8];
         return readlink((d + "/i").c_str(), target, sizeof target);
       }},
      {"a failure", [](const std::string& d) -> long { return mkdir((d + "/s").c_str(), 0755); }},
  };
  for (const auto& action : actions) {
    ExpectSame(action.name, [&](const std::string& directory, Transcript& seen) {
      Write(directory + "/f", "text");
      link((directory + "/f").c_str(), (directory + "/g").c_str());
      symlink("f", (directory + "/i").c_str());
      mkdir((directory + "/s").c_str(), 0755);
      // Old times; the ctime cannot be set, so whether it moves is asked.
      const auto paths = [&] {
        std::vector<std::string> all = {directory};
        for (const auto& entry : std::filesystem::directory_iterator(directory)) {
          all.push_back(entry.path());
        }
        std::sort(all.begin(), all.end());
        return all;
      };
      const timespec old[2] = {{1000, 0}, {2000, 0}};
      std::map<ino_t, timespec> changed;
      for (const std::string& path : paths()) {
        utimensat(AT_FDCWD, path.c_str(), old, AT_SYMLINK_NOFOLLOW);
      }
      for (const std::string& path : paths()) changed[Lstat(path).st_ino] = Lstat(path).st_ctim;
      // The clock of a filesystem goes on in steps of the kernel's timer.
      EXPECT_TRUE(WaitFor([start = CoarseClock()] { return CoarseClock() > start; }));
      seen.Call(action.name, action.call(directory));
      for (const std::string& path : paths()) {
        const struct stat s = Lstat(path);
        const timespec before = changed[s.st_ino];
        const bool moved = before.tv_sec != s.st_ctim.tv_sec || before.tv_nsec != s.st_ctim.tv_nsec;
        seen.Note("path", path.substr(directory.size()));
        // Reading is allowed to set the access time or not (relatime, and the kernel's cache).
        seen.Note("mtime", IsNow(s.st_mtim) ? "now" : Text(s.st_mtim));
        seen.Note("ctime", moved ? "moved" : "as it was");
      }
    });
  }
}

TEST_F(Attributes, ExtendedAttributesOfAllSizesAndKinds) {
  ExpectSame("xattrs", [](const std::string& directory, Transcript& seen) {
    const auto at = [&](const char* name) { return directory + "/" + name; };
    Write(at("file"), "text");
    mkdir(at("directory").c_str(), 0755);
    symlink("file", at("link").c_str());
    mkfifo(at("fifo").c_str(), 0644);
    for (const char* object : {"file", "directory", "link", "fifo"}) {
      const std::string path = at(object);
      const auto list = [&] {
        char names[65536];
        const ssize_t length = llistxattr(path.c_str(), names, sizeof names);
        seen.Call("list", length);
        std::vector<std::string> sorted;
        for (ssize_t i = 0; i < length; i += static_cast<ssize_t>(sorted.back().size()) + 1) {
          sorted.emplace_back(names + i);
        }
        std::sort(sorted.begin(), sorted.end());
        for (const std::string& name : sorted) seen.Note("name", name);
        seen.Call("list's size", llistxattr(path.c_str(), nullptr, 0));
        seen.Call("too little", llistxattr(path.c_str(), names, 2));
      };
      const std::string long_name = "user." + std::string(250, 'n');
      for (const std::string& name :
           {std::string("user.a"), std::string("trusted.b"), std::string("security.c"),
            std::string("system.d"), std::string("other.e"), std::string("nodot"),
            std::string("user."), std::string(), long_name, long_name + "n",
            std::string("trusted.overlay.opaque"), std::string("system.posix_acl_access"),
            std::string("security.capability"), std::string("user.\xff\xfe")}) {
        for (const size_t size : {0, 1, 100, 2000, 60'000, 65'536, 65'537}) {
          const std::string value(size, 'v');
          seen.Call(name + " of " + std::to_string(size),
                    lsetxattr(path.c_str(), name.c_str(), value.data(), size, 0));
          std::string read(70'000, '\0');
          seen.Call("get", lgetxattr(path.c_str(), name.c_str(), read.data(), 65'536));
          seen.Call("its size", lgetxattr(path.c_str(), name.c_str(), nullptr, 0));
          seen.Call("too little", lgetxattr(path.c_str(), name.c_str(), read.data(), 1));
        }
        seen.Call("create", lsetxattr(path.c_str(), name.c_str(), "x", 1, XATTR_CREATE));
        seen.Call("replace", lsetxattr(path.c_str(), name.c_str(), "yz", 2, XATTR_REPLACE));
        seen.Call("both",
                  lsetxattr(path.c_str(), name.c_str(), "x", 1, XATTR_REPLACE | XATTR_CREATE));
        list();
        seen.Call("remove", lremovexattr(path.c_str(), name.c_str()));
        seen.Call("remove again", lremovexattr(path.c_str(), name.c_str()));
        seen.Call("replace", lsetxattr(path.c_str(), name.c_str(), "x", 1, XATTR_REPLACE));
      }
    }
  });
  ExpectSameTrees("xattrs");
}

TEST_F(Attributes, ExtendedAttributesOfOthers) {
  for (const mode_t mode : {0644, 0600, 01777}) {
    ExpectSame("of others " + std::to_string(mode),
               [&](const std::string& directory, Transcript& seen) {
                 const std::string path = directory + "/file";
                 Write(path, "text");
                 chmod(path.c_str(), mode);
                 for (const char* name :
                      {"user.a", "trusted.b", "security.c", "system.posix_acl_access"}) {
                   char value[100];
                   seen.Call(name, setxattr(path.c_str(), name, "v", 1, 0));
                   seen.Call("get", getxattr(path.c_str(), name, value, sizeof value));
                   seen.Call("get", getxattr("/var", name, value, sizeof value));
                   seen.Call("remove", removexattr(path.c_str(), name));
                 }
                 seen.Call("list", listxattr(path.c_str(), nullptr, 0));
               },
               {12'001, 12'001});
  }
}

TEST_F(Attributes, AclsAndModesAreOne) {
  ExpectSame("acls", [](const std::string& directory, Transcript& seen) {
    Write(directory + "/file", "text");
    mkdir((directory + "/below").c_str(), 0755);
    for (const char* object : {"/file", "/below"}) {
      const std::string path = directory + object;
      for (const char* acl :
           {"u:12001:rwx", "g:12100:r", "m::---", "m::rwx", "u::r,g::-,o::-", "d:u:12001:rwx"}) {
        seen.Call(acl, Execute({"setfacl", "-m", acl, path}).code);
        seen.State(path);
        seen.Call("chmod", chmod(path.c_str(), 0751));
        seen.Append(Execute({"getfacl", "-n", "--omit-header", path}).out);
      }
      seen.Call("remove", Execute({"setfacl", "-b", path}).code);
      seen.State(path);
    }
  });
}

TEST_F(Attributes, AnAclLetsInWhomItNames) {
  const auto calls = [](const std::string& directory, Transcript& seen) {
    Write(directory + "/file", "text");
    chmod((directory + "/file").c_str(), 0600);
    mkdir((directory + "/below").c_str(), 0700);
    for (const char* acl : {"", "u:12001:rw", "u:12001:rwx", "g:12100:rwx", "m::r", "u:12001:-"}) {
      for (const char* object : {"/file", "/below"}) {
        if (*acl != '\0') Execute({"setfacl", "-m", acl, directory + object});
      }
      for (const User& user : {User{12'001, 12'001}, User{12'002, 12'002, {12'100}}}) {
        seen.Append(InProcess(
            [&](Transcript& inner) {
              for (const int flags : {O_RDONLY, O_WRONLY}) {
                const UniqueFd fd(open((directory + "/file").c_str(), flags | O_CLOEXEC));
                inner.Call("open", fd.valid() ? 0 : -1);
              }
              inner.Call("access", access((directory + "/file").c_str(), X_OK));
              inner.Call("mkdir", mkdir((directory + "/below/new").c_str(), 0755));
              inner.Call("rmdir", rmdir((directory + "/below/new").c_str()));
            },
            user));
      }
    }
  };
  ExpectSame("named", calls);
}

TEST_F(Attributes, FlagsOfChattr) {
  ExpectSame("flags", [](const std::string& directory, Transcript& seen) {
    const std::string paths[] = {directory + "/file", directory + "/below"};
    Write(paths[0], "text");
    mkdir(paths[1].c_str(), 0755);
    for (const std::string& path : paths) {
      const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const auto note = [&] {
        int flags = 0;
        seen.Call("get", ioctl(fd.get(), FS_IOC_GETFLAGS, &flags));
        seen.Note("flags", flags);
        fsxattr attributes = {};
        seen.Call("get more", ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes));
        seen.Note("more", attributes.fsx_xflags);
      };
      note();
      for (const int wanted : {FS_NODUMP_FL, FS_NOATIME_FL, FS_SYNC_FL, FS_IMMUTABLE_FL,
                               FS_APPEND_FL, 0x40000000, 0}) {
        int flags = 0;
        ioctl(fd.get(), FS_IOC_GETFLAGS, &flags);
        flags = (flags & FS_EXTENT_FL) | wanted;
        seen.Call("set", ioctl(fd.get(), FS_IOC_SETFLAGS, &flags));
        note();
        seen.Call("chmod", chmod(path.c_str(), 0700));
        seen.Call("link", link(path.c_str(), (path + ".l").c_str()));
        seen.Call("unlink", unlink((path + ".l").c_str()));
        seen.Call("rename", rename(path.c_str(), (path + ".r").c_str()));
        seen.Call("back", rename((path + ".r").c_str(), path.c_str()));
        seen.Call("xattr", setxattr(path.c_str(), "user.a", "b", 1, 0));
        seen.Call("create below", mknod((path + "/new").c_str(), S_IFREG | 0600, 0));
        seen.Call("remove below", unlink((path + "/new").c_str()));
        seen.Call("times", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
        for (const int how : {O_RDONLY, O_WRONLY, O_WRONLY | O_APPEND, O_WRONLY | O_TRUNC,
                              O_WRONLY | O_APPEND | O_TRUNC, O_RDWR | O_APPEND}) {
          const UniqueFd opened(open(path.c_str(), how | O_CLOEXEC));
          seen.Call("open " + std::to_string(how), opened.valid() ? 0 : -1);
          if ((how & O_ACCMODE) == O_RDONLY || !opened.valid()) continue;
          seen.Call("write", write(opened.get(), "more", 4));
          seen.Call("truncate", ftruncate(opened.get(), 3));
          seen.Call("allocate", fallocate(opened.get(), 0, 0, 1));
        }
        seen.State(path);
        if (S_ISREG(Lstat(path).st_mode)) seen.Note("content", Read(path));
      }
      seen.Call("its generation",
                ioctl(fd.get(), FS_IOC_GETVERSION, std::make_unique<int>().get()));
      seen.Call("no such command", ioctl(fd.get(), _IO('T', 200)));
    }
  });
}

TEST_F(Attributes, OnlyOwnersSetFlags) {
  for (const User& user : {User{0, 0}, User{12'001, 12'001}}) {
    ExpectSame(
        "flags of " + std::to_string(user.uid),
        [](const std::string& directory, Transcript& seen) {
          Write(directory + "/own", "text");
          for (const std::string& path : {directory + "/own", std::string("/var/tmp")}) {
            const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
            for (const int wanted : {FS_NODUMP_FL, FS_IMMUTABLE_FL, FS_JOURNAL_DATA_FL}) {
              if (path == "/var/tmp") break;
              int flags = 0;
              seen.Call("get", ioctl(fd.get(), FS_IOC_GETFLAGS, &flags));
              const int before = flags;
              flags |= wanted;
              seen.Call("set", ioctl(fd.get(), FS_IOC_SETFLAGS, &flags));
              flags = before;
              seen.Call("unset", ioctl(fd.get(), FS_IOC_SETFLAGS, &flags));
            }
          }
        },
        user);
  }
}

TEST_F(Attributes, NumbersAreTheSourcesAndStayTheSame) {
  MakeEveryKind(source_);
  std::filesystem::create_directories(source_ + "/deep/er");
  const dev_t device = Lstat(mount_.path()).st_dev;
  int objects = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source_)) {
    const std::string path = entry.path();
    const std::string mounted = mount_.path() + path.substr(source_.size());
    const struct stat beneath = Lstat(path);
    for (int i = 0; i < 2; ++i) {
      const struct stat here = Lstat(mounted);
      EXPECT_EQ(here.st_ino, beneath.st_ino) << path;
      EXPECT_EQ(here.st_dev, device) << path;
      EXPECT_EQ(here.st_nlink, beneath.st_nlink) << path;
      EXPECT_EQ(here.st_rdev, beneath.st_rdev) << path;
      EXPECT_EQ(here.st_blocks, beneath.st_blocks) << path;
      EXPECT_EQ(here.st_size, beneath.st_size) << path;
      EXPECT_EQ(here.st_blksize, beneath.st_blksize) << path;
      if (i == 0) Execute({"sh", "-c", "echo 2 > /proc/sys/vm/drop_caches"});
      if (objects > 3) break;
    }
    ++objects;
  }
  EXPECT_GT(objects, 5);
  EXPECT_EQ(Lstat(mount_.path()).st_ino, Lstat(source_).st_ino);
  EXPECT_NE(device, Lstat(source_).st_dev);
}

TEST_F(Attributes, BirthTimesAreThoseBeneath) {
  Write(OnMount("file"), "text");
  struct statx here;
  struct statx beneath;
  ASSERT_EQ(0, statx(AT_FDCWD, OnMount("file").c_str(), 0, STATX_ALL, &here));
  ASSERT_EQ(0, statx(AT_FDCWD, (source_ + "/file").c_str(), 0, STATX_ALL, &beneath));
  if ((here.stx_mask & STATX_BTIME) == 0) GTEST_SKIP() << "this libfuse has no statx";
  EXPECT_EQ(here.stx_btime.tv_sec, beneath.stx_btime.tv_sec);
  EXPECT_EQ(here.stx_btime.tv_nsec, beneath.stx_btime.tv_nsec);
  EXPECT_EQ(here.stx_ino, beneath.stx_ino);
  EXPECT_EQ(here.stx_mode, beneath.stx_mode);
}

TEST_F(Attributes, StatisticsOfTheFilesystem) {
  const std::string other = scratch_.Directory("disk");
  LoopDisk disk(scratch_, "disk", "ext4", other);
  ASSERT_TRUE(disk.Make(64 << 20));
  Mount::Options options = OptionsOf("disk-mount");
  options.source = other;
  options.replicas.clear();
  Mount mount(options);
  ASSERT_TRUE(mount.Start());
  Write(mount.path() + "/file", RandomBytes(1 << 20));
  struct statvfs here;
  struct statvfs beneath;
  ASSERT_EQ(0, statvfs(mount.path().c_str(), &here));
  ASSERT_EQ(0, statvfs(other.c_str(), &beneath));
  EXPECT_EQ(here.f_blocks, beneath.f_blocks);
  EXPECT_EQ(here.f_bfree, beneath.f_bfree);
  EXPECT_EQ(here.f_bavail, beneath.f_bavail);
  EXPECT_EQ(here.f_files, beneath.f_files);
  EXPECT_EQ(here.f_ffree, beneath.f_ffree);
  EXPECT_EQ(here.f_bsize, beneath.f_bsize);
  EXPECT_EQ(here.f_frsize, beneath.f_frsize);
  EXPECT_EQ(here.f_namemax, beneath.f_namemax);
}

}  // namespace
}  // namespace tandem::test
