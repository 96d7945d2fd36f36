// Where a volume keeps its state: state.db, the volume's identity, the log. One tandemfs at a time.
// Used by the thread that starts.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/state_database.h"

namespace tandem::tools {

class StateDirectory {
 public:
  // A directory that is replicated. `fd` is open on it, or -1: then it is looked at by its name.
  struct Outside {
    std::string path;
    int fd = -1;
  };

  // /var/lib/tandemfs/VOLUME for root, below $XDG_STATE_HOME otherwise.
  static std::string DefaultPath(const std::string& volume);

  // Creates the directory if need be, locks it, closes it to others, and checks that it belongs to
  // this volume and lies below neither of `outside` (SOURCE and MOUNTPOINT, without symlinks).
  static Result<StateDirectory> Open(const std::string& path, const std::string& volume,
                                     const std::vector<Outside>& outside);

  // The state database. One that is lost or cannot be trusted (set aside) is warned of, and
  // an empty one takes its place: then every replica is reconciled.
  Result<meta::StateDatabase> OpenDatabase();

  // A note in the directory `path`, durable, that the bare SOURCE is about to be open to
  // applications: whatever happens next, they may change it unseen. Does nothing if there is no
  // such directory: then nothing is known of the replicas anyway.
  static Status NoteUncovered(const std::string& path);
  bool was_uncovered() const;
  // What the note stands for has been written down in the database.
  Status ForgetUncovered();

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

// Takes the lock on SOURCE that keeps a second tandemfs off it. The descriptor holds it. Waits
// `patience` for one that is about to end, and longer for one whose note in the state directory
// `state` goes on (tools/ending_note.h).
inline constexpr std::chrono::seconds kLockPatience{3};
Status LockSource(int source_fd, const std::string& source, const std::string& state,
                  std::chrono::seconds patience = kLockPatience);

}  // namespace tandem::tools
