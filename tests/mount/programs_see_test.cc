// What processes notice of one another and of the filesystem: locks, leases, inotify, signals,
// programs that run, devices.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "meta/base/unique_fd.h"
#include "tests/conformance.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

class Programs : public Conformance {};

UniqueFd Open(const std::string& path, int flags) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC, 0644));
}

TEST_F(Programs, LocksExcludeOneAnother) {
  ExpectSame("locks", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/file";
    Write(path, std::string(100, 'x'));
    const UniqueFd own = Open(path, O_RDWR);
    const UniqueFd second = Open(path, O_RDWR);
    const UniqueFd reader = Open(path, O_RDONLY);
    const auto in_another = [&](const std::function<void(Transcript&)>& calls) {
      seen.Append(InProcess(calls));
    };
    const auto lock = [](short type, off_t start, off_t length) {
      struct flock request = {};
      request.l_type = type;
      request.l_whence = SEEK_SET;
      request.l_start = start;
      request.l_len = length;
      return request;
    };
    struct flock request = lock(F_WRLCK, 10, 20);
    seen.Call("lock", fcntl(own.get(), F_SETLK, &request));
    in_another([&](Transcript& inner) {
      for (const off_t at : {0, 9, 10, 25, 30}) {
        struct flock asked = lock(F_RDLCK, at, 1);
        inner.Call("get", fcntl(own.get(), F_GETLK, &asked));
        inner.Note("type", asked.l_type);
        inner.Note("start", asked.l_type == F_UNLCK ? -1 : asked.l_start);
        inner.Note("the parent's", asked.l_type == F_UNLCK || asked.l_pid == getppid() ? 1 : 0);
        asked = lock(F_WRLCK, at, 1);
        inner.Call("lock", fcntl(own.get(), F_SETLK, &asked));
      }
    });
    request = lock(F_UNLCK, 15, 5);
    seen.Call("split", fcntl(own.get(), F_SETLK, &request));
    in_another([&](Transcript& inner) {
      struct flock asked = lock(F_WRLCK, 16, 2);
      inner.Call("lock", fcntl(own.get(), F_SETLK, &asked));
    });
    request = lock(F_WRLCK, 0, 1);
    seen.Call("write lock of a reader", fcntl(reader.get(), F_SETLK, &request));
    request = lock(F_RDLCK, 50, 0);
    seen.Call("of the open file", fcntl(own.get(), F_OFD_SETLK, &request));
    request = lock(F_WRLCK, 60, 0);
    seen.Call("by another", fcntl(second.get(), F_OFD_SETLK, &request));
    for (const int how : {LOCK_SH, LOCK_EX}) {
      seen.Call("flock", flock(own.get(), how | LOCK_NB));
      seen.Call("shared", flock(second.get(), LOCK_SH | LOCK_NB));
      seen.Call("exclusive", flock(reader.get(), LOCK_EX | LOCK_NB));
      in_another([&](Transcript& inner) {
        const UniqueFd again = Open(path, O_RDWR);
        inner.Call("flock", flock(again.get(), LOCK_EX | LOCK_NB));
        inner.Call("inherited", flock(own.get(), LOCK_EX | LOCK_NB));
      });
      seen.Call("unlock", flock(second.get(), LOCK_UN));
    }
    // Closing any descriptor of the file drops the process's locks.
    Open(path, O_RDONLY);
    in_another([&](Transcript& inner) {
      struct flock asked = lock(F_WRLCK, 10, 1);
      inner.Call("lock", fcntl(own.get(), F_SETLK, &asked));
    });
  });
}

TEST_F(Programs, AWaitForALockEndsWithTheLockOrASignal) {
  ExpectSame("waits", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/file";
    UniqueFd own = Open(path, O_RDWR | O_CREAT);
    seen.Call("flock", flock(own.get(), LOCK_EX));
    int ends[2];
    if (pipe(ends) != 0) return;
    const pid_t child = fork();
    if (child == 0) {
      struct sigaction action = {};
      action.sa_handler = [](int) {};
      sigaction(SIGUSR1, &action, nullptr);
      own.Reset();  // the lock is the parent's then
      const UniqueFd fd = Open(path, O_RDWR);
      const auto tell = [&](const char* text) {
        if (write(ends[1], text, 1) != 1) _exit(1);
      };
      tell("w");
      tell(flock(fd.get(), LOCK_EX) != 0 && errno == EINTR ? "i" : "?");
      tell(flock(fd.get(), LOCK_EX) == 0 ? "l" : "?");
      _exit(0);
    }
    const auto hear = [&] {
      char text = '-';
      if (read(ends[0], &text, 1) == 1) seen.Note("the child", std::string(1, text));
    };
    const std::string wchan = "/proc/" + std::to_string(child) + "/stat";
    const auto sleeps = [&] {
      const std::string stat = Read(wchan);
      return stat.find(") S") != std::string::npos;
    };
    hear();
    WaitFor(sleeps);
    kill(child, SIGUSR1);
    hear();
    WaitFor(sleeps);
    own.Reset();
    hear();
    waitpid(child, nullptr, 0);
  });
}

