#include "tests/programs/lib/workload_actor.h"

#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/programs/lib/expected_errors.h"

namespace tandem::workload {
namespace {

constexpr size_t kAlignment = 4096;

// statfs always asks the filesystem, where lstat may be answered from a cache.
bool MountIsGone() {
  struct statfs unused;
  return statfs(".", &unused) != 0 && IsDisconnect(errno);
}

bool MountGoes() {
  for (int i = 0; i < 200; ++i) {
    if (MountIsGone()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

bool Contains(std::initializer_list<int> list, int value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

std::string Failure::Text() const {
  return call + " " + (error ? programs::ErrnoName(error) : "SHORT");
}

Actor::Actor(const Config* config, int process, int thread)
    : config_(config),
      process_(process),
      thread_(thread),
      own_area_(OwnArea(process, thread)),
      names_(config->max_objects / (config->workers() + 1)),
      random_({config->seed, process_, thread_}),
      buffer_(static_cast<char*>(std::aligned_alloc(kAlignment, kMaxTransfer)), std::free) {}

void Actor::Begin(uint64_t index) {
  index_ = index;
  random_ = programs::Random({config_->seed, process_, thread_, index});
  note_.clear();
  failure_.reset();
  unexpected_.reset();
}

bool Actor::Try(const char* call, ssize_t result, std::initializer_list<int> also_expected) {
  if (result >= 0) return true;
  Fail(call, errno, also_expected);
  return false;
}

bool Actor::TryTransfer(const char* call, ssize_t result, size_t wanted) {
  if (!Try(call, result)) return false;
  if (static_cast<size_t>(result) == wanted) return true;
  const Failure failure{call, 0};
  if (!failure_) failure_ = failure;
  // Of a large transfer a part may be done when the mount goes away. Others of its requests may be
  // answered for a moment longer.
  const bool died = config_->tolerate_disconnect && MountGoes();
  if (!unexpected_ && !config_->tolerate_no_space && !died) unexpected_ = failure;
  return false;
}

bool Actor::Observe(const char* call, ssize_t result) {
  if (result >= 0) return true;
  if (!Tolerates(errno, {})) Fail(call, errno);
  return false;
}

void Actor::Fail(const char* call, int error, std::initializer_list<int> also_expected) {
  const Failure failure{call, error};
  if (!failure_) failure_ = failure;
  if (Tolerates(error, also_expected)) return;

  if (!unexpected_) unexpected_ = failure;
  // A request cut short by the end of the mount may show as EIO as well.
  disconnected_ = disconnected_ || IsDisconnect(error) || MountIsGone();
}

bool Actor::Tolerates(int error, std::initializer_list<int> also_expected) const {
  if (IsExpectedError(error) || Contains(also_expected, error)) return true;
  return config_->tolerate_no_space && (error == ENOSPC || error == EDQUOT);
}

std::span<char> Actor::Data(size_t length) {
  const std::span<char> out(buffer_.get(), std::min(length, kMaxTransfer));
  switch (random_.Below(4)) {
    case 0:
      std::memset(out.data(), static_cast<int>(random_.Below(256)), out.size());
      break;
    case 1: {  // Tells a reader of the file who wrote it.
      const std::string tag = own_area_.bytes + " " + std::to_string(index_) + " " +
                              std::to_string(random_.Next()) + "\n";
      for (size_t at = 0; at < out.size(); at += tag.size()) {
        tag.copy(out.data() + at, out.size() - at);
      }
      break;
    }
    default:
      random_.Fill(out);
  }
  return out;
}

std::string Actor::Description() const {
  return own_area_.bytes + " #" + std::to_string(index_) + note_ + " -> " +
         (failure_ ? failure_->Text() : "ok");
}

}  // namespace tandem::workload
