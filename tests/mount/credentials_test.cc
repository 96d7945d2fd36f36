// Who may do what, and whose is what was made: the backing filesystem decides it for the caller, as
// if the mount were not there.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

class Credentials : public Conformance {};

long MakeSocket(const std::string& path) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const size_t slash = path.rfind('/');
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // The path may be too long for an address.
  if (chdir(path.substr(0, slash).c_str()) != 0) return -1;
  path.copy(address.sun_path, sizeof address.sun_path - 1, slash + 1);
  return bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
}

long Create(const std::string& path, int flags, mode_t mode) {
  const UniqueFd fd(open(path.c_str(), flags | O_CREAT | O_CLOEXEC, mode));
  return fd.valid() ? 0 : -1;
}

void MakeOneOfEachKind(const std::string& directory, Transcript& transcript) {
  const auto at = [&](const char* name) { return directory + "/" + name; };
  transcript.Call("create", Create(at("file"), O_WRONLY, 06777));
  transcript.Call("create anew", Create(at("exclusive"), O_RDWR | O_EXCL, 0666));
  transcript.Call("create without access", Create(at("closed"), O_WRONLY, 0));
  transcript.Call("mkdir", mkdir(at("directory").c_str(), 01777));
  transcript.Call("mkdir in it", mkdir(at("directory/below").c_str(), 0777));
  transcript.Call("symlink", symlink("target", at("link").c_str()));
  transcript.Call("mkfifo", mkfifo(at("fifo").c_str(), 0666));
  transcript.Call("mknod", mknod(at("node").c_str(), S_IFREG | 02777, 0));
  transcript.Call("mknod device", mknod(at("device").c_str(), S_IFCHR | 0666, makedev(1, 3)));
  transcript.Call("socket", MakeSocket(at("socket")));
  for (const char* name : {"file", "exclusive", "closed", "directory", "directory/below", "link",
                           "fifo", "node", "device", "socket"}) {
    transcript.State(at(name));
  }
}

void MakeANamelessOne(const std::string& directory, Transcript& transcript) {
  const UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 06777));
  transcript.Call("nameless", fd.valid() ? 0 : -1);
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  const std::string to = directory + "/nameless";
  transcript.Call("link", linkat(AT_FDCWD, path.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW));
  transcript.State(to);
}

const User kUsers[] = {
    {0, 0},           {0, 0, {kStaff}},           {kAlice, kAlice},
    {kAlice, kStaff}, {kAlice, kAlice, {kStaff}}, {kAlice, kAlice, {kStaff, kOthers}},
    {kBob, kOthers},
};

TEST_F(Credentials, WhatIsMadeBelongsToWhomItWouldBeneath) {
  const bool nameless = HasNamelessFiles();
  const struct {
    const char* name;
    mode_t mode;
    gid_t group;
  } directories[] = {{"open", 0777, 0},          {"of a group", 0770, kStaff},
                     {"setgid", 02777, kStaff},  {"setgid of a group", 02770, kStaff},
                     {"sticky", 01777, kOthers}, {"both", 03775, kStaff}};
  for (const auto& kind : directories) {
    for (size_t user = 0; user < std::size(kUsers); ++user) {
      for (const mode_t mask : {0, 022, 077, 0777}) {
        const std::string name =
            std::string(kind.name) + " " + std::to_string(user) + " " + std::to_string(mask);
        Prepare(name, [&](const std::string& directory, Transcript&) {
          ASSERT_EQ(0, chown(directory.c_str(), 0, kind.group));
          ASSERT_EQ(0, chmod(directory.c_str(), kind.mode));
        });
        ExpectSameTo(kUsers[user], name, [&](const std::string& directory, Transcript& transcript) {
          umask(mask);
          MakeOneOfEachKind(directory, transcript);
          if (nameless) MakeANamelessOne(directory, transcript);
        });
      }
    }
  }
}

TEST_F(Credentials, ADefaultAclOverridesTheUmask) {
  const bool nameless = HasNamelessFiles();
  const std::string acls[] = {
      "d:u::rwx,d:g::r-x,d:o::---",
      "d:u::rwx,d:g::rwx,d:o::rwx",
      "d:u::rw-,d:g::---,d:g:" + std::to_string(kStaff) + ":rwx,d:m::rwx,d:o::r--",
      "u:" + std::to_string(kAlice) + ":rwx,d:u:" + std::to_string(kBob) + ":rwx",
  };
  for (size_t i = 0; i < std::size(acls); ++i) {
    for (size_t user = 0; user < std::size(kUsers); ++user) {
      const std::string name = "acl " + std::to_string(i) + " " + std::to_string(user);
      Prepare(name, [&](const std::string& directory, Transcript&) {
        ASSERT_EQ(0, chmod(directory.c_str(), i % 2 == 0 ? 0777 : 02775));
        ASSERT_EQ(0, chown(directory.c_str(), 0, kStaff));
        ASSERT_EQ(Execute({"setfacl", "-m", acls[i], directory}).code, 0);
      });
      ExpectSameTo(kUsers[user], name, [&](const std::string& directory, Transcript& transcript) {
        umask(077);
        MakeOneOfEachKind(directory, transcript);
        if (nameless) MakeANamelessOne(directory, transcript);
        transcript.Append(Execute({"getfacl", "-n", "-R", "--omit-header", "-s", directory}).out);
      });
    }
  }
}

