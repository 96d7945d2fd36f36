#include "tests/programs/lib/causal_cells.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/programs/lib/bus_guard.h"
#include "tests/programs/lib/causal.h"

namespace tandem::programs {
namespace {

enum class Kind { kSlot, kXattr, kReplaced, kNamed, kSized, kTimed, kMoved, kMapped, kDirectory };

struct Cell {
  Kind kind;
  int index;
};

// How many cells there are of each kind, in order.
constexpr struct {
  Kind kind;
  int count;
} kLayout[] = {{Kind::kSlot, 40}, {Kind::kXattr, 6},  {Kind::kReplaced, 4},
               {Kind::kNamed, 4}, {Kind::kSized, 4},  {Kind::kTimed, 4},
               {Kind::kMoved, 2}, {Kind::kMapped, 2}, {Kind::kDirectory, 2}};

constexpr int kSlotFiles = 8;
constexpr off_t kFileBytes = 64 << 10;

Cell CellAt(int cell) {
  for (const auto& [kind, count] : kLayout) {
    if (cell < count) return {kind, cell};
    cell -= count;
  }
  abort();
}

std::string Failure(const std::string& what) { return what + ": " + strerror(errno); }

std::string SlotFile(int index) { return "slots" + std::to_string(index % kSlotFiles); }
off_t SlotOffset(int index) { return (index / kSlotFiles) * off_t{9001}; }
std::string Named(const char* prefix, int index, uint64_t number) {
  return prefix + std::to_string(index) + "." + std::to_string(number);
}
std::string Moved(int index, uint64_t number) {
  return Named(number % 2 == 0 ? "even/moved" : "odd/moved", index, number);
}

std::string WriteNumber(const std::string& path, int flags, off_t offset, uint64_t number) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0644));
  if (!fd.ok()) return Failure("open " + path);
  if (pwrite(fd.get(), &number, sizeof number, offset) != sizeof number) {
    return Failure("write " + path);
  }
  return {};
}

std::optional<uint64_t> ReadNumber(const std::string& path, off_t offset, std::string& why) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  uint64_t number = 0;
  if (fd.ok() && pread(fd.get(), &number, sizeof number, offset) == sizeof number) return number;
  why = Failure("read " + path);
  return std::nullopt;
}

std::string StoreNumber(const std::string& path, uint64_t number) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.ok()) return Failure("open " + path);
  void* map = mmap(nullptr, static_cast<size_t>(kFileBytes), PROT_READ | PROT_WRITE, MAP_SHARED,
                   fd.get(), 0);
  if (map == MAP_FAILED) return Failure("map " + path);
  // Where the page cannot be read any more, as when the mount has died, a store is a SIGBUS.
  const bool stored = CopyGuarded(map, &number, sizeof number);
  const bool synced = stored && msync(map, static_cast<size_t>(kFileBytes), MS_SYNC) == 0;
  std::string failure = synced ? "" : Failure((stored ? "msync " : "store into ") + path);
  munmap(map, static_cast<size_t>(kFileBytes));
  return failure;
}

// The number behind the only name in `directory` that begins with `prefix`.
std::optional<uint64_t> NumberInName(const std::string& directory, const std::string& prefix,
                                     std::string& why) {
  DIR* listing = opendir(directory.c_str());
  if (listing == nullptr) {
    why = Failure("list " + directory);
    return std::nullopt;
  }
  std::optional<uint64_t> number;
  bool twice = false;
  while (const dirent* entry = readdir(listing)) {
    if (strncmp(entry->d_name, prefix.c_str(), prefix.size()) != 0) continue;
    twice = number.has_value();
    number = strtoull(entry->d_name + prefix.size(), nullptr, 10);
  }
  closedir(listing);
  why = twice ? "two names " + prefix + "* in " + directory
              : "no name " + prefix + "* in " + directory;
  return twice ? std::nullopt : number;
}

}  // namespace

