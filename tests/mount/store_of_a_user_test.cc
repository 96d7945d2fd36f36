// tandemd without root: what the modes of the source do not let it read or enter travels all the
// same, and its tree has those modes.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

class StoreOfAUser : public MountTest {
 protected:
  static constexpr uid_t kUser = 65'534;

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(0, chmod(scratch_.path().c_str(), 0755));
    stdfs::create_directories(replica_.store());
    for (const std::string& directory : {source_, replica_.store()}) {
      ASSERT_EQ(0, chown(directory.c_str(), kUser, kUser));
    }
    replica_.set_user(kUser);
    ASSERT_TRUE(StartBoth());
  }
  std::string In(const std::string& name) const { return mount_.path() + "/" + name; }
  void Give(const std::string& name, mode_t mode) {
    ASSERT_EQ(0, chown(In(name).c_str(), kUser, kUser)) << name;
    ASSERT_EQ(0, chmod(In(name).c_str(), mode)) << name;
  }
  void Make(const std::string& name, const std::string& text) {
    Write(In(name), text);
    ASSERT_EQ(0, setxattr(In(name).c_str(), "user.a", "b", 1, 0));
    Give(name, 0);
  }
  // Verifying changes nothing either.
  void ExpectTheSame() {
    ASSERT_TRUE(mount_.Sync());
    for (int i = 0; i < 2; ++i) {
      const Outcome verified = mount_.Verify({"--full"});
      EXPECT_EQ(verified.code, 0) << verified;
      EXPECT_TRUE(SameTrees(source_, replica_.tree()));
    }
  }
};

TEST_F(StoreOfAUser, HasFilesAndDirectoriesThatItsOwnerMayNotReadOrEnter) {
  stdfs::create_directories(In("outer/inner"));
  Make("outer/inner/file", "content");
  Make("file", "content");
  Give("outer/inner", 0111);
  Give("outer", 0);
  ExpectTheSame();
  WriteAt(In("file"), 2, "changed");
  stdfs::rename(In("outer/inner/file"), In("outer/inner/moved"));
  stdfs::rename(In("outer/inner"), In("outer/renamed"));
  ExpectTheSame();
  stdfs::remove_all(In("outer"));
  ExpectTheSame();
}

TEST_F(StoreOfAUser, HasARootOfAnyModeAlsoAfterAKill) {
  for (const mode_t mode : {0000, 0333, 0111, 0444, 0755}) {
    ASSERT_EQ(0, chmod(mount_.path().c_str(), mode));
    stdfs::remove(In("file"));
    Make("file", "with mode " + std::to_string(mode));
    ExpectTheSame();
    replica_.Kill();
    ASSERT_TRUE(replica_.Start());
    Make("another" + std::to_string(mode), "after the kill");
    ExpectTheSame();
  }
}

}  // namespace
}  // namespace tandem::test
