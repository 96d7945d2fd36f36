// The names in large directories that are being listed page by page, so that a page does not read
// the whole directory. What is kept is used only while the directory's times say that no name has
// changed since. All volumes of the process together keep at most kMostNamesKeptBytes.
//
// Any thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"

namespace tandem::replica {

class NamesListed {
 public:
  using Names = std::shared_ptr<const std::vector<std::string>>;

  NamesListed() = default;
  ~NamesListed();

  // Returns the names in the directory, in byte order, without "." and "..".
  Result<Names> Of(int directory_fd) EXCLUDES(mutex_);
  // Forgets the names: the last page of them has been listed.
  void Forget(const Names& names) EXCLUDES(mutex_);

 private:
  // The directory, and its times.
  struct State {
    uint64_t device;
    uint64_t inode;
    int64_t modified_ns;
    int64_t changed_ns;
    friend bool operator==(const State&, const State&) = default;
  };
  struct Kept {
    State state;
    Names names;
    size_t bytes;
  };
  void EraseIf(const std::function<bool(const Kept&)>& is_it) REQUIRES(mutex_);
  static Result<State> StateOf(int directory_fd);

  Mutex mutex_;
  std::deque<Kept> kept_ GUARDED_BY(mutex_);  // newest first
};

}  // namespace tandem::replica