std::string CausalCells::Make() {
  for (const char* name : {"", "even", "odd"}) {
    if (mkdir(Path(name).c_str(), 0755) != 0) return Failure("make " + Path(name));
  }
  const auto make_file = [this](const std::string& name, off_t size) -> std::string {
    const Fd fd(open(Path(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    if (!fd.ok() || ftruncate(fd.get(), size) != 0) return Failure("make " + Path(name));
    const timespec never[2] = {{0, 0}, {0, 0}};
    if (futimens(fd.get(), never) != 0) return Failure("set times of " + Path(name));
    const uint64_t zero = 0;
    if (fsetxattr(fd.get(), "user.number", &zero, sizeof zero, 0) != 0) {
      return Failure("set attribute of " + Path(name));
    }
    return {};
  };
  for (int c = 0; c < kCausalCells; ++c) {
    const auto [kind, index] = CellAt(c);
    const std::string i = std::to_string(index);
    std::string failure;
    switch (kind) {
      case Kind::kSlot:
        failure = make_file(SlotFile(index), kFileBytes);
        break;
      case Kind::kXattr:
        failure = make_file("attribute" + i, 0);
        break;
      case Kind::kReplaced:
        failure = make_file("replaced" + i, sizeof(uint64_t));
        break;
      case Kind::kNamed:
        failure = make_file(Named("named", index, 0), 0);
        break;
      case Kind::kSized:
        failure = make_file("sized" + i, 0);
        break;
      case Kind::kTimed:
        failure = make_file("timed" + i, 0);
        break;
      case Kind::kMoved:
        failure = make_file(Moved(index, 0), 0);
        break;
      case Kind::kMapped:
        failure = make_file("mapped" + i, kFileBytes);
        break;
      case Kind::kDirectory:
        if (mkdir(Path(Named("directory", index, 0)).c_str(), 0755) != 0) {
          failure = Failure("make directory");
        }
        break;
    }
    if (!failure.empty()) return failure;
  }
  return {};
}

std::string CausalCells::Put(int cell, uint64_t before, uint64_t number) {
  const auto [kind, index] = CellAt(cell);
  const std::string i = std::to_string(index);
  const auto rename_to = [this](const std::string& from, const std::string& to) -> std::string {
    return rename(Path(from).c_str(), Path(to).c_str()) == 0 ? ""
                                                             : Failure("rename to " + Path(to));
  };
  switch (kind) {
    case Kind::kSlot:
      return WriteNumber(Path(SlotFile(index)), 0, SlotOffset(index), number);
    case Kind::kXattr:
      if (setxattr(Path("attribute" + i).c_str(), "user.number", &number, sizeof number, 0) == 0) {
        return {};
      }
      return Failure("set attribute");
    case Kind::kReplaced: {
      const std::string fresh = ".fresh" + i;
      std::string failure = WriteNumber(Path(fresh), O_CREAT | O_TRUNC, 0, number);
      return failure.empty() ? rename_to(fresh, "replaced" + i) : failure;
    }
    case Kind::kNamed:
      return rename_to(Named("named", index, before), Named("named", index, number));
    case Kind::kSized:
      if (truncate(Path("sized" + i).c_str(), static_cast<off_t>(number)) == 0) return {};
      return Failure("truncate");
    case Kind::kTimed: {
      const timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(number), 0}};
      if (utimensat(AT_FDCWD, Path("timed" + i).c_str(), times, 0) == 0) return {};
      return Failure("set time");
    }
    case Kind::kMoved:
      return rename_to(Moved(index, before), Moved(index, number));
    case Kind::kMapped:
      return StoreNumber(Path("mapped" + i), number);
    case Kind::kDirectory:
      return rename_to(Named("directory", index, before), Named("directory", index, number));
  }
  return "no such cell";
}

std::optional<uint64_t> CausalCells::Get(int cell, std::string& why) const {
  const auto [kind, index] = CellAt(cell);
  const std::string i = std::to_string(index);
  const auto stat_of = [&](const std::string& name) -> std::optional<struct stat> {
    struct stat found;
    if (stat(Path(name).c_str(), &found) == 0) return found;
    why = Failure("stat " + Path(name));
    return std::nullopt;
  };
  switch (kind) {
    case Kind::kSlot:
      return ReadNumber(Path(SlotFile(index)), SlotOffset(index), why);
    case Kind::kXattr: {
      uint64_t number = 0;
      if (getxattr(Path("attribute" + i).c_str(), "user.number", &number, sizeof number) ==
          sizeof number) {
        return number;
      }
      why = Failure("get attribute");
      return std::nullopt;
    }
    case Kind::kReplaced:
      return ReadNumber(Path("replaced" + i), 0, why);
    case Kind::kNamed:
      return NumberInName(directory_, "named" + i + ".", why);
    case Kind::kSized: {
      const auto found = stat_of("sized" + i);
      return found ? std::optional(static_cast<uint64_t>(found->st_size)) : std::nullopt;
    }
    case Kind::kTimed: {
      const auto found = stat_of("timed" + i);
      return found ? std::optional(static_cast<uint64_t>(found->st_mtim.tv_sec)) : std::nullopt;
    }
    case Kind::kMoved: {
      std::string other;
      const std::string prefix = "moved" + i + ".";
      const auto even = NumberInName(Path("even"), prefix, why);
      const auto odd = NumberInName(Path("odd"), prefix, other);
      if (even.has_value() != odd.has_value()) return even ? even : odd;
      why = even ? "moved" + i + " is in two places" : "moved" + i + " is nowhere";
      return std::nullopt;
    }
    case Kind::kMapped:
      return ReadNumber(Path("mapped" + i), 0, why);
    case Kind::kDirectory:
      return NumberInName(directory_, "directory" + i + ".", why);
  }
  return std::nullopt;
}

}  // namespace tandem::programs