TEST_F(Programs, Leases) {
  ExpectSame("leases", [](const std::string& directory, Transcript& seen) {
    const std::string path = directory + "/file";
    Write(path, "text");
    const UniqueFd reader = Open(path, O_RDONLY);
    std::signal(SIGIO, SIG_IGN);
    seen.Call("read lease", fcntl(reader.get(), F_SETLEASE, F_RDLCK));
    seen.Call("get", fcntl(reader.get(), F_GETLEASE));
    seen.Call("write lease", fcntl(reader.get(), F_SETLEASE, F_WRLCK));
    seen.Call("break it", Open(path, O_WRONLY | O_NONBLOCK).valid() ? 0 : -1);
    seen.Call("get", fcntl(reader.get(), F_GETLEASE));
    seen.Call("give it up", fcntl(reader.get(), F_SETLEASE, F_UNLCK));
    const UniqueFd writer = Open(path, O_WRONLY | O_NONBLOCK);
    seen.Call("open", writer.valid() ? 0 : -1);
    seen.Call("read lease", fcntl(reader.get(), F_SETLEASE, F_RDLCK));
  });
}

std::string NamesOf(uint32_t mask) {
  std::string text;
  const std::pair<uint32_t, const char*> bits[] = {
      {IN_ACCESS, "access "},           {IN_MODIFY, "modify "},
      {IN_ATTRIB, "attrib "},           {IN_CLOSE_WRITE, "close-write "},
      {IN_CLOSE_NOWRITE, "close "},     {IN_OPEN, "open "},
      {IN_MOVED_FROM, "moved-from "},   {IN_MOVED_TO, "moved-to "},
      {IN_CREATE, "create "},           {IN_DELETE, "delete "},
      {IN_DELETE_SELF, "delete-self "}, {IN_MOVE_SELF, "move-self "},
      {IN_IGNORED, "ignored "},         {IN_ISDIR, "directory "},
      {IN_UNMOUNT, "unmount "}};
  for (const auto& [bit, name] : bits) {
    if ((mask & bit) != 0) text += name;
  }
  return text;
}

