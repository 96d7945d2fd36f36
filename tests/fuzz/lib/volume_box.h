// A volume in a directory of its own, beside a canary: whatever the volume is told, and whatever
// another user plants in its tree, nothing outside STORE/VOLUME may change.
//
//   box/outside/canary    a file with known content
//   box/outside/inner/    an empty directory
//   box/store/vol/        the volume
//
// One thread.
#pragma once

#include <memory>
#include <string>

#include "replica/store/volume.h"

namespace tandem::fuzz {

class VolumeBox {
 public:
  static constexpr VolumeId kVolume{1, 1};
  static constexpr char kName[] = "vol";

  // Removes what the box before has left, and makes a volume.
  VolumeBox();
  ~VolumeBox();

  replica::Volume& volume() { return *volume_; }
  const std::string& outside() const { return outside_; }
  std::string tree() const { return path_ + "/tree"; }

  // Ends the volume and opens it again.
  void Reopen();
  // Requires that nothing outside has changed, and that the volume has only what is its own.
  void CheckContained() const;

 private:
  void Open();

  const std::string box_;
  const std::string outside_;
  const std::string path_;  // of the volume
  std::unique_ptr<replica::Volume> volume_;
};

}  // namespace tandem::fuzz
