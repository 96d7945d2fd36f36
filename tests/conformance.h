// Invariant 6, transparent: the same calls are made in a directory of the mount and in a directory
// of the filesystem beneath, and have to give the same results. What calls gave is written down as
// text, line by line, and the two texts are compared.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/mount_fixture.h"

namespace tandem::test {

// What calls gave, in order.
class Transcript {
 public:
  // A call's result, or the name of its errno if that is negative. Returns the result.
  long Call(std::string_view what, long result);
  void Note(std::string_view what, std::string_view value);
  void Note(std::string_view what, long value) { Note(what, std::to_string(value)); }
  // Kind, mode, owner, links and, of files, size. By lstat.
  void State(const std::string& path);
  void Append(std::string_view text) { text_ += text; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Who makes calls. Without capabilities unless it is root.
struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
};

// Users and groups that no machine has.
inline constexpr uid_t kAlice = 12'001;
inline constexpr uid_t kBob = 12'002;
inline constexpr gid_t kStaff = 12'100;
inline constexpr gid_t kOthers = 12'101;

using Calls = std::function<void(const std::string& directory, Transcript& transcript)>;

// What the calls give when another process makes them, of that user if one is given; a signal that
// kills it stands there too.
std::string InProcess(const std::function<void(Transcript&)>& calls, const User& user = {});

// A mount without a replica, and a directory of the filesystem beneath that is not mounted.
// TANDEM_TEST_OPTIONS adds mount options: "writeback".
class Conformance : public MountTest {
 protected:
  void SetUp() override;

  // Each in a new directory `name` of the two, which the user may write to.
  void ExpectSame(const std::string& name, const Calls& calls, const User& user = {});
  // In two parts: first the same by root on both sides, in new directories `name`,
  void Prepare(const std::string& name, const Calls& calls);
  // then what gives the same to `user` in those directories.
  void ExpectSameTo(const User& user, const std::string& name, const Calls& calls);
  // What the calls did to the two directories `name` is the same as well, times aside.
  void ExpectSameTrees(const std::string& name);
  // For mounts with other options: before the test's first ExpectSame.
  ::testing::AssertionResult MountAgain(std::vector<std::string> options);

  // libfuse 3.14 cannot pass O_TMPFILE on.
  bool HasNamelessFiles() const;

  // Where the test's own calls go.
  std::string OnMount(const std::string& name) const { return mount_.path() + "/" + name; }
  std::string Beneath(const std::string& name) const { return native_ + "/" + name; }

  const std::string native_ = scratch_.Directory("native");
};

}  // namespace tandem::test