TEST_F(Programs, InotifyTellsOfWhatIsDone) {
  ExpectSame("watched", [](const std::string& directory, Transcript& seen) {
    const UniqueFd watcher(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    mkdir((directory + "/below").c_str(), 0755);
    Write(directory + "/file", "text");
    seen.Call("watch", inotify_add_watch(watcher.get(), directory.c_str(), IN_ALL_EVENTS));
    const auto at = [&](const char* name) { return directory + "/" + name; };
    seen.Call("watch", inotify_add_watch(watcher.get(), at("file").c_str(), IN_ALL_EVENTS));
    const auto note = [&](const char* what) {
      seen.Note("after", what);
      alignas(inotify_event) char buffer[16384];
      const ssize_t length = read(watcher.get(), buffer, sizeof buffer);
      for (ssize_t i = 0; i < length;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + i);
        seen.Note(event->len > 0 ? event->name : "(itself)", NamesOf(event->mask));
        i += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    };
    Write(at("new"), "new");
    note("create and write");
    ReadAt(at("new"), 0, 3);
    note("read");
    chmod(at("new").c_str(), 0600);
    note("chmod");
    rename(at("new").c_str(), at("renamed").c_str());
    note("rename");
    rename(at("renamed").c_str(), at("file").c_str());
    note("rename over");
    link(at("file").c_str(), at("linked").c_str());
    note("link");
    unlink(at("linked").c_str());
    note("unlink");
    rename(at("file").c_str(), at("below/file").c_str());
    note("move away");
    mkdir(at("directory").c_str(), 0755);
    rmdir(at("directory").c_str());
    note("mkdir and rmdir");
    truncate(at("below/file").c_str(), 0);
    note("truncate elsewhere");
    symlink("x", at("link").c_str());
    mkfifo(at("fifo").c_str(), 0644);
    note("symlink and mkfifo");
  });
}

TEST_F(Programs, InotifyTellsOfWhatOthersDo) {
  const UniqueFd watcher(inotify_init1(IN_CLOEXEC));
  ASSERT_GE(inotify_add_watch(watcher.get(), mount_.path().c_str(), IN_CREATE | IN_CLOSE_WRITE), 0);
  ASSERT_EQ(Execute({"sh", "-c", "echo x > " + OnMount("file")}).code, 0);
  pollfd ready = {watcher.get(), POLLIN, 0};
  EXPECT_EQ(1, poll(&ready, 1, 10'000));
}

TEST_F(Programs, FifosAndSocketsJoinProcesses) {
  ExpectSame("joined", [](const std::string& directory, Transcript& seen) {
    const std::string fifo = directory + "/fifo";
    seen.Call("mkfifo", mkfifo(fifo.c_str(), 0644));
    seen.Call("nobody reads", Open(fifo, O_WRONLY | O_NONBLOCK).valid() ? 0 : -1);
    const UniqueFd reader = Open(fifo, O_RDONLY | O_NONBLOCK);
    const UniqueFd writer = Open(fifo, O_WRONLY);
    seen.Call("write", write(writer.get(), "through", 7));
    char text[16] = {};
    seen.Call("read", read(reader.get(), text, sizeof text));
    seen.Note("text", text);
    seen.Call("seek", lseek(reader.get(), 0, SEEK_SET));
    const UniqueFd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (chdir(directory.c_str()) != 0) return;
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::string("socket").copy(address.sun_path, sizeof address.sun_path - 1);
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    seen.Call("bind", bind(server.get(), plain, sizeof address));
    seen.Call("bind again", bind(client.get(), plain, sizeof address));
    seen.Call("refused", connect(client.get(), plain, sizeof address));
    seen.Call("listen", listen(server.get(), 1));
    seen.Call("connect", connect(client.get(), plain, sizeof address));
    seen.Call("open", Open("socket", O_RDWR).valid() ? 0 : -1);
    seen.State("socket");
  });
}

TEST_F(Programs, AnInterruptedProgramEndsAtOnce) {
  // Killed in the middle of anything: whatever it waits for is answered soon.
  ExpectSame("killed", [](const std::string& directory, Transcript& seen) {
    for (int i = 0; i < 30; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        const std::string name = directory + "/" + std::to_string(i);
        const UniqueFd fd = Open(name, O_RDWR | O_CREAT | O_APPEND);
        const std::string bytes(1 << 20, 'x');
        while (true) {
          if (write(fd.get(), bytes.data(), bytes.size()) < 0 || ftruncate(fd.get(), 0) != 0 ||
              mkdir((name + "d").c_str(), 0755) != 0 || rmdir((name + "d").c_str()) != 0 ||
              fdatasync(fd.get()) != 0) {
            _exit(1);
          }
        }
      }
      const std::string name = directory + "/" + std::to_string(i);
      WaitFor([&] { return access(name.c_str(), F_OK) == 0; });
      kill(child, SIGKILL);
      int status = 0;
      seen.Call("end", waitpid(child, &status, 0) == child ? 0 : -1);
      seen.Note("signal", WTERMSIG(status));
      struct stat s;
      seen.Call("stat", stat(name.c_str(), &s));
    }
  });
}

TEST_F(Programs, ReadsAndWritesAreNotTornBySignals) {
  ExpectSame("signals", [](const std::string& directory, Transcript& seen) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // without SA_RESTART
    sigaction(SIGALRM, &action, nullptr);
    const itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, nullptr);
    const UniqueFd fd = Open(directory + "/file", O_RDWR | O_CREAT);
    std::string bytes = RandomBytes(1 << 20);
    long failures = 0;
    for (int i = 0; i < 40; ++i) {
      const auto length = static_cast<ssize_t>(bytes.size());
      failures += pwrite(fd.get(), bytes.data(), bytes.size(), i * 1000) != length;
      failures += pread(fd.get(), bytes.data(), bytes.size(), i * 1000) != length;
      const std::string name = directory + "/" + std::to_string(i);
      failures += mkdir(name.c_str(), 0755) != 0;
      failures += rename(name.c_str(), (name + "r").c_str()) != 0;
      failures += rmdir((name + "r").c_str()) != 0;
      failures += access(name.c_str(), F_OK) == 0;
    }
    const itimerval never = {};
    setitimer(ITIMER_REAL, &never, nullptr);
    seen.Note("failures", failures);
  });
}

