// The two daemons as tests run them: tandemd with its store, tandemfs with its mount. They can be
// killed and started again at any time; when the object goes, so do they, and their mounts.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::test {

using Json = nlohmann::json;
using Environment = std::map<std::string, std::string>;

inline constexpr char kVolume[] = "volume";

// Returns a port of this machine nobody listens on, which is no other test's while this process
// lives.
uint16_t FreePort();

class ReplicaDaemon {
 public:
  // Its store lies in the scratch directory, unless one is given. Its port stays the same.
  ReplicaDaemon(const Scratch& scratch, const std::string& name, std::string store = {});

  // Returns when it accepts connections.
  ::testing::AssertionResult Start(const Environment& environment = {});
  void Kill();                        // SIGKILL
  ::testing::AssertionResult Stop();  // SIGTERM
  // Runs `tandemd invite alice --allow-special --address ADDRESS MORE...` for its store, and puts
  // the token in `file`, which others cannot read.
  ::testing::AssertionResult Invite(const std::string& address, const std::string& file,
                                    const std::vector<std::string>& more = {},
                                    const Environment& environment = {}) const;

  // Runs it as this user, from the next start on; who owns the store.
  void set_user(uid_t user) { user_ = user; }
  // Runs it by this command ("nsenter --net=..."), listening at this URL, from the next start on.
  void Move(std::vector<std::string> under, std::string url) {
    under_ = std::move(under);
    url_ = std::move(url);
  }
  // Whether it may set trusted.* attributes, from the next start on. By default it may.
  void set_trusted_attributes(bool may) { trusted_attributes_ = may; }
  // Arguments beside the store and the URL.
  std::vector<std::string>& more() { return more_; }
  Process& process() { return *process_; }
  const std::string& url() const { return url_; }
  const std::string& store() const { return store_; }
  std::string tree(const std::string& volume = kVolume) const {
    return store_ + "/" + volume + "/tree";
  }

 private:
  std::string store_;
  std::string url_;
  std::optional<uid_t> user_;
  std::vector<std::string> under_;
  bool trusted_attributes_ = true;
  std::vector<std::string> more_;
  std::unique_ptr<Process> process_;
};

class Mount {
 public:
  struct Options {
    std::string source;
    std::string mountpoint;
    std::string state;
    std::string volume = kVolume;
    std::vector<std::string> replicas = {};  // [NAME=]URL
    std::vector<std::string> more = {};
    std::vector<std::string> under = {};  // the command that starts it: "unshare --pid"
    Environment environment = {};
  };
  explicit Mount(Options options) : options_(std::move(options)) {}
  ~Mount();

  // Returns when it is usable and answers.
  ::testing::AssertionResult Start(const Environment& environment = {});
  void Kill();                           // SIGKILL; the dead mount stays, as it would
  ::testing::AssertionResult Unmount();  // cleanly, and waits for the process

  Process& process() { return *process_; }
  Options& options() { return options_; }
  const std::string& path() const { return options_.mountpoint; }
  std::vector<std::string> Command() const { return CommandOf(options_); }
  static std::vector<std::string> CommandOf(const Options& options);

  // The command line for people, about this mount.
  Outcome Tandem(const std::string& subcommand, std::vector<std::string> arguments = {});
  ::testing::AssertionResult Sync(double timeout_seconds = 120, const std::string& replica = {});
  // Of all content, if it does not resume another.
  Outcome Verify(std::vector<std::string> arguments = {});
  // Of content only where size or time differ.
  Outcome VerifyQuickly(std::vector<std::string> arguments = {});
  Json Status();                         // null if nobody answers
  Json ReplicaStatus(size_t index = 0);  // one of "replicas"
  std::string State(size_t index = 0);   // its "state"
  std::string ReplicaError(size_t index = 0);
  uint64_t SentBytes(size_t index = 0);
  bool WaitForState(const std::string& state, size_t index = 0);

 private:
  bool Answers();

  Options options_;
  std::unique_ptr<Process> process_;
};

// What compare_trees says of two trees; holes are compared by allocated blocks within reason.
// `options` of tests/programs/compare_trees.
::testing::AssertionResult SameTrees(const std::string& a, const std::string& b,
                                     std::vector<std::string> options = {});
// Syncs, then compares the source with the replica's tree.
::testing::AssertionResult Converges(Mount& mount, const ReplicaDaemon& replica,
                                     const std::string& name = {});

}  // namespace tandem::test
