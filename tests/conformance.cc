#include "tests/conformance.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "meta/base/unique_fd.h"

namespace tandem::test {
namespace {

std::string NameOfErrno(int code) {
  const char* name = strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

bool Become(const User& user) {
  if (user.uid == 0 && user.gid == 0 && user.groups.empty()) return true;
  return setgroups(user.groups.size(), user.groups.data()) == 0 &&
         setresgid(user.gid, user.gid, user.gid) == 0 &&
         setresuid(user.uid, user.uid, user.uid) == 0;
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[1 << 16];
  for (ssize_t length; (length = read(fd, buffer, sizeof buffer)) != 0;) {
    if (length < 0 && errno != EINTR) break;
    if (length > 0) text.append(buffer, static_cast<size_t>(length));
  }
  return text;
}

std::vector<std::string> GivenOptions() {
  const char* list = std::getenv("TANDEM_TEST_OPTIONS");
  if (list == nullptr || *list == '\0') return {};
  return {"-o", list};
}

}  // namespace

long Transcript::Call(std::string_view what, long result) {
  const int code = errno;
  Note(what, result < 0 ? NameOfErrno(code) : std::to_string(result));
  errno = code;
  return result;
}

void Transcript::Note(std::string_view what, std::string_view value) {
  text_.append(what).append(" = ").append(value).append("\n");
}

void Transcript::State(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  struct stat s;
  if (lstat(path.c_str(), &s) != 0) {
    Call("state of " + name, -1);
    return;
  }
  char text[128];
  snprintf(text, sizeof text, "%o %u:%u", s.st_mode, s.st_uid, s.st_gid);
  std::string state = text;
  if (!S_ISDIR(s.st_mode)) {
    state += " links " + std::to_string(s.st_nlink) + " size " + std::to_string(s.st_size);
  }
  Note("state of " + name, state);
}

std::string InProcess(const std::function<void(Transcript&)>& calls, const User& user) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  UniqueFd from_child(ends[0]);
  UniqueFd to_parent(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    Transcript transcript;
    if (Become(user)) {
      calls(transcript);
    } else {
      transcript.Call("become the user", -1);
    }
    const std::string& text = transcript.text();
    const ssize_t written = write(to_parent.get(), text.data(), text.size());
    _exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  to_parent.Reset();
  std::string text = ReadAll(from_child.get());
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) text += std::string("killed by ") + strsignal(WTERMSIG(status)) + "\n";
  return text;
}

void Conformance::SetUp() {
  MountTest::SetUp();
  if (IsSkipped()) return;
  // Users other than root have to come as far.
  ASSERT_EQ(0, chmod(scratch_.path().c_str(), 0755));
  mount_.options().replicas.clear();
  mount_.options().more = GivenOptions();
  ASSERT_TRUE(mount_.Start());
}

::testing::AssertionResult Conformance::MountAgain(std::vector<std::string> options) {
  if (auto unmounted = mount_.Unmount(); !unmounted) return unmounted;
  mount_.options().more = std::move(options);
  return mount_.Start();
}

bool Conformance::HasNamelessFiles() const {
  const UniqueFd fd(open(mount_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  return fd.valid();
}

void Conformance::ExpectSame(const std::string& name, const Calls& calls, const User& user) {
  SCOPED_TRACE(name);
  std::string texts[2];
  const std::string directories[2] = {OnMount(name), Beneath(name)};
  for (size_t i = 0; i < 2; ++i) {
    const std::string& directory = directories[i];
    ASSERT_EQ(0, mkdir(directory.c_str(), 0755)) << strerror(errno);
    ASSERT_EQ(0, chown(directory.c_str(), user.uid, user.gid)) << strerror(errno);
    texts[i] = InProcess([&](Transcript& transcript) { calls(directory, transcript); }, user);
  }
  EXPECT_EQ(texts[0], texts[1]) << "through the mount, and beneath";
  EXPECT_FALSE(texts[1].empty());
}

void Conformance::Prepare(const std::string& name, const Calls& calls) {
  for (const std::string& directory : {OnMount(name), Beneath(name)}) {
    ASSERT_EQ(0, mkdir(directory.c_str(), 0755)) << strerror(errno);
    Transcript ignored;
    calls(directory, ignored);
  }
}

void Conformance::ExpectSameTo(const User& user, const std::string& name, const Calls& calls) {
  const auto in = [&](const std::string& directory) {
    return InProcess([&](Transcript& transcript) { calls(directory, transcript); }, user);
  };
  EXPECT_EQ(in(OnMount(name)), in(Beneath(name)))
      << name << ": through the mount, and beneath, by user " << user.uid;
}

void Conformance::ExpectSameTrees(const std::string& name) {
  EXPECT_TRUE(SameTrees(OnMount(name), Beneath(name), {"--ignore-mtime", "--no-holes"}));
  EXPECT_TRUE(SameTrees(source_ + "/" + name, Beneath(name), {"--ignore-mtime", "--no-holes"}));
}

}  // namespace tandem::test