TEST_F(Programs, RunFromTheMount) {
  ExpectSame("run", [](const std::string& directory, Transcript& seen) {
    const auto at = [&](const char* name) { return directory + "/" + name; };
    seen.Call("copy", Execute({"cp", "/bin/id", at("id")}).code);
    seen.Append(Execute({at("id"), "-u"}).out);
    Write(at("script"), "#!/bin/sh\necho script $1\n");
    seen.Call("not executable", Execute({at("script")}).code);
    chmod(at("script").c_str(), 0755);
    seen.Append(Execute({at("script"), "argument"}).out);
    Write(at("no interpreter"), "#!/no/such/program\n");
    chmod(at("no interpreter").c_str(), 0755);
    seen.Call("no interpreter", Execute({at("no interpreter")}).code);
    symlink("script", at("link").c_str());
    seen.Append(Execute({at("link"), "by link"}).out);
    seen.Call("a directory", Execute({directory}).code);
  });
}

// With set-user-ID programs, which -o suid allows.
std::string IdsOf(const std::string& directory, const User& user) {
  return InProcess(
      [&](Transcript& seen) {
        for (const char* name : {"/setuid", "/setgid", "/plain"}) {
          const Outcome outcome = Execute({directory + name, "-u"});
          const Outcome group = Execute({directory + name, "-g"});
          seen.Note(name, outcome.out + group.out);
        }
      },
      user);
}

void MakePrograms(const std::string& directory) {
  ASSERT_EQ(0, mkdir(directory.c_str(), 0755));
  const std::pair<const char*, mode_t> programs[] = {
      {"/setuid", 04755}, {"/setgid", 02755}, {"/plain", 0755}};
  for (const auto& [name, mode] : programs) {
    ASSERT_EQ(Execute({"cp", "/usr/bin/id", directory + name}).code, 0);
    ASSERT_EQ(0, chown((directory + name).c_str(), 12'007, 12'107));
    ASSERT_EQ(0, chmod((directory + name).c_str(), mode));
  }
}

TEST_F(Programs, SetuidIsHonouredWhereTheOptionAllowsIt) {
  MakePrograms(Beneath("programs"));
  MakePrograms(OnMount("programs"));
  const User user{12'001, 12'001};
  EXPECT_EQ(IdsOf(OnMount("programs"), user).find("12007"), std::string::npos);
  ASSERT_TRUE(MountAgain({"-o", "suid"}));
  EXPECT_EQ(IdsOf(OnMount("programs"), user), IdsOf(Beneath("programs"), user));
  EXPECT_NE(IdsOf(OnMount("programs"), user).find("12007"), std::string::npos);
}

TEST_F(Programs, DevicesOpenWhereTheOptionAllowsIt) {
  const auto calls = [](const std::string& directory, Transcript& seen) {
    const std::string null = directory + "/null";
    seen.Call("mknod", mknod(null.c_str(), S_IFCHR | 0666, makedev(1, 3)));
    seen.Call("mknod zero", mknod((directory + "/zero").c_str(), S_IFCHR | 0444, makedev(1, 5)));
    seen.Call("no driver", mknod((directory + "/no").c_str(), S_IFBLK | 0600, makedev(240, 77)));
    const UniqueFd fd = Open(null, O_RDWR);
    seen.Call("open", fd.valid() ? 0 : -1);
    seen.Call("write", write(fd.get(), "gone", 4));
    char byte = 'x';
    const UniqueFd zero = Open(directory + "/zero", O_RDONLY);
    seen.Call("read", read(zero.get(), &byte, 1));
    seen.Note("byte", byte);
    seen.Call("open", Open(directory + "/no", O_RDONLY).valid() ? 0 : -1);
    struct stat s;
    seen.Call("stat", stat(null.c_str(), &s));
    seen.Note("device", static_cast<long>(s.st_rdev));
  };
  ASSERT_EQ(0, mknod(OnMount("null").c_str(), S_IFCHR | 0666, makedev(1, 3)));
  EXPECT_FALSE(Open(OnMount("null"), O_RDONLY).valid());
  EXPECT_EQ(errno, EACCES);
  ASSERT_TRUE(MountAgain({"-o", "dev"}));
  ExpectSame("devices", calls);
}

}  // namespace
}  // namespace tandem::test
