#include "replica/apply/foreign_edits.h"

#include <unistd.h>

#include "meta/base/log.h"
#include "meta/base/printable.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

std::string Show(const meta::Timestamp& time) {
  char text[48];
  snprintf(text, sizeof text, "%lld.%09u", static_cast<long long>(time.seconds), time.nanoseconds);
  return text;
}

}  // namespace

// A time that was only rounded down, or may have been brought into range, is not an edit.
bool MayBeTheSame(const meta::Timestamp& left, const meta::Timestamp& now) {
  if (left == now) return true;
  const bool every_filesystem_has_it = left.seconds >= 0 && left.seconds <= INT32_MAX;
  if (!every_filesystem_has_it) return true;
  if (left.seconds != now.seconds || now.nanoseconds > left.nanoseconds) return false;
  for (const uint32_t grain : {100u, 1000u, 1'000'000u, 1'000'000'000u}) {
    if (now.nanoseconds == left.nanoseconds / grain * grain) return true;
  }
  return false;
}

void ForeignEdits::Note(const std::string& path, const std::string& what) {
  MutexLock lock(mutex_);
  if (paths_.size() >= kMaxForeignPaths) {
    more_ |= !paths_.contains(path);
    return;
  }
  if (!paths_.insert(path).second) return;
  last_ = Printable(path) + ": " + what;
  LogWarning("volume {}: another program has changed its tree: {}", volume_, last_);
}

std::string ForeignEdits::ToString() {
  MutexLock lock(mutex_);
  if (paths_.empty()) return {};
  return (more_ ? "more than " : "") + std::to_string(paths_.size()) +
         " objects in tree/ were changed by another program (the last: " + last_ +
         "); tandem verify finds what is still different";
}

ForeignEdit FindForeignEdit(const meta::Attributes& left, const struct stat& now) {
  const meta::Attributes here = meta::AttributesFromStat(now);
  // A file stands for a device that could not be made.
  if (here.kind != left.kind) return {};
  if (here.size != left.size) {
    return {"its size is " + std::to_string(here.size) + ", not " + std::to_string(left.size),
            true};
  }
  if (!MayBeTheSame(left.modify_time, here.modify_time)) {
    const bool directory = left.kind == meta::Kind::kDirectory;
    return {(directory ? "names in it were changed at " : "it was written to at ") +
                Show(here.modify_time),
            true};
  }
  // Without root, tandemd itself has to change modes to get at files. And if the owner cannot be
  // set, the mode may not have been set either.
  const bool sets_modes = geteuid() == 0 && here.uid == left.uid;
  if (sets_modes && left.kind != meta::Kind::kSymlink && here.permissions != left.permissions) {
    return {"its mode was changed", false};
  }
  return {};
}

}  // namespace tandem::replica
