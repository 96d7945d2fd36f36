// Moves a daemon into the background without losing errors. The parent waits until the child is
// ready and exits with 0, or with the child's exit code if the child fails first.
#pragma once

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {

class Background {
 public:
  // Forks, and returns in the child only. Called before any thread is started.
  static Result<Background> Enter();
  // For the foreground: Ready does nothing.
  Background() = default;

  // Ends the parent with exit code 0 and redirects the standard streams to /dev/null.
  Status Ready();

 private:
  explicit Background(UniqueFd parent) : parent_(std::move(parent)) {}
  UniqueFd parent_;
};

}  // namespace tandem::tools
