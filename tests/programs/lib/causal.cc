#include "tests/programs/lib/causal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "tests/programs/lib/causal_cells.h"
#include "tests/programs/lib/fd.h"

namespace tandem::programs {
namespace {

std::string DirectoryOf(const std::string& directory, int thread) {
  return directory + "/thread" + std::to_string(thread);
}

// The largest operation up to `last` that belongs to the cell; 0 if there is none.
uint64_t ExpectedIn(int cell, uint64_t last) {
  constexpr uint64_t kCells = kCausalCells;
  const auto number = static_cast<uint64_t>(cell);
  const uint64_t back = (last % kCells + kCells - number) % kCells;
  return last < back ? 0 : last - back;
}

}  // namespace

// The first word is the clock.
CausalLog::CausalLog(const std::string& path, int threads)
    : threads_(threads),
      bytes_(sizeof(uint64_t) * (1 + 2 * kMaxOperations * static_cast<uint64_t>(threads))) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  struct stat found;
  if (!fd.ok() || fstat(fd.get(), &found) != 0 ||
      (found.st_size == 0 && ftruncate(fd.get(), static_cast<off_t>(bytes_)) != 0)) {
    perror(path.c_str());
    exit(2);
  }
  void* map = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED) {
    perror("map log");
    exit(2);
  }
  map_ = static_cast<uint64_t*>(map);
}

CausalLog::~CausalLog() { munmap(map_, bytes_); }

uint64_t* CausalLog::At(int thread, uint64_t operation) const {
  return map_ + 1 + 2 * (static_cast<uint64_t>(thread) * kMaxOperations + operation);
}

CausalLog::Entry CausalLog::Get(int thread, uint64_t operation) const {
  uint64_t* at = At(thread, operation);
  return {std::atomic_ref(at[0]).load(), std::atomic_ref(at[1]).load()};
}

void CausalLog::Begin(int thread, uint64_t operation) {
  std::atomic_ref(At(thread, operation)[0]).store(std::atomic_ref(*map_).fetch_add(1) + 1);
}

void CausalLog::End(int thread, uint64_t operation) {
  std::atomic_ref(At(thread, operation)[1]).store(std::atomic_ref(*map_).fetch_add(1) + 1);
}

std::string MakeCausalTree(const std::string& directory, int threads) {
  for (int t = 0; t < threads; ++t) {
    std::string failure = CausalCells(DirectoryOf(directory, t)).Make();
    if (!failure.empty()) return failure;
  }
  return {};
}

std::string RunCausalThread(const std::string& directory, int thread, uint64_t reached,
                            CausalLog& log, const std::atomic<bool>& stop) {
  CausalCells cells(DirectoryOf(directory, thread));
  for (uint64_t number = reached + 1; number < CausalLog::kMaxOperations && !stop; ++number) {
    const int cell = static_cast<int>(number % kCausalCells);
    log.Begin(thread, number);
    std::string failure = cells.Put(cell, ExpectedIn(cell, number - 1), number);
    if (!failure.empty()) return failure;
    log.End(thread, number);
  }
  return {};
}

void ResumeCausalLog(CausalLog& log, const std::vector<uint64_t>& last) {
  for (int t = 0; t < log.threads(); ++t) {
    const uint64_t reached = last[static_cast<size_t>(t)];
    if (reached != 0 && log.Get(t, reached).ended == 0) log.End(t, reached);
  }
}

std::string ReadCausalTree(const std::string& directory, int threads, std::vector<uint64_t>& last) {
  last.assign(static_cast<size_t>(threads), 0);
  for (int t = 0; t < threads; ++t) {
    const CausalCells cells(DirectoryOf(directory, t));
    std::vector<uint64_t> found(kCausalCells);
    for (int c = 0; c < kCausalCells; ++c) {
      std::string why;
      const auto number = cells.Get(c, why);
      if (!number) return "thread " + std::to_string(t) + ": " + why;
      found[static_cast<size_t>(c)] = *number;
    }
    uint64_t& reached = last[static_cast<size_t>(t)];
    reached = std::ranges::max(found);
    for (int c = 0; c < kCausalCells; ++c) {
      const uint64_t number = found[static_cast<size_t>(c)];
      const uint64_t expected = ExpectedIn(c, reached);
      if (number == expected) continue;
      return "thread " + std::to_string(t) + " has operation " + std::to_string(reached) +
             ", but in cell " + std::to_string(c) + " there is " + std::to_string(number) +
             " instead of " + std::to_string(expected);
    }
  }
  return {};
}

std::string CheckCausalOrder(const CausalLog& log, const std::vector<uint64_t>& last) {
  uint64_t newest = 0;
  int newest_thread = 0;
  for (int t = 0; t < log.threads(); ++t) {
    const uint64_t operation = last[static_cast<size_t>(t)];
    if (operation == 0 || log.Get(t, operation).begun <= newest) continue;
    newest = log.Get(t, operation).begun;
    newest_thread = t;
  }
  for (int t = 0; t < log.threads(); ++t) {
    const uint64_t missing = last[static_cast<size_t>(t)] + 1;
    const uint64_t ended = log.Get(t, missing).ended;
    if (ended == 0 || ended > newest) continue;
    return "operation " + std::to_string(missing) + " of thread " + std::to_string(t) +
           " is missing; it ended before operation " +
           std::to_string(last[static_cast<size_t>(newest_thread)]) + " of thread " +
           std::to_string(newest_thread) + " began, which is there";
  }
  return {};
}

}  // namespace tandem::programs
