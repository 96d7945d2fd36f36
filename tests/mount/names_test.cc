// Names, paths, links and renames, with every flag, and what is refused.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

class Names : public Conformance {};

// Objects of the names a rename may be asked for.
void MakeObjects(const std::string& directory) {
  const auto at = [&](const char* name) { return directory + "/" + name; };
  for (const char* name : {"file", "other file"}) Write(at(name), name);
  ASSERT_EQ(0, link(at("file").c_str(), at("same file").c_str()));
  for (const char* name : {"empty", "full", "full/below", "full/below/deep"}) {
    ASSERT_EQ(0, mkdir(at(name).c_str(), 0755));
  }
  ASSERT_EQ(0, symlink("file", at("link").c_str()));
  ASSERT_EQ(0, symlink("full", at("link to directory").c_str()));
  ASSERT_EQ(0, symlink("nowhere", at("dangling").c_str()));
  ASSERT_EQ(0, mkfifo(at("fifo").c_str(), 0644));
}

// Everything that is there, by name, with content, but without numbers.
void NoteAll(const std::string& directory, Transcript& transcript) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    transcript.Note("path", path.substr(directory.size()));
    transcript.State(path);
    if (S_ISREG(Lstat(path).st_mode)) transcript.Note("content", Read(path));
  }
}

constexpr const char* kNames[] = {"file",
                                  "other file",
                                  "same file",
                                  "empty",
                                  "full",
                                  "full/below",
                                  "full/below/deep",
                                  "link",
                                  "link to directory",
                                  "dangling",
                                  "fifo",
                                  "new",
                                  "full/new",
                                  "no/new",
                                  "file/new",
                                  "empty/",
                                  "file/",
                                  "new/",
                                  "link to directory/",
                                  "dangling/",
                                  ".",
                                  "full/..",
                                  ""};

TEST_F(Names, RenameOfEverythingOverEverythingWithEveryFlag) {
  constexpr unsigned kFlags[] = {0,
                                 RENAME_NOREPLACE,
                                 RENAME_EXCHANGE,
                                 RENAME_WHITEOUT,
                                 RENAME_NOREPLACE | RENAME_EXCHANGE,
                                 RENAME_NOREPLACE | RENAME_WHITEOUT,
                                 RENAME_EXCHANGE | RENAME_WHITEOUT,
                                 8};
  for (const unsigned flags : kFlags) {
    ExpectSame("flags " + std::to_string(flags), [&](const std::string& root, Transcript& seen) {
      const std::string directory = root + "/d";
      for (const char* from : kNames) {
        for (const char* to : kNames) {
          if (mkdir(directory.c_str(), 0755) == 0) MakeObjects(directory);
          const std::string old_path = directory + "/" + from;
          const std::string new_path = directory + "/" + to;
          const long result =
              renameat2(AT_FDCWD, old_path.c_str(), AT_FDCWD, new_path.c_str(), flags);
          seen.Call(std::string(from) + " to " + to, result);
          if (result != 0) continue;
          NoteAll(directory, seen);
          std::filesystem::remove_all(directory);
        }
      }
    });
  }
}

TEST_F(Names, OtherOperationsOnEveryName) {
  ExpectSame("operations", [](const std::string& root, Transcript& seen) {
    using Operation = long (*)(const char*, const char*);
    const struct {
      const char* name;
      Operation call;
    } operations[] = {
        {"unlink", [](const char* path, const char*) -> long { return unlink(path); }},
        {"rmdir", [](const char* path, const char*) -> long { return rmdir(path); }},
        {"mkdir", [](const char* path, const char*) -> long { return mkdir(path, 0700); }},
        {"mkfifo", [](const char* path, const char*) -> long { return mkfifo(path, 0600); }},
        {"symlink", [](const char* path, const char* f) -> long { return symlink(f, path); }},
        {"link", [](const char* path, const char* file) -> long { return link(file, path); }},
        {"link of",
         [](const char* path, const char* file) -> long {
           return link(path, (std::string(file) + ".linked").c_str());
         }},
        {"follow and link",
         [](const char* path, const char* file) -> long {
           return linkat(AT_FDCWD, path, AT_FDCWD, (std::string(file) + ".linked").c_str(),
                         AT_SYMLINK_FOLLOW);
         }},
        {"create",
         [](const char* path, const char*) -> long {
           return UniqueFd(open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NONBLOCK, 0644)).valid()
                      ? 0
                      : -1;
         }},
        {"create anew",
         [](const char* path, const char*) -> long {
           return UniqueFd(open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644)).valid() ? 0
                                                                                              : -1;
         }},
        {"no links",
         [](const char* path, const char*) -> long {
           return UniqueFd(open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)).valid() ? 0
                                                                                               : -1;
         }},
        {"truncate", [](const char* path, const char*) -> long { return truncate(path, 2); }},
        {"chmod", [](const char* path, const char*) -> long { return chmod(path, 0711); }},
        {"lchown", [](const char* path, const char*) -> long { return lchown(path, 7, 8); }},
        {"readlink",
         [](const char* path, const char*) -> long {
           char target[PATH_MAX];
           return readlink(path, target, sizeof target);
         }},
        {"readlink, cut",
         [](const char* path, const char*) -> long {
           char target[2];
           return readlink(path, target, sizeof target);
         }},
    };
    const std::string directory = root + "/d";
    for (const auto& operation : operations) {
      for (const char* name : kNames) {
        if (mkdir(directory.c_str(), 0755) == 0) MakeObjects(directory);
        if (chdir(directory.c_str()) != 0) return;
        const long result = operation.call(name, "other file");
        seen.Call(std::string(operation.name) + " " + name, result);
        if (result != 0) continue;
        NoteAll(directory, seen);
        std::filesystem::remove_all(directory);
      }
    }
  });
}

