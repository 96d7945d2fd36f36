#include "replica/apply/tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/conformance.h"
#include "tests/files.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

TEST(ReadWithRights, AttributesOfAFileThatItsOwnerMayNotRead) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: it becomes another user";
  const ScratchDirectory scratch;
  const std::string path = scratch.path() + "/file";
  test::Write(path, "content");
  ASSERT_EQ(0, chmod(scratch.path().c_str(), 0755));
  ASSERT_EQ(0, setxattr(path.c_str(), "user.a", "b", 1, 0)) << strerror(errno);
  ASSERT_EQ(0, chown(path.c_str(), test::kAlice, test::kStaff));
  ASSERT_EQ(0, chmod(path.c_str(), 0010));
  const std::string seen = test::InProcess(
      [&](test::Transcript& transcript) {
        const UniqueFd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
        transcript.Call("as it is",
                        meta::ReadAttributes(fd.get(), meta::WithXattrs::kYes) ? 0 : -1);
        const auto read = ReadWithRights(fd.get(), meta::WithXattrs::kYes);
        if (!read) return transcript.Note("error", read.error().ToString());
        transcript.Note("value", read->xattrs.at("user.a"));
        transcript.Note("mode", static_cast<long>(read->permissions));
      },
      {test::kAlice, test::kStaff});
  EXPECT_EQ(seen, "as it is = EACCES\nvalue = b\nmode = 8\n");
  EXPECT_EQ(test::Lstat(path).st_mode & 07777, 0010u);
}

}  // namespace
}  // namespace tandem::replica
