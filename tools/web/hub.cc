#include "tools/web/hub.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace tandem::tools {
namespace {

constexpr std::chrono::seconds kEvery{1};
constexpr int kAnswerMs = 2000;

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string IdOf(const SurveyedMount& mount) {
  return std::filesystem::path(mount.socket).stem().string();
}

Json Described(const SurveyedMount& mount) {
  return {{"mountpoint", mount.mountpoint}, {"source", mount.source}, {"socket", mount.socket}};
}

}  // namespace

Result<std::vector<SurveyedMount>> MountsBySockets(const std::string& directory) {
  std::vector<SurveyedMount> mounts;
  std::error_code error;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    const std::string socket = at->path().string();
    if (socket.ends_with(".sock") && ControlIsServed(socket))
      mounts.push_back({"", "", socket, true});
  }
  if (error) return ErrnoError(error.value(), "list " + directory);
  std::ranges::sort(mounts, {}, &SurveyedMount::socket);
  return mounts;
}

Hub::Hub(FindMounts find_mounts)
    : find_mounts_(std::move(find_mounts)), host_(HostName()), thread_(&Hub::Run, this) {}

Hub::~Hub() {
  Stop();
  thread_.join();
}

void Hub::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  wake_.NotifyAll();
  ready_.NotifyAll();
}

bool Hub::is_stopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

void Hub::Refresh() {
  MutexLock lock(mutex_);
  refresh_ = true;
  wake_.NotifyAll();
}

void Hub::Count(int change) {
  MutexLock lock(mutex_);
  if (watchers_ == 0) refresh_ = true;
  watchers_ += change;
  if (watchers_ == 0) newest_.reset();  // the next one is not to see what is old by then
  wake_.NotifyAll();
}

std::shared_ptr<const Hub::Snapshot> Hub::Watcher::Next(Clock::time_point deadline) {
  MutexLock lock(hub_.mutex_);
  while (!hub_.stopping_) {
    if (hub_.newest_ != nullptr && hub_.newest_->number != seen_) {
      seen_ = hub_.newest_->number;
      return hub_.newest_;
    }
    if (!hub_.ready_.WaitUntil(hub_.mutex_, deadline)) return nullptr;
  }
  return nullptr;
}

Result<std::string> Hub::SocketOf(const std::string& id) const {
  ASSIGN_OR_RETURN(const auto mounts, find_mounts_());
  const auto found =
      std::ranges::find_if(mounts, [&id](const SurveyedMount& mount) { return IdOf(mount) == id; });
  if (found != mounts.end()) return found->socket;
  return MakeError(ErrorKind::kUsage, "this mount is not there any more: it was unmounted");
}

// Returns false once it is to stop.
bool Hub::AwaitTurn() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const bool is_wanted = watchers_ > 0 || verifies_.IsRunning();
    const auto now = Clock::now();
    if (is_wanted && (refresh_ || now >= next_)) {
      refresh_ = false;
      next_ = now + kEvery;
      return true;
    }
    if (is_wanted) {
      wake_.WaitUntil(mutex_, next_);
    } else {
      wake_.Wait(mutex_);
    }
  }
  return false;
}

void Hub::Run() {
  while (AwaitTurn()) {
    std::string json = Dump(Poll());
    MutexLock lock(mutex_);
    if (watchers_ == 0) continue;
    newest_ = std::make_shared<Snapshot>(Snapshot{++number_, std::move(json)});
    ready_.NotifyAll();
  }
}

Json Hub::Poll() {
  verifies_.Poll();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  Json snapshot = {{"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()},
                   {"host", host_},
                   {"version", TANDEM_VERSION},
                   {"mounts", Json::array()}};
  auto mounts = find_mounts_();
  if (!mounts) {
    snapshot["error"] = mounts.error().ToString();
    return snapshot;
  }
  // Of a mount that nobody serves, a takeover is awaited when it is first seen so, for a second.
  std::vector<SurveyedMount> asked;
  std::ranges::copy_if(*mounts, std::back_inserter(asked), [this](const SurveyedMount& mount) {
    return mount.served || !dead_.contains(mount.socket);
  });
  const auto answers = AskStatuses(asked, kAnswerMs);
  std::set<std::string> dead;
  size_t next = 0;
  for (const SurveyedMount& mount : *mounts) {
    Json status = Described(mount);
    status["mount"] = "dead";
    if (next < asked.size() && asked[next].socket == mount.socket) {
      const Result<Json>& answer = answers[next++];
      if (answer && answer->is_null()) continue;  // unmounted meanwhile
      if (answer) {
        status = *answer;
      } else {
        status["mount"] = "failed";
        status["error"] = answer.error().ToString();
      }
    }
    if (status.value("mount", "") == "dead") dead.insert(mount.socket);
    const std::string id = IdOf(mount);
    status["id"] = id;
    status["verifies"] = verifies_.Of(id);
    snapshot["mounts"].push_back(std::move(status));
  }
  dead_ = std::move(dead);
  return snapshot;
}

}  // namespace tandem::tools
