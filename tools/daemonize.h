// Going into the background without losing errors: the parent stays until the child says that it is
// ready, or ends with the child's exit code if it fails first.
#pragma once

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::tools {

class Background {
 public:
  // Forks. Returns in the child only. Call before any thread is started.
  static Result<Background> Enter();
  // Does nothing: for the foreground.
  Background() = default;

  // The parent ends with exit code 0; standard streams are cut off.
  Status Ready();

 private:
  explicit Background(UniqueFd parent) : parent_(std::move(parent)) {}
  UniqueFd parent_;
};

}  // namespace tandem::tools
