// Two sources with one identity: a machine and its clone. Here the clone runs in a mount namespace,
// in which a copy of the source stands at the source's path.
#include <signal.h>

#include <memory>

#include "tests/files.h"
#include "tests/mount_fixture.h"

namespace tandem::test {
namespace {

class Clone {
 public:
  // Copies what the original, which is not running, has.
  explicit Clone(Mount& original, const Scratch& scratch)
      : original_(original.options()),
        copy_(scratch.Path("source.clone")),
        state_(scratch.Path("state.clone")),
        mountpoint_(scratch.Directory("mount.clone")) {
    for (const auto& [from, to] :
         {std::pair(original_.source, copy_), std::pair(original_.state, state_)}) {
      const Outcome copied = Execute({"cp", "-a", from, to});
      EXPECT_EQ(copied.code, 0) << copied;
    }
  }
  ~Clone() { Kill(); }

  const std::string& source() const { return copy_; }
  const std::string& error() const { return error_; }

  ::testing::AssertionResult Start() {
    std::vector<std::string> command = {
        "unshare", "--mount", "--propagation", "private", "sh", "-c",
        // Nothing is to hold the original's mount.
        "mount --bind \"$0\" \"$1\" && umount -l \"$2\" && shift 2 && exec \"$@\"", copy_,
        original_.source, original_.mountpoint, Program("tandemfs"), original_.source, mountpoint_,
        "-f", "--volume", original_.volume, "--state", state_};
    for (const std::string& replica : original_.replicas) {
      command.insert(command.end(), {"--replica", replica});
    }
    process_ = std::make_unique<Process>(Launch{std::move(command)});
    const bool ready = WaitFor([this] { return !State().empty() || !process_->running(); });
    if (ready && process_->running()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << process_->err();
  }
  void Kill() {
    if (process_ == nullptr) return;
    process_->Signal(SIGKILL);
    process_->Wait();
    process_.reset();
  }

  // Through its mount, which only its namespace has.
  void Write(const std::string& name, const std::string& content) {
    const Outcome written =
        Execute({"nsenter", "-t", std::to_string(process_->pid()), "--mount", "sh", "-c",
                 "printf %s \"$1\" > \"$0\"", mountpoint_ + "/" + name, content});
    EXPECT_EQ(written.code, 0) << written;
  }
  std::string State() {
    const Outcome outcome = Execute({Program("tandem"), "status", mountpoint_, "--json"});
    const Json json = Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("replicas")) return "";
    error_ = json["replicas"][0].value("error", "");
    return json["replicas"][0].value("state", "");
  }
  bool WaitForState(const std::string& state) {
    return WaitFor([&] { return State() == state; });
  }
  Outcome Sync() { return Execute({Program("tandem"), "sync", mountpoint_, "--timeout", "60"}); }

 private:
  const Mount::Options original_;
  const std::string copy_;
  const std::string state_;
  const std::string mountpoint_;
  std::string error_;
  std::unique_ptr<Process> process_;
};

using Clones = MountTest;

TEST_F(Clones, OneWritesAndTheOtherIsToldWhyNotUntilTheFirstEnds) {
  ASSERT_TRUE(StartBoth());
  Write(mount_.path() + "/both", "from before");
  Write(mount_.path() + "/changed by both", "from before");
  ASSERT_TRUE(Converges());
  ASSERT_TRUE(mount_.Unmount());
  Clone clone(mount_, scratch_);

  ASSERT_TRUE(mount_.Start());
  ASSERT_TRUE(Converges());
  ASSERT_TRUE(clone.Start());
  ASSERT_TRUE(clone.WaitForState("blocked"));
  const size_t first = clone.error().find(":" + source_);
  EXPECT_NE(first, std::string::npos) << clone.error();
  EXPECT_NE(clone.error().find(":" + source_, first + 1), std::string::npos) << clone.error();
  EXPECT_NE(clone.error().find("cloned"), std::string::npos) << clone.error();

  // The one that writes does not notice.
  for (int i = 0; i < 5; ++i) {
    clone.Write("changed by both", "by the clone " + std::to_string(i));
    clone.Write("only in the clone", "x");
    Write(mount_.path() + "/changed by both", "by the original " + std::to_string(i));
    Write(mount_.path() + "/only in the original " + std::to_string(i), "y");
    ASSERT_TRUE(Converges());
    EXPECT_EQ(mount_.State(), "current") << mount_.ReplicaError();
    EXPECT_EQ(clone.State(), "blocked");
  }

  // Now the clone has the replica to itself, which has what the clone never saw.
  ASSERT_TRUE(mount_.Unmount());
  ASSERT_TRUE(clone.WaitForState("current")) << clone.error();
  EXPECT_EQ(clone.Sync().code, 0);
  EXPECT_TRUE(SameTrees(clone.source(), replica_.tree()));
  EXPECT_EQ(Read(replica_.tree() + "/changed by both"), "by the clone 4");

  ASSERT_TRUE(mount_.Start());
  EXPECT_TRUE(mount_.WaitForState("blocked"));
  EXPECT_EQ(clone.State(), "current");
  clone.Kill();
  EXPECT_TRUE(mount_.WaitForState("current")) << mount_.ReplicaError();
  EXPECT_TRUE(Converges());
  EXPECT_EQ(Read(replica_.tree() + "/changed by both"), "by the original 4");
}

}  // namespace
}  // namespace tandem::test
