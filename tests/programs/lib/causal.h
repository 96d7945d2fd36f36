// A directory whose every state tells whether it ever was one. Threads perform numbered operations,
// each on one of their cells in turn (bytes overwritten in place, an extended attribute, a size, a
// time, a name, a file replaced by rename, a page of a shared mapping ...); an operation leaves its
// number in its cell. So after operation K of a thread each of its cells holds the largest number
// up to K that belongs to it: a state that shows anything else has lost the order of operations.
//
// Across threads a log outside the directory tells when each operation began and ended: a state
// that has an operation must have all that ended before that one began.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace tandem::programs {

constexpr int kCausalCells = 68;

// The log: for each thread, for each operation, when it began and ended, in ticks of one clock.
// Mapped, and shared by who writes and who checks. Any thread, any process.
class CausalLog {
 public:
  struct Entry {
    uint64_t begun;  // 0: not yet
    uint64_t ended;
  };
  static constexpr uint64_t kMaxOperations = uint64_t{1} << 24;  // of each thread

  // Creates the file if need be. Ends the program if that cannot be done.
  CausalLog(const std::string& path, int threads);
  ~CausalLog();
  CausalLog(const CausalLog&) = delete;
  CausalLog& operator=(const CausalLog&) = delete;

  Entry Get(int thread, uint64_t operation) const;
  void Begin(int thread, uint64_t operation);
  void End(int thread, uint64_t operation);
  int threads() const { return threads_; }

 private:
  uint64_t* At(int thread, uint64_t operation) const;

  int threads_;
  uint64_t bytes_;
  uint64_t* map_;
};

// Lays out the directory as it is before the first operation. Empty: done; otherwise what went
// wrong.
std::string MakeCausalTree(const std::string& directory, int threads);

// Performs the operations after `reached` until `stop` says so, or there is no room in the log.
// Needs InstallBusGuard. Empty: done; otherwise what went wrong.
std::string RunCausalThread(const std::string& directory, int thread, uint64_t reached,
                            CausalLog& log, const std::atomic<bool>& stop);

// After a run that was broken off: `last`, what ReadCausalTree says of the directory, is to be gone
// on from. An operation that was under way and is there never returned; it ended by now. One that
// is not there is performed again, under its number.
void ResumeCausalLog(CausalLog& log, const std::vector<uint64_t>& last);

// Which operation each thread had got to. Empty: a state that was; otherwise why it never was.
std::string ReadCausalTree(const std::string& directory, int threads, std::vector<uint64_t>& last);

// Whether the operations in `last` are all that ended before any of them began. Empty: they are.
std::string CheckCausalOrder(const CausalLog& log, const std::vector<uint64_t>& last);

}  // namespace tandem::programs
