#include "replica/store/names_listed.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <ctime>

#include "replica/apply/removal.h"
#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return Nanoseconds(now);
}

// Of all volumes.
std::atomic<size_t> kept_bytes{0};

size_t BytesOf(const std::vector<std::string>& names) {
  size_t bytes = names.size() * sizeof(std::string);
  for (const std::string& name : names) bytes += name.size();
  return bytes;
}

}  // namespace

NamesListed::~NamesListed() {
  for (const Kept& kept : kept_) kept_bytes -= kept.bytes;
}

void NamesListed::EraseIf(const std::function<bool(const Kept&)>& is_it) {
  for (auto kept = kept_.begin(); kept != kept_.end();) {
    if (is_it(*kept)) {
      kept_bytes -= kept->bytes;
      kept = kept_.erase(kept);
    } else {
      ++kept;
    }
  }
}

Result<NamesListed::State> NamesListed::StateOf(int directory_fd) {
  struct stat now;
  if (fstat(directory_fd, &now) != 0) return ErrnoError("stat");
  return State{now.st_dev, now.st_ino, Nanoseconds(now.st_mtim), Nanoseconds(now.st_ctim)};
}

Result<NamesListed::Names> NamesListed::Of(int directory_fd) {
  ASSIGN_OR_RETURN(const State state, StateOf(directory_fd));
  {
    MutexLock lock(mutex_);
    const auto found = std::ranges::find(kept_, state, &Kept::state);
    if (found != kept_.end()) return found->names;
  }
  const int64_t begun = NowNs();
  ASSIGN_OR_RETURN(std::vector<std::string> read, NamesIn(directory_fd));
  std::ranges::sort(read);
  auto names = std::make_shared<const std::vector<std::string>>(std::move(read));
  // A name that changes within the tick of the clock in which they were read may leave the times as
  // they are. A time in the future says nothing.
  const bool is_small = names->size() < kNamesKeptFrom;
  const int64_t last = std::max(state.changed_ns, state.modified_ns);
  if (is_small || begun - last < kTickNs) return names;
  const size_t bytes = BytesOf(*names);
  MutexLock lock(mutex_);
  EraseIf([&](const Kept& kept) {
    return kept.state.device == state.device && kept.state.inode == state.inode;
  });
  if (kept_.size() == kDirectoriesListed) {
    EraseIf([oldest = &kept_.back()](const Kept& kept) { return &kept == oldest; });
  }
  if (kept_bytes.fetch_add(bytes) + bytes > kMostNamesKeptBytes) {
    kept_bytes -= bytes;
    return names;
  }
  kept_.push_front({state, names, bytes});
  return names;
}

void NamesListed::Forget(const Names& names) {
  MutexLock lock(mutex_);
  EraseIf([&](const Kept& kept) { return kept.names == names; });
}

}  // namespace tandem::replica
