#include "tests/wrong_clock.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "meta/base/unique_fd.h"
#include "tests/files.h"

namespace tandem::test {

WrongClock::WrongClock(const Scratch& scratch, const std::string& name)
    : path_(scratch.Path(name)) {
  Write(path_, std::string(sizeof(int64_t), '\0'));
  const UniqueFd fd(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  void* const mapped =
      mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) {
    perror(path_.c_str());
    std::abort();
  }
  wrong_by_ = static_cast<int64_t*>(mapped);
}

WrongClock::~WrongClock() { munmap(const_cast<int64_t*>(wrong_by_), sizeof(int64_t)); }

Environment WrongClock::environment() const {
  return {{"LD_PRELOAD", Program("tests/wrong_clock.so")}, {"TANDEM_TEST_CLOCK", path_}};
}

}  // namespace tandem::test
