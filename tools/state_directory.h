// The directory with a volume's state: state.db, the volume's identity, the log. Used by one
// tandemfs at a time, by the thread that starts it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/change/file_handle.h"
#include "meta/state/state_database.h"

namespace tandem::tools {

class StateDirectory {
 public:
  // A directory that is replicated. `fd` is open on it; if it is -1, `path` is used.
  struct ReplicatedDirectory {
    std::string path;
    int fd = -1;
  };

  // Returns /var/lib/tandemfs/VOLUME for root, otherwise a directory below $XDG_STATE_HOME.
  static std::string DefaultPath(const std::string& volume);

  // Creates the directory if it is missing, locks it, and removes access for other users. Fails if
  // it belongs to another volume or lies below one of `replicated` (SOURCE and MOUNTPOINT, without
  // symlinks).
  static Result<StateDirectory> Open(const std::string& path, const std::string& volume,
                                     const std::vector<ReplicatedDirectory>& replicated);

  // Opens the state database. If it is lost or corrupt, logs a warning, sets a corrupt one aside,
  // and creates an empty one: then every replica is reconciled.
  Result<meta::StateDatabase> OpenDatabase();

  // Records durably, in the directory `path`, that the bare SOURCE is about to be exposed: from
  // then on applications may change it without capture. Does nothing if there is no such directory:
  // then nothing is known of the replicas.
  static Status RecordExposure(const std::string& path);
  bool was_exposed() const;
  // Called after the database has recorded that every replica is owed a reconcile.
  Status ClearExposure();

  // The database was lost or corrupt, so nothing is known of the replicas.
  bool database_was_lost() const { return database_was_lost_; }

  const std::string& path() const { return path_; }
  VolumeId volume_id() const { return volume_id_; }
  // Of the volume's objects. To be set before the database is opened, which checks ids.
  IdForm id_form() const { return id_form_; }

 private:
  StateDirectory(std::string path, UniqueFd lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}
  Status LoadOrCreateIdentity(const std::string& volume);
  Result<meta::StateDatabase> OpenOrReplaceDatabase();

  std::string path_;
  std::string volume_;
  UniqueFd lock_;
  VolumeId volume_id_;
  IdForm id_form_ = IdForm::kPlaced;
  bool is_new_ = true;
  bool database_was_lost_ = false;
};

// Locks SOURCE against a second tandemfs. The descriptor holds the lock. Waits `timeout` for a
// tandemfs that is ending, and longer while its progress in the state directory `state` goes on
// (tools/shutdown_progress.h).
inline constexpr std::chrono::seconds kLockTimeout{3};
Status LockSource(int source_fd, const std::string& source, const std::string& state,
                  std::chrono::seconds timeout = kLockTimeout);

}  // namespace tandem::tools
