#include "replica/source/bandwidth.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <ctime>
#include <limits>
#include <optional>
#include <string_view>

namespace tandem::replica {
namespace {

constexpr int kMinutesOfDay = 24 * 60;
// The schedule is looked at again so often while bytes wait: its next span may be faster.
constexpr std::chrono::seconds kLookAgain{10};

tl::unexpected<Error> Bad(const std::string& text, const std::string& why) {
  return MakeError(ErrorKind::kUsage,
                   "limit the bandwidth to \"" + text + "\" (" + why +
                       "; bytes a second are expected, as in 2M, or spans of the day, as in "
                       "08:00-18:00=2M,*=0, where 0 is no limit)",
                   EINVAL);
}

std::optional<uint64_t> ParseRate(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  int shift = 0;
  if (!unit.empty()) {
    constexpr std::string_view kUnits = "KMGT";
    const size_t at =
        kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
    if (at == kUnits.npos) return std::nullopt;
    shift = 10 * (static_cast<int>(at) + 1);
    unit.remove_prefix(1);
  }
  if (!unit.empty() && unit != "iB" && unit != "B") return std::nullopt;
  if (number > (std::numeric_limits<uint64_t>::max() >> shift)) return std::nullopt;
  return number << shift;
}

// Reads HH:MM, from 00:00 to 24:00.
std::optional<int> ParseTime(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  int hours = 0;
  int minutes = 0;
  for (const auto& [from, number] : {std::pair(0, &hours), std::pair(3, &minutes)}) {
    const char* const begin = text.data() + from;
    const auto read = std::from_chars(begin, begin + 2, *number);
    if (read.ec != std::errc() || read.ptr != begin + 2 || *number < 0) return std::nullopt;
  }
  const int minute = hours * 60 + minutes;
  if (minutes > 59 || minute > kMinutesOfDay) return std::nullopt;
  return minute;
}

}  // namespace

Result<BandwidthSchedule> BandwidthSchedule::Parse(const std::string& text) {
  BandwidthSchedule schedule;
  schedule.text_ = text;
  for (std::string_view left = text; !left.empty();) {
    const size_t comma = left.find(',');
    const std::string_view part = left.substr(0, comma);
    left = comma == left.npos ? std::string_view() : left.substr(comma + 1);
    if (comma != part.npos && left.empty()) return Bad(text, "it ends with a comma");
    const size_t equals = part.find('=');
    const auto rate = ParseRate(equals == part.npos ? part : part.substr(equals + 1));
    if (!rate) return Bad(text, "\"" + std::string(part) + "\" has no rate");
    if (*rate != 0 && *rate < kLeast) return Bad(text, "4K is the least");
    const std::string_view when = equals == part.npos ? "*" : part.substr(0, equals);
    if (when == "*") {
      schedule.spans_.push_back({0, kMinutesOfDay, *rate});
      continue;
    }
    const size_t dash = when.find('-');
    const auto begin = dash == when.npos ? std::nullopt : ParseTime(when.substr(0, dash));
    const auto end = dash == when.npos ? std::nullopt : ParseTime(when.substr(dash + 1));
    if (!begin || !end || *begin == *end) {
      return Bad(text, "\"" + std::string(when) + "\" is no span of the day");
    }
    schedule.spans_.push_back({*begin, *end, *rate});
  }
  return schedule;
}

uint64_t BandwidthSchedule::At(int minute_of_day) const {
  for (const Span& span : spans_) {
    const bool over_midnight = span.end < span.begin;
    const bool is_in = over_midnight ? minute_of_day >= span.begin || minute_of_day < span.end
                                     : minute_of_day >= span.begin && minute_of_day < span.end;
    if (is_in) return span.rate;
  }
  return 0;
}

uint64_t BandwidthSchedule::Now() const {
  if (spans_.empty()) return 0;
  const time_t now = time(nullptr);
  tm local{};
  localtime_r(&now, &local);
  return At(local.tm_hour * 60 + local.tm_min);
}

void BandwidthLimit::Set(BandwidthSchedule schedule) {
  MutexLock lock(mutex_);
  schedule_ = std::move(schedule);
  free_at_ = Clock::now();
  changed_.NotifyAll();
}

void BandwidthLimit::SetPaused(bool paused) {
  MutexLock lock(mutex_);
  paused_ = paused;
  changed_.NotifyAll();
}

void BandwidthLimit::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

uint64_t BandwidthLimit::rate() const {
  MutexLock lock(mutex_);
  return schedule_.Now();
}

std::string BandwidthLimit::text() const {
  MutexLock lock(mutex_);
  return schedule_.text();
}

Status BandwidthLimit::Take(uint64_t bytes) {
  MutexLock lock(mutex_);
  while (true) {
    const uint64_t rate = schedule_.Now();
    if (rate == 0) return {};
    const auto now = Clock::now();
    if (free_at_ <= now) {
      const auto seconds =
          std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate));
      free_at_ = now + std::chrono::duration_cast<Clock::duration>(seconds);
      return {};
    }
    if (stopping_ || paused_) return MakeError(ErrorKind::kCancelled, "paused, or stopping");
    changed_.WaitUntil(mutex_, std::min(free_at_, now + kLookAgain));
  }
}

}  // namespace tandem::replica
