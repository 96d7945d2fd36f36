#include "replica/source/link_watch.h"

#include <algorithm>
#include <utility>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = CondVar::Clock;

std::string SecondsOf(milliseconds time) { return std::to_string(time.count() / 1000) + " s"; }

}  // namespace

LinkWatch::LinkWatch(std::string name, Peer& peer)
    : name_(std::move(name)), peer_(peer), probe_(peer.url()), dial_pause_(kRedialPauseFirst) {
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
  while (WaitUnlessStopped(kLinkLookEvery)) {
    if (peer_.connection() != 0) {
      WatchConnection();
    } else {
      AwaitConnection();
    }
  }
}

void LinkWatch::WatchConnection() {
  without_since_ = {};
  if (Clock::now() - dialed_ > kRedialPauseLongest) dial_pause_ = kRedialPauseFirst;
  const auto silence = peer_.silence();
  if (silence < kLinkAskAfter) {
    if (std::exchange(quiet_, false)) LogInfo("replica {}: {} is heard again", name_, peer_.url());
    return;
  }
  if (silence >= kLinkQuiet && !std::exchange(quiet_, true)) {
    LogInfo("replica {}: nothing heard from {} for {}", name_, peer_.url(), SecondsOf(silence));
  }
  if (silence >= kLinkQuiet) probe_.Look();
  peer_.SeeWhetherThere(kLinkAnswerWithin);
  // The kernel sends again ever more seldom what got lost, so the connection may stay silent for as
  // long again as the network was away. A new one does not.
  const auto now = Clock::now();
  const auto silent_for = peer_.silence();
  if (silent_for >= kLinkQuiet && probe_.reached() > now - silent_for) DialAnew(now);
}

void LinkWatch::AwaitConnection() {
  const auto now = Clock::now();
  if (without_since_ == Clock::time_point()) without_since_ = now;
  if (now - without_since_ < kLinkSoonConnected) return;
  probe_.Look();
  const auto reached = probe_.reached();
  if (reached < without_since_ + kLinkSoonConnected) return;
  // nng may wait for a pause to end, or for the kernel's next attempt, and those come less and less
  // often; or it may never dial again.
  if (now >= without_since_ + dial_pause_) DialAnew(now);
}

void LinkWatch::DialAnew(Clock::time_point now) {
  if (now < dialed_ + dial_pause_) return;
  LogInfo("replica {}: {} can be reached; connecting anew", name_, peer_.url());
  peer_.DialAnew();
  dialed_ = now;
  dial_pause_ = std::min(dial_pause_ * 2, kRedialPauseLongest);
}

std::string LinkWatch::Trouble() {
  if (peer_.connection() == 0) {
    if (std::string why = peer_.WhyNotConnected(); !why.empty()) return why;
    probe_.Look();
    return probe_.found();
  }
  const auto silence = peer_.silence();
  if (silence < kLinkQuiet) return "";
  return "nothing heard from " + peer_.url() + " for " + SecondsOf(silence);
}

}  // namespace tandem::replica
