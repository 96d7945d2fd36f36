// Where a volume keeps its state: state.db, the volume's identity, the log. One tandemfs at a time.
// Used by the thread that starts.
#pragma once

#include <optional>
#include <string>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/state_database.h"

namespace tandem::tools {

class StateDirectory {
 public:
  // /var/lib/tandemfs/VOLUME for root, below $XDG_STATE_HOME otherwise.
  static std::string DefaultPath(const std::string& volume);

  // Creates the directory if need be, locks it, closes it to others, and checks that it belongs to
  // this volume and lies below neither of `outside` (SOURCE and MOUNTPOINT, without symlinks).
  static Result<StateDirectory> Open(const std::string& path, const std::string& volume,
                                     const std::vector<std::string>& outside);

  // The state database. One that is lost or cannot be trusted (set aside) is warned of, and
  // an empty one takes its place: then every replica is reconciled.
  Result<meta::StateDatabase> OpenDatabase();

  // There was a database once, but what it held is gone: nothing is known of the replicas.
  bool database_was_lost() const { return database_was_lost_; }

  const std::string& path() const { return path_; }
  VolumeId volume_id() const { return volume_id_; }

 private:
  StateDirectory(std::string path, UniqueFd lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}
  Status LoadOrCreateIdentity(const std::string& volume);
  Result<meta::StateDatabase> OpenOrReplaceDatabase();

  std::string path_;
  std::string volume_;
  UniqueFd lock_;
  VolumeId volume_id_;
  bool is_new_ = true;
  bool database_was_lost_ = false;
};

// Takes the lock on SOURCE that keeps a second tandemfs off it. The descriptor holds it.
Status LockSource(int source_fd, const std::string& source);

}  // namespace tandem::tools
