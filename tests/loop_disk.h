// A filesystem of its own in an image file, over a directory; its power can be cut. Needs root.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "tests/scratch.h"

namespace tandem::test {

class LoopDisk {
 public:
  // `type`: ext4, xfs or btrfs. Made, and mounted over `directory`, by Make.
  LoopDisk(const Scratch& scratch, const std::string& name, std::string type,
           std::string directory);
  ~LoopDisk();
  LoopDisk(const LoopDisk&) = delete;

  ::testing::AssertionResult Make(uint64_t bytes);
  // Nothing reaches the disk from here on (FS_IOC_SHUTDOWN); what was not written is lost.
  // `flush_log`: the journal still is written, without the data it speaks of.
  ::testing::AssertionResult CutPower(bool flush_log);
  // Unmounts, once nobody uses it any more, and mounts it again: the journal is replayed.
  ::testing::AssertionResult Restart();

  // Unmounts, damages the disk in the block where it holds `content`, and mounts it again. Needs a
  // filesystem that notices: btrfs.
  ::testing::AssertionResult Damage(std::string_view content);
  // Likewise the inode of what is at `path` (below the disk's root, with a leading slash). Needs
  // ext4.
  ::testing::AssertionResult DamageInode(const std::string& path);
  // Likewise the names in the directory at `path`, so that none of them can be looked up.
  ::testing::AssertionResult DamageDirectory(const std::string& path);
  // Unmounts, has fsck repair everything, and mounts it again. Needs ext4.
  ::testing::AssertionResult Repair();

  const std::string& directory() const { return directory_; }

 private:
  ::testing::AssertionResult Unmount();
  ::testing::AssertionResult MountImage();
  ::testing::AssertionResult FlipByteAt(off_t at);

  const std::string image_;
  const std::string type_;
  const std::string directory_;
};

}  // namespace tandem::test
