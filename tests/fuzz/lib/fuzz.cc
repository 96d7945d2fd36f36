#include "tests/fuzz/lib/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>

#include "meta/base/log.h"

namespace tandem::fuzz {

void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "FOUND: this must be true and is not: %s\n", what);
  abort();
}

const std::string& ScratchPath() {
  static const std::string path = [] {
    const char* base = getenv("TANDEM_FUZZ_DIR");
    std::string pattern = std::string(base != nullptr ? base : "/dev/shm") + "/tandem-fuzz-XXXXXX";
    Require(mkdtemp(pattern.data()) != nullptr, "a scratch directory can be made");
    return pattern;
  }();
  return path;
}

void PutFile(const std::string& path, std::string_view bytes) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  Require(fd.valid(), "a scratch file can be made");
  Require(write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
          "a scratch file can be written");
}

void BeQuiet() {
  setenv("TANDEM_LOG", "off", 1);
  SetUpLog("fuzz");
}

}  // namespace tandem::fuzz