TEST_F(Credentials, PermissionsAreThoseOfOwnerGroupsAndTheRest) {
  const struct {
    const char* name;
    mode_t mode;
    uid_t owner;
    gid_t group;
  } objects[] = {
      {"own", 0600, kAlice, kAlice},
      {"not even own", 0066, kAlice, kAlice},
      {"of the group", 0060, 0, kStaff},
      {"not of the group", 0606, 0, kStaff},
      {"of the rest", 0006, 0, 0},
      {"read only", 0444, kAlice, kStaff},
      {"write only", 0222, kBob, kStaff},
      {"program", 0711, kBob, kOthers},
      {"setuid", 04755, kAlice, kStaff},
      {"setgid", 02755, kAlice, kStaff},
      {"mandatory lock", 02644, kAlice, kStaff},
  };
  Prepare("objects", [&](const std::string& directory, Transcript&) {
    for (const auto& object : objects) {
      for (const char* kind : {"file ", "directory "}) {
        const std::string path = directory + "/" + kind + object.name;
        if (kind[0] == 'f') {
          Write(path, "content");
        } else {
          ASSERT_EQ(0, mkdir(path.c_str(), 0777));
          Write(path + "/entry", "entry");
        }
        ASSERT_EQ(0, chown(path.c_str(), object.owner, object.group));
        ASSERT_EQ(0, chmod(path.c_str(), object.mode));
      }
    }
  });
  for (const User& user : kUsers) {
    ExpectSameTo(user, "objects", [&](const std::string& directory, Transcript& transcript) {
      for (const auto& object : objects) {
        const std::string name = object.name;
        const std::string file = directory + "/file " + name;
        const std::string below = directory + "/directory " + name;
        for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_PATH,
                                O_WRONLY | O_APPEND, O_RDONLY | O_NOATIME, O_WRONLY | O_CREAT,
                                O_WRONLY | O_CREAT | O_EXCL, O_RDONLY | O_DIRECTORY}) {
          const UniqueFd fd(open(file.c_str(), flags | O_CLOEXEC, 0666));
          transcript.Call("open " + name + " " + std::to_string(flags), fd.valid() ? 0 : -1);
        }
        for (const int how : {R_OK, W_OK, X_OK, R_OK | W_OK | X_OK}) {
          transcript.Call("access " + name, access(file.c_str(), how));
          transcript.Call("access to " + name, access(below.c_str(), how));
        }
        transcript.Call("truncate", truncate(file.c_str(), 7));
        transcript.Call("list",
                        open(below.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 ? -1 : 0);
        transcript.Call("look up", access((below + "/entry").c_str(), F_OK));
        transcript.Call("create", Create(below + "/new", O_WRONLY, 0644));
        transcript.Call("unlink", unlink((below + "/new").c_str()));
        transcript.Call("link", link(file.c_str(), (below + "/hard").c_str()));
        transcript.Call("unlink", unlink((below + "/hard").c_str()));
        transcript.Call("rename", rename((below + "/entry").c_str(), (below + "/other").c_str()));
        transcript.Call("back", rename((below + "/other").c_str(), (below + "/entry").c_str()));
      }
    });
  }
}

TEST_F(Credentials, OnlyOwnersChangeModeOwnerAndTimes) {
  for (size_t user = 0; user < std::size(kUsers); ++user) {
    for (const mode_t mode : {0644, 06755, 04644, 07777}) {
      const std::string name = "of " + std::to_string(user) + " " + std::to_string(mode);
      Prepare(name, [&](const std::string& directory, Transcript&) {
        for (const char* kind : {"/file", "/directory"}) {
          const std::string path = directory + kind;
          if (path.ends_with("file")) {
            Write(path, "text");
          } else {
            ASSERT_EQ(0, mkdir(path.c_str(), 0777));
          }
          ASSERT_EQ(0, chown(path.c_str(), kAlice, kStaff));
          ASSERT_EQ(0, chmod(path.c_str(), mode));
        }
      });
      ExpectSameTo(kUsers[user], name, [&](const std::string& root, Transcript& transcript) {
        for (const char* kind : {"/file", "/directory"}) {
          const std::string path = root + kind;
          const auto step = [&](const char* what, long result) {
            transcript.Call(what, result);
            transcript.State(path);
          };
          const auto none = static_cast<uid_t>(-1);
          step("chown nothing", chown(path.c_str(), none, none));
          step("chmod", chmod(path.c_str(), mode));
          step("chgrp", chown(path.c_str(), none, kOthers));
          step("chmod setgid", chmod(path.c_str(), 06777));
          step("chown", chown(path.c_str(), kBob, none));
          step("chown and chgrp", chown(path.c_str(), kAlice, kAlice));
          step("chmod setgid again", chmod(path.c_str(), 02777));
          step("utimes now", utimensat(AT_FDCWD, path.c_str(), nullptr, 0));
          const timespec times[2] = {{1, 2}, {3, 4}};
          step("utimes", utimensat(AT_FDCWD, path.c_str(), times, 0));
          step("lchown", lchown(path.c_str(), kAlice, kStaff));
        }
      });
    }
  }
}

