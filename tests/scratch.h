// A directory of a test's own, on a real filesystem (/var/tmp; TANDEM_TEST_DIR says otherwise).
// When it goes, whatever is still mounted below is detached and everything is removed; what test
// programs that were killed have left behind goes when the next one starts.
#pragma once

#include <string>
#include <vector>

namespace tandem::test {

class Scratch {
 public:
  Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  const std::string& path() const { return path_; }
  // A path in it; Directory also makes it.
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string Directory(const std::string& name) const;

 private:
  std::string path_;
};

// Where something is mounted at or below `path`, in the order of mounting.
std::vector<std::string> MountsBelow(const std::string& path);
// Detaches all that is mounted at or below `path`, lazily.
void DetachBelow(const std::string& path);

}  // namespace tandem::test
