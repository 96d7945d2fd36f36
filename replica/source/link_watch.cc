#include "replica/source/link_watch.h"

#include <utility>

#include "meta/base/log.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = CondVar::Clock;

std::string SecondsOf(milliseconds time) { return std::to_string(time.count() / 1000) + " s"; }

}  // namespace

LinkWatch::LinkWatch(std::string name, Peer& peer) : name_(std::move(name)), peer_(peer) {
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
    if (peer_.connection() != 0) WatchConnection();
  }
}

void LinkWatch::WatchConnection() {
  const auto silence = peer_.silence();
  if (silence < kLinkAskAfter) {
    if (std::exchange(quiet_, false)) LogInfo("replica {}: {} is heard again", name_, peer_.url());
    return;
  }
  if (silence >= kLinkQuiet && !std::exchange(quiet_, true)) {
    LogInfo("replica {}: nothing heard from {} for {}", name_, peer_.url(), SecondsOf(silence));
  }
  peer_.SeeWhetherThere(kLinkAnswerWithin);
}

std::string LinkWatch::Trouble() {
  if (peer_.connection() == 0) return peer_.WhyNotConnected();
  const auto silence = peer_.silence();
  if (silence < kLinkQuiet) return "";
  return "nothing heard from " + peer_.url() + " for " + SecondsOf(silence);
}

}  // namespace tandem::replica