TEST_F(Credentials, AnAclSetByOneOutsideTheGroupTakesSetgid) {
  Prepare("setgid", [&](const std::string& directory, Transcript&) {
    for (const char* name : {"/file", "/directory"}) {
      const std::string path = directory + name;
      if (path.ends_with("file")) {
        Write(path, "text");
      } else {
        ASSERT_EQ(0, mkdir(path.c_str(), 0777));
      }
    }
  });
  for (const User& user : kUsers) {
    for (const gid_t group : {kStaff, kOthers}) {
      for (const std::string& place : {OnMount("setgid"), Beneath("setgid")}) {
        for (const char* name : {"/file", "/directory"}) {
          ASSERT_EQ(0, chown((place + name).c_str(), user.uid, group));
          ASSERT_EQ(0, chmod((place + name).c_str(), 02775));
        }
      }
      ExpectSameTo(user, "setgid", [](const std::string& directory, Transcript& transcript) {
        for (const char* name : {"/file", "/directory"}) {
          const std::string path = directory + name;
          transcript.Call("default", Execute({"setfacl", "-m", "d:u:1:rwx", path}).code);
          transcript.State(path);
          transcript.Call("set", Execute({"setfacl", "-m", "u:12005:rwx", path}).code);
          transcript.State(path);
          transcript.Call("remove", Execute({"setfacl", "-b", path}).code);
          transcript.State(path);
        }
      });
    }
  }
}

TEST_F(Credentials, StickyDirectoriesProtectWhatIsNotOnesOwn) {
  for (const mode_t mode : {01777, 01775, 0777}) {
    for (const User& user : kUsers) {
      for (const uid_t owner : {uid_t{0}, kAlice}) {
        const std::string name = std::to_string(mode) + " " + std::to_string(user.uid) + " " +
                                 std::to_string(user.gid) + " " +
                                 std::to_string(user.groups.size()) + " " + std::to_string(owner);
        Prepare(name, [&](const std::string& directory, Transcript&) {
          for (const uid_t of : {uid_t{0}, kAlice, kBob}) {
            const std::string number = std::to_string(of);
            Write(directory + "/file" + number, "text");
            Write(directory + "/other" + number, "text");
            ASSERT_EQ(0, mkdir((directory + "/directory" + number).c_str(), 0777));
            for (const char* kind : {"/file", "/other", "/directory"}) {
              ASSERT_EQ(0, chown((directory + kind + number).c_str(), of, kStaff));
            }
          }
          ASSERT_EQ(0, chown(directory.c_str(), owner, kStaff));
          ASSERT_EQ(0, chmod(directory.c_str(), mode));
        });
        ExpectSameTo(user, name, [](const std::string& directory, Transcript& transcript) {
          for (const uid_t of : {uid_t{0}, kAlice, kBob}) {
            const std::string number = std::to_string(of);
            const auto at = [&](const char* kind) { return directory + kind + number; };
            transcript.Call("rename", rename(at("/file").c_str(), at("/moved").c_str()));
            transcript.Call("rename over", rename(at("/moved").c_str(), at("/other").c_str()));
            transcript.Call("unlink", unlink(at("/other").c_str()));
            transcript.Call("unlink", unlink(at("/file").c_str()));
            transcript.Call("rename", rename(at("/directory").c_str(), at("/renamed").c_str()));
            transcript.Call("rmdir", rmdir(at("/renamed").c_str()));
            transcript.Call("rmdir", rmdir(at("/directory").c_str()));
          }
        });
      }
    }
  }
}

TEST_F(Credentials, AGroupsMembersWriteWhereOnlyTheyMay) {
  Prepare("shared", [](const std::string& directory, Transcript&) {
    ASSERT_EQ(0, chown(directory.c_str(), 0, kStaff));
    ASSERT_EQ(0, chmod(directory.c_str(), 02770));
  });
  ExpectSameTo({kAlice, kAlice, {kStaff}}, "shared",
               [](const std::string& directory, Transcript& transcript) {
                 MakeOneOfEachKind(directory, transcript);
               });
  // Out of the group, into the same directory.
  ExpectSameTo({kBob, kBob, {kOthers}}, "shared",
               [](const std::string& directory, Transcript& transcript) {
                 transcript.Call("enter", chdir(directory.c_str()));
                 transcript.Call("create", Create(directory + "/no", O_WRONLY, 0666));
                 transcript.Call("unlink", unlink((directory + "/file").c_str()));
               });
  EXPECT_EQ(Lstat(source_ + "/shared/file").st_gid, kStaff);
  EXPECT_EQ(Lstat(source_ + "/shared/file").st_uid, kAlice);
}

}  // namespace
}  // namespace tandem::test
