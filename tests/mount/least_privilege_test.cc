// What the daemons keep of root's rights, and that replication needs no more.
#include <linux/capability.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/files.h"
#include "tests/mount_fixture.h"
#include "tools/system_call_filter.h"

namespace tandem::test {
namespace {

namespace stdfs = std::filesystem;

uint64_t Mask(std::initializer_list<int> capabilities) {
  uint64_t mask = 0;
  for (const int capability : capabilities) mask |= uint64_t{1} << capability;
  return mask;
}

const uint64_t kOfReplica =
    Mask({CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP});

// What a field of /proc/PID/task/*/status says, of all threads.
std::set<std::string> FieldOf(pid_t process, const std::string& field) {
  std::set<std::string> values;
  for (const auto& task : stdfs::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with(field + ":\t")) values.insert(line.substr(field.size() + 2));
    }
  }
  return values;
}

std::string Hex(uint64_t mask) {
  char text[32];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(mask));
  return text;
}

class LeastPrivilege : public MountTest {
 protected:
  std::string In(const std::string& name) const { return mount_.path() + "/" + name; }
  void MakeOneOfEach() {
    Write(In("file"), "content");
    ASSERT_EQ(0, chown(In("file").c_str(), 1234, 4321));
    ASSERT_EQ(0, chmod(In("file").c_str(), 06751));
    ASSERT_EQ(0, mknod(In("device").c_str(), S_IFCHR | 0600, makedev(1, 3)));
    Write(In("capable"), "content");
    vfs_cap_data capability = {};
    capability.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
    capability.data[0].permitted = 1 << CAP_NET_RAW;
    ASSERT_EQ(
        0, setxattr(In("capable").c_str(), "security.capability", &capability, XATTR_CAPS_SZ_2, 0));
    // Which only its owner may read, enter or write to.
    stdfs::create_directory(In("closed"));
    Write(In("closed/inside"), "content");
    for (const std::string name : {"closed/inside", "closed"}) {
      ASSERT_EQ(0, chown(In(name).c_str(), 1000, 1000));
      ASSERT_EQ(0, chmod(In(name).c_str(), 0));
    }
  }
};

TEST_F(LeastPrivilege, OfTandemdIsWhatOwnersDevicesAndFileCapabilitiesTake) {
  replica_.set_trusted_attributes(false);
  ASSERT_TRUE(StartBoth());
  MakeOneOfEach();
  ASSERT_TRUE(Converges());
  const pid_t tandemd = replica_.process().pid();
  for (const std::string field : {"CapPrm", "CapEff", "CapBnd"}) {
    EXPECT_EQ(FieldOf(tandemd, field), std::set{Hex(kOfReplica)}) << field;
  }
  for (const std::string field : {"CapInh", "CapAmb"}) {
    EXPECT_EQ(FieldOf(tandemd, field), std::set{Hex(0)}) << field;
  }
  EXPECT_EQ(FieldOf(tandemd, "NoNewPrivs"), std::set<std::string>{"1"});
  EXPECT_EQ(mount_.Verify({"--full"}).code, 0);
  // Changed and removed again.
  ASSERT_EQ(0, chown(In("file").c_str(), 0, 0));
  WriteAt(In("closed/inside"), 2, "changed");
  stdfs::remove(In("device"));
  ASSERT_TRUE(Converges());
  stdfs::remove_all(In("closed"));
  ASSERT_TRUE(Converges());
}

TEST_F(LeastPrivilege, OfTandemdIsAFilterOfSystemCalls) {
  if (!tools::FiltersSystemCalls()) GTEST_SKIP() << "sanitizers use other system calls";
  ASSERT_TRUE(StartBoth());
  Write(In("file"), "content");
  ASSERT_TRUE(Converges());
  EXPECT_EQ(FieldOf(replica_.process().pid(), "Seccomp"), std::set<std::string>{"2"});
}

TEST_F(LeastPrivilege, TandemdMayRunAsAnotherUser) {
  stdfs::create_directories(replica_.store());
  ASSERT_EQ(0, chmod(scratch_.path().c_str(), 0755));
  const passwd* const nobody = getpwnam("nobody");
  ASSERT_NE(nobody, nullptr);
  ASSERT_EQ(0, chown(replica_.store().c_str(), nobody->pw_uid, nobody->pw_gid));
  replica_.more() = {"--user", "nobody"};
  ASSERT_TRUE(StartBoth());
  Write(In("file"), "content");
  ASSERT_TRUE(mount_.Sync());
  EXPECT_EQ(Read(replica_.tree() + "/file"), "content");
  const pid_t tandemd = replica_.process().pid();
  EXPECT_EQ(FieldOf(tandemd, "CapPrm"), std::set{Hex(0)});
  const std::string uid = std::to_string(nobody->pw_uid);
  EXPECT_EQ(FieldOf(tandemd, "Uid"), std::set{uid + "\t" + uid + "\t" + uid + "\t" + uid});
}

TEST_F(LeastPrivilege, TrustedAttributesTakeAnOption) {
  replica_.set_trusted_attributes(false);
  ASSERT_TRUE(StartBoth());
  Write(In("file"), "content");
  ASSERT_EQ(0, setxattr(In("file").c_str(), "trusted.a", "b", 1, 0));
  ASSERT_TRUE(mount_.Sync());
  const Outcome verified = mount_.Verify();
  EXPECT_EQ(verified.code, 4) << verified;
  EXPECT_NE(verified.out.find("trusted.a is missing"), std::string::npos) << verified;
  EXPECT_NE(mount_.Tandem("status").out.find("trusted.a"), std::string::npos);
  ASSERT_TRUE(replica_.Stop());
  replica_.set_trusted_attributes(true);
  ASSERT_TRUE(replica_.Start());
  EXPECT_TRUE(WaitFor([this] { return mount_.Verify({"--repair"}).code <= 1; }));
  ASSERT_TRUE(Converges());
}

TEST_F(LeastPrivilege, OfTandemfsIsWhatActingForUsersTakes) {
  ASSERT_TRUE(StartBoth());
  MakeOneOfEach();
  ASSERT_TRUE(Converges());
  const pid_t tandemfs = mount_.process().pid();
  const uint64_t never = Mask({CAP_SYS_MODULE,
                               CAP_SYS_BOOT,
                               CAP_SYS_RAWIO,
                               CAP_SYS_TIME,
                               CAP_NET_ADMIN,
                               CAP_NET_RAW,
                               CAP_SYSLOG,
                               CAP_MAC_ADMIN,
                               CAP_MAC_OVERRIDE,
                               CAP_AUDIT_CONTROL,
                               CAP_AUDIT_WRITE,
                               CAP_AUDIT_READ,
                               CAP_BPF,
                               CAP_PERFMON,
                               CAP_WAKE_ALARM,
                               CAP_BLOCK_SUSPEND,
                               CAP_CHECKPOINT_RESTORE,
                               CAP_SYS_PACCT,
                               CAP_SYS_TTY_CONFIG,
                               CAP_SYS_CHROOT,
                               CAP_KILL});
  for (const std::string field : {"CapPrm", "CapEff", "CapBnd"}) {
    for (const std::string& value : FieldOf(tandemfs, field)) {
      EXPECT_EQ(std::stoull(value, nullptr, 16) & never, 0u) << field << " " << value;
    }
  }
  EXPECT_EQ(FieldOf(tandemfs, "NoNewPrivs"), std::set<std::string>{"1"});
}

}  // namespace
}  // namespace tandem::test
