// An overlay over a directory: a lower layer, and an upper one on a filesystem of its own, so that
// what is changed is copied from one to the other. Needs root.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/loop_disk.h"
#include "tests/scratch.h"

namespace tandem::test {

class Overlay {
 public:
  Overlay(const Scratch& scratch, std::string directory);
  ~Overlay();
  Overlay(const Overlay&) = delete;

  // `lower` is to be filled before.
  ::testing::AssertionResult Make();
  // Unmounts it, once nobody uses it any more, and mounts it again: what the kernel knew of its
  // objects is forgotten.
  ::testing::AssertionResult Restart();

  const std::string& lower() const { return lower_; }

 private:
  ::testing::AssertionResult MountLayers();

  const std::string directory_;
  const std::string lower_;
  LoopDisk disk_;
};

}  // namespace tandem::test
