#include "tests/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include "meta/base/unique_fd.h"
#include "tests/programs/lib/posix_acl.h"

namespace tandem::test {
namespace {

#define EXPECT_CALL_WORKS(call) EXPECT_EQ(0, call) << #call << ": " << strerror(errno)

void MakeSocket(const std::string& path) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  EXPECT_CALL_WORKS(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
}

void SetXattr(const std::string& path, const char* name, std::string_view value) {
  EXPECT_CALL_WORKS(lsetxattr(path.c_str(), name, value.data(), value.size(), 0));
}

void SetAcl(const std::string& path, const char* name, uint32_t user) {
  programs::PosixAcl acl;
  acl.users[user] = 6;
  SetXattr(path, name, programs::EncodeAcl(acl));
}

void MakeSparse(const std::string& path) {
  WriteAt(path, 0, RandomBytes(4096, 11));
  WriteAt(path, 8 * kMiB, RandomBytes(4096, 12));
  EXPECT_CALL_WORKS(truncate(path.c_str(), 16 * kMiB));
}

}  // namespace

void Write(const std::string& path, std::string_view content) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd.valid()) << path << ": " << strerror(errno);
  ASSERT_EQ(static_cast<ssize_t>(content.size()), write(fd.get(), content.data(), content.size()))
      << path << ": " << strerror(errno);
}

void WriteAt(const std::string& path, uint64_t offset, std::string_view bytes) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd.valid()) << path << ": " << strerror(errno);
  ASSERT_EQ(static_cast<ssize_t>(bytes.size()),
            pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)))
      << path << ": " << strerror(errno);
}

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path << ": " << strerror(errno);
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

std::string ReadAt(const std::string& path, uint64_t offset, size_t length) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path << ": " << strerror(errno);
  std::string bytes(length, '\0');
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(bytes.data(), static_cast<std::streamsize>(length));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

std::string RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t value = random();
    std::memcpy(bytes.data() + at, &value, std::min(sizeof value, size - at));
  }
  return bytes;
}

struct stat Lstat(const std::string& path) {
  struct stat found {};
  EXPECT_CALL_WORKS(lstat(path.c_str(), &found)) << path;
  return found;
}

void SetTimes(const std::string& path, timespec access, timespec modification) {
  const timespec times[] = {access, modification};
  EXPECT_CALL_WORKS(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW)) << path;
}

void MakeEveryKind(const std::string& directory) {
  const auto at = [&](const char* name) { return directory + "/" + name; };
  EXPECT_CALL_WORKS(mkdir(at("dir").c_str(), 0755));
  EXPECT_CALL_WORKS(mkdir(at("dir/deeper").c_str(), 0700));
  EXPECT_CALL_WORKS(mkdir(at("dir/empty").c_str(), 01777));
  Write(at("file"), RandomBytes(300'000));
  Write(at("empty"), "");
  Write(at("dir/text"), "some text\n");
  Write(at("dir/deeper/large"), RandomBytes(3 * kMiB, 2));
  Write(at("to-be-removed"), "here today\n");
  Write(at("to-be-replaced"), RandomBytes(kMiB, 3));
  Write(at("suid"), "#!/bin/true\n");
  EXPECT_CALL_WORKS(chown(at("suid").c_str(), 1000, 1001));
  EXPECT_CALL_WORKS(chmod(at("suid").c_str(), 06755));
  MakeSparse(at("sparse"));
  EXPECT_CALL_WORKS(symlink("dir/text", at("symlink").c_str()));
  EXPECT_CALL_WORKS(symlink("/nowhere/at/all", at("dangling").c_str()));
  EXPECT_CALL_WORKS(lchown(at("dangling").c_str(), 7, 8));
  EXPECT_CALL_WORKS(link(at("file").c_str(), at("dir/hard-link").c_str()));
  EXPECT_CALL_WORKS(mkfifo(at("fifo").c_str(), 0640));
  MakeSocket(at("socket"));
  EXPECT_CALL_WORKS(mknod(at("null").c_str(), S_IFCHR | 0666, makedev(1, 3)));
  EXPECT_CALL_WORKS(mknod(at("block").c_str(), S_IFBLK | 0600, makedev(7, 200)));
  SetXattr(at("file"), "user.colour", "blue");
  SetXattr(at("dir"), "user.long", std::string(900, 'x'));
  SetXattr(at("dangling"), "trusted.of-a-symlink", "yes");
  SetAcl(at("dir/text"), "system.posix_acl_access", 1234);
  SetAcl(at("dir"), "system.posix_acl_default", 4321);
  SetTimes(at("file"), {1'000'000'000, 1}, {999'999'999, 987'654'321});
  SetTimes(at("dangling"), {1, 2}, {3, 4});
  SetTimes(at("dir/empty"), {86'400, 5}, {86'401, 6});
}

void ChangeEveryKind(const std::string& directory) {
  const auto at = [&](const char* name) { return directory + "/" + name; };
  WriteAt(at("file"), 100'000, RandomBytes(5000, 4));
  Write(at("empty"), "not empty any more\n");
  WriteAt(at("dir/deeper/large"), 4 * kMiB, RandomBytes(10'000, 5));
  EXPECT_CALL_WORKS(truncate(at("dir/deeper/large").c_str(), 2 * kMiB + 17));
  EXPECT_CALL_WORKS(unlink(at("to-be-removed").c_str()));
  Write(at("replacement"), RandomBytes(kMiB + 100, 3));
  EXPECT_CALL_WORKS(rename(at("replacement").c_str(), at("to-be-replaced").c_str()));
  EXPECT_CALL_WORKS(chmod(at("suid").c_str(), 0711));
  EXPECT_CALL_WORKS(chown(at("dir").c_str(), 12, 13));
  WriteAt(at("sparse"), 12 * kMiB, "in the hole");
  const UniqueFd sparse(open(at("sparse").c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_CALL_WORKS(fallocate(sparse.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  EXPECT_CALL_WORKS(unlink(at("symlink").c_str()));
  EXPECT_CALL_WORKS(symlink("file", at("symlink").c_str()));
  EXPECT_CALL_WORKS(rename(at("fifo").c_str(), at("dir/fifo").c_str()));
  EXPECT_CALL_WORKS(rename(at("dir/deeper").c_str(), at("moved").c_str()));
  EXPECT_CALL_WORKS(link(at("dir/text").c_str(), at("moved/another-link").c_str()));
  EXPECT_CALL_WORKS(unlink(at("dir/hard-link").c_str()));
  EXPECT_CALL_WORKS(rmdir(at("dir/empty").c_str()));
  Write(at("dir/empty"), "a file where a directory was\n");
  SetXattr(at("file"), "user.colour", "green");
  EXPECT_CALL_WORKS(lremovexattr(at("dir").c_str(), "user.long"));
  SetAcl(at("dir/text"), "system.posix_acl_access", 99);
  SetTimes(at("null"), {10, 11}, {12, 13});
  MakeSocket(at("dir/socket"));
}

}  // namespace tandem::test
