#include "replica/source/link_watch.h"

#include <algorithm>
#include <utility>

#include "meta/base/log.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = CondVar::Clock;

constexpr milliseconds kLookEvery{500};
// Longer than the pause after which an idle replica is asked whether it is there.
constexpr milliseconds kAskAfter{2500};
constexpr milliseconds kAnswerWithin{1500};
// Longer than a replica that is there takes to connect.
constexpr milliseconds kSoonConnected{1000};
// nng is given so long to connect once a connection can be made; then its socket is replaced, first
// soon, but less and less often: each may cost a descriptor and a thread (transport/dial.h).
constexpr milliseconds kDialPauseFirst{2500};
constexpr milliseconds kDialPauseLongest{60'000};

std::string SecondsOf(milliseconds time) { return std::to_string(time.count() / 1000) + " s"; }

}  // namespace

LinkWatch::LinkWatch(std::string name, Peer& peer)
    : name_(std::move(name)), peer_(peer), probe_(peer.url()), dial_pause_(kDialPauseFirst) {
  thread_ = std::thread([this] { Run(); });
}

LinkWatch::~LinkWatch() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

bool LinkWatch::WaitUnlessStopped(milliseconds time) {
  const auto deadline = Clock::now() + time;
  MutexLock lock(mutex_);
  while (!stopping_ && wake_.WaitUntil(mutex_, deadline)) {
  }
  return !stopping_;
}

void LinkWatch::Run() {
  while (WaitUnlessStopped(kLookEvery)) {
    if (peer_.connection() != 0) {
      WatchConnection();
    } else {
      AwaitConnection();
    }
  }
}

void LinkWatch::WatchConnection() {
  const auto now = Clock::now();
  without_since_ = {};
  if (now - dialed_ > kDialPauseLongest) dial_pause_ = kDialPauseFirst;
  const auto silence = peer_.silence();
  if (silence < kAskAfter) {
    if (std::exchange(quiet_, false)) LogInfo("replica {}: {} is heard again", name_, peer_.url());
    return;
  }
  if (silence >= kQuiet && !std::exchange(quiet_, true)) {
    LogInfo("replica {}: nothing heard from {} for {}", name_, peer_.url(), SecondsOf(silence));
  }
  peer_.SeeWhetherThere(kAnswerWithin);
}

void LinkWatch::AwaitConnection() {
  const auto now = Clock::now();
  if (without_since_ == Clock::time_point()) without_since_ = now;
  if (now - without_since_ < kSoonConnected) return;
  probe_.Look();
  const auto reached = probe_.reached();
  if (reached < without_since_ + kSoonConnected) return;
  if (now < std::max(without_since_, dialed_) + dial_pause_) return;
  // nng may wait for a pause to end, or for the kernel's next attempt, and those come less and less
  // often; or it may never dial again.
  LogInfo("replica {}: {} can be reached; connecting anew", name_, peer_.url());
  peer_.DialAnew();
  dialed_ = now;
  dial_pause_ = std::min(dial_pause_ * 2, kDialPauseLongest);
}

std::string LinkWatch::Trouble() {
  if (peer_.connection() == 0) {
    probe_.Look();
    return probe_.found();
  }
  const auto silence = peer_.silence();
  if (silence < kQuiet) return "";
  return "nothing heard from " + peer_.url() + " for " + SecondsOf(silence);
}

}  // namespace tandem::replica
