#include "tests/status_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "meta/base/unique_fd.h"
#include "tests/files.h"

namespace tandem::test {
namespace {

constexpr char kCounter[] = "/counter";
constexpr milliseconds kWriteEvery{3};
constexpr milliseconds kSampleEvery{30};
// Both clocks are read at slightly different instants, and lag is rounded.
constexpr milliseconds kRounding{2};
// What status calls current is not further behind.
constexpr double kCurrentLagSeconds = 3;
constexpr size_t kLiesTold = 5;

// Eight bytes in one page, which a write replaces at once. The file may be another after the daemon
// was killed, and out of the tree for a moment while that is brought forward again.
uint64_t CounterIn(const std::string& tree) {
  const std::string path = tree + kCounter;
  uint64_t value = 0;
  const bool read = WaitFor([&] {
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return pread(fd.get(), &value, sizeof value, 0) == static_cast<ssize_t>(sizeof value);
  });
  EXPECT_TRUE(read) << path << ": " << strerror(errno);
  return value;
}

}  // namespace

StatusWatch::StatusWatch(Mount& mount, std::vector<std::string> volumes)
    : mount_(mount), volumes_(std::move(volumes)), links_(volumes_.size()) {
  test::Write(mount_.path() + kCounter, std::string(sizeof(uint64_t), '\0'));
}

StatusWatch::~StatusWatch() {
  stopping_ = true;
  if (writer_.joinable()) writer_.join();
  if (sampler_.joinable()) sampler_.join();
}

void StatusWatch::Begin() {
  {
    MutexLock lock(mutex_);
    written_.push_back({Clock::now(), 0});
    for (Link& link : links_) link.since = Clock::now();
  }
  writer_ = std::thread([this] { Write(); });
  sampler_ = std::thread([this] { Sample(); });
}

void StatusWatch::End() {
  stopping_ = true;
  writer_.join();
  sampler_.join();
  std::cout << samples_ << " times status was held against the disks:";
  for (const auto& [state, times] : states_) std::cout << " " << state << " " << times;
  std::cout << "\n";
  EXPECT_GT(samples_, 10u);
  MutexLock lock(mutex_);
  EXPECT_GT(written_.back().value, 100u);
  EXPECT_EQ(lies_.size(), 0u);
  for (size_t i = 0; i < std::min(lies_.size(), kLiesTold); ++i) ADD_FAILURE() << lies_[i];
}

void StatusWatch::SetLink(size_t replica, LinkState state) {
  MutexLock lock(mutex_);
  const bool killed = links_[replica].killed || state == LinkState::kKilled;
  links_[replica] = {state, Clock::now(), killed};
}

void StatusWatch::Write() {
  const UniqueFd fd(open((mount_.path() + kCounter).c_str(), O_WRONLY | O_CLOEXEC));
  for (uint64_t value = 1; !stopping_; ++value) {
    if (pwrite(fd.get(), &value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
      ADD_FAILURE() << "write the counter: " << strerror(errno);
      return;
    }
    {
      MutexLock lock(mutex_);
      written_.push_back({Clock::now(), value});
    }
    std::this_thread::sleep_for(kWriteEvery);
  }
}

uint64_t StatusWatch::WrittenBy(Clock::time_point time) {
  MutexLock lock(mutex_);
  const auto after =
      std::ranges::upper_bound(written_, time, {}, [](const Written& one) { return one.at; });
  return after == written_.begin() ? 0 : std::prev(after)->value;
}

void StatusWatch::Sample() {
  while (!stopping_) {
    const auto asked = Clock::now();
    const Json status = mount_.Status();
    if (!status.is_object() || status["replicas"].size() != volumes_.size()) {
      ADD_FAILURE() << "status: " << status.dump(2);
      return;
    }
    for (size_t i = 0; i < volumes_.size(); ++i) Check(i, status["replicas"][i], asked);
    ++samples_;
    std::this_thread::sleep_for(kSampleEvery);
  }
}

// The answer was made after `asked`, and the disks are read after it has come: a replica that was
// as near as status says has at least what had been written when it was asked.
void StatusWatch::Check(size_t i, const Json& said, Clock::time_point asked) {
  Link link;
  {
    MutexLock lock(mutex_);
    link = links_[i];
  }
  ++states_[said.value("state", "")];
  CheckProgress(i, said, asked, link.killed);
  if (link.since < asked) CheckState(i, said, link, asked - link.since);
}

// A daemon that was killed first applies once more what it had applied and not synced. Meanwhile
// its marker says so, and its tree may show older content than status has known it to have.
void StatusWatch::CheckProgress(size_t i, const Json& said, Clock::time_point asked, bool killed) {
  const auto is_before = [&] {
    const Json applied = Json::parse(Read(volumes_[i] + "/applied"), nullptr, false);
    return applied.value("epoch", uint64_t{0}) < said.value("applied_cut", uint64_t{0});
  };
  const bool was_before = is_before();
  const uint64_t has = CounterIn(volumes_[i] + "/tree");
  if (was_before || is_before()) {
    if (!killed) Lie(i, said, "its disk is at " + Read(volumes_[i] + "/applied"));
    return;
  }
  const auto expect = [&](Clock::time_point written, const std::string& claim) {
    const uint64_t least = WrittenBy(written - kRounding);
    if (has >= least) return;
    Lie(i, said,
        claim + ", but its disk has " + std::to_string(has) + " where " + std::to_string(least) +
            " had been written by then");
  };
  const std::chrono::duration<double> lag(said.value("lag_seconds", -1.0));
  expect(asked - std::chrono::duration_cast<Clock::duration>(lag),
         "it lags " + std::to_string(lag.count()) + " s behind");
  const Json pending = said.value("pending", Json::object());
  if (pending.value("objects", 1) + pending.value("ranges", 1) + pending.value("entries", 1) == 0) {
    expect(asked, "nothing is pending");
  }
}

void StatusWatch::CheckState(size_t i, const Json& said, const Link& link, Clock::duration time) {
  const std::string state = said.value("state", "");
  const std::string before =
      std::to_string(std::chrono::duration_cast<milliseconds>(time).count()) + " ms ago";
  if (state == "current" && said.value("lag_seconds", -1.0) > kCurrentLagSeconds) {
    Lie(i, said, "current, and behind");
  }
  if (state == "connecting" && said.value("error", "").empty()) Lie(i, said, "it does not say why");
  if (link.state == LinkState::kDown && time > kNoticedWithin && state != "connecting") {
    Lie(i, said, "its link failed " + before);
  }
  const bool off = state == "connecting" || state == "blocked";
  if (link.state == LinkState::kUp && time > kBackWithin && off) {
    Lie(i, said, "its link came back " + before);
  }
}

void StatusWatch::Lie(size_t replica, const Json& said, const std::string& why) {
  MutexLock lock(mutex_);
  lies_.push_back("replica " + std::to_string(replica) + ": " + why + "\n" + said.dump());
}

}  // namespace tandem::test