TEST_F(Names, OfAnyBytesAndLengths) {
  ExpectSame("bytes", [](const std::string& directory, Transcript& seen) {
    std::vector<std::string> names = {std::string(254, 'n'),
                                      std::string(255, 'n'),
                                      std::string(256, 'n'),
                                      std::string(1024, 'n'),
                                      std::string(5000, 'n'),
                                      "\xff\xfe\x80",
                                      "new\nline",
                                      "...",
                                      " ",
                                      "-rf",
                                      "a\tb",
                                      "\xc3\xa4",
                                      "a\xcc\x88",
                                      "A",
                                      "a"};
    for (int c = 1; c < 256; ++c) {
      if (c != '/' && c != '.') names.push_back({static_cast<char>(c)});
    }
    for (const std::string& name : names) {
      const std::string path = directory + "/" + name;
      const UniqueFd fd(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
      seen.Call("create", fd.valid() ? 0 : -1);
      seen.Call("mkdir", mkdir((path + "d").c_str(), 0755));
      seen.Call("rename", rename(path.c_str(), (path + "r").c_str()));
      seen.Call("symlink", symlink(name.substr(0, 4000).c_str(), (path + "l").c_str()));
      seen.Call("look up", access((path + "z").c_str(), F_OK));
      seen.Call("unlink", unlink((path + "r").c_str()));
    }
    std::vector<std::string> listed;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      listed.push_back(entry.path().filename());
    }
    std::sort(listed.begin(), listed.end());
    for (const std::string& name : listed) seen.Note("listed", name);
  });
  ExpectSameTrees("bytes");
}

TEST_F(Names, PathsUpToTheLongest) {
  ExpectSame("paths", [](const std::string& directory, Transcript& seen) {
    if (chdir(directory.c_str()) != 0) return;
    const std::string part(200, 'p');
    std::string path;
    while (path.size() + part.size() + 1 < PATH_MAX) {
      if (!path.empty()) path += "/";
      path += part;
      seen.Call("mkdir", mkdir(path.c_str(), 0755));
    }
    for (size_t length = PATH_MAX - 4; length <= PATH_MAX + 1; ++length) {
      const std::string whole = path + "/" + std::string(length - path.size() - 1, 'f');
      const UniqueFd fd(open(whole.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
      seen.Call("path of " + std::to_string(length), fd.valid() ? 0 : -1);
    }
    // Deeper than a path can say.
    for (int i = 0; i < 30; ++i) {
      seen.Call("mkdir", mkdir(part.c_str(), 0755));
      seen.Call("enter", chdir(part.c_str()));
    }
    Write("deep", "text");
    seen.Call("exchange", renameat2(AT_FDCWD, "deep", AT_FDCWD, "deeper", RENAME_NOREPLACE));
    char here[PATH_MAX];
    seen.Call("getcwd", getcwd(here, sizeof here) == nullptr ? -1 : 0);
    if (chdir(directory.c_str()) != 0) return;
    for (const size_t length : {1, 59, 60, 255, 1023, 1024, 4094, 4095, 4096}) {
      const std::string link = "link" + std::to_string(length);
      seen.Call(link, symlink(std::string(length, 't').c_str(), link.c_str()));
      char target[PATH_MAX + 1];
      seen.Call("read", readlink(link.c_str(), target, sizeof target));
      seen.State(link);
    }
    seen.Call("empty target", symlink("", "empty"));
    // Loops, and chains of links as long as allowed.
    seen.Call("loop", symlink("loop", "loop"));
    seen.Call("open", open("loop", O_RDONLY | O_CLOEXEC));
    Write("chain0", "end");
    for (int i = 0; i < 45; ++i) {
      const std::string name = "chain" + std::to_string(i);
      seen.Call("open", UniqueFd(open(name.c_str(), O_RDONLY | O_CLOEXEC)).valid() ? 0 : -1);
      seen.Call("chain", symlink(name.c_str(), ("chain" + std::to_string(i + 1)).c_str()));
    }
  });
}

TEST_F(Names, LinksToOneFile) {
  ExpectSame("links", [](const std::string& directory, Transcript& seen) {
    const auto at = [&](const std::string& name) { return directory + "/" + name; };
    Write(at("file"), "text");
    for (int i = 0; i < 50; ++i) {
      seen.Call("link", link(at("file").c_str(), at(std::to_string(i)).c_str()));
    }
    seen.Call("chmod", chmod(at("7").c_str(), 0604));
    seen.Call("write", truncate(at("8").c_str(), 100));
    seen.State(at("file"));
    seen.Call("unlink", unlink(at("file").c_str()));
    seen.State(at("49"));
    struct stat one;
    struct stat other;
    stat(at("1").c_str(), &one);
    stat(at("2").c_str(), &other);
    seen.Note("the same", one.st_ino == other.st_ino ? "yes" : "no");
    seen.Call("to a directory", link(directory.c_str(), at("d").c_str()));
    seen.Call("to another filesystem", link("/proc/self/status", at("d").c_str()));
    seen.Call("from another", rename("/proc/self/status", at("d").c_str()));
  });
}

}  // namespace
}  // namespace tandem::test
