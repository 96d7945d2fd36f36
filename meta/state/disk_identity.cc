#include "meta/state/disk_identity.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "meta/base/boot_id.h"
#include "meta/base/hex.h"
#include "meta/base/unique_fd.h"
#include "meta/source/mount_identity.h"

namespace tandem::meta {
namespace {

// FS_IOC_GETFSUUID, since Linux 6.9.
struct FilesystemUuid {
  uint8_t length;
  uint8_t bytes[16];
};
constexpr unsigned long kGetFilesystemUuid = _IOR(0x15, 0, FilesystemUuid);

constexpr char kCleanKey[] = "clean";
constexpr char kBootKey[] = "boot";
constexpr char kSourceMountKey[] = "source_mount";
constexpr char kStateMountKey[] = "state_mount";
constexpr char kSourceRootKey[] = "source_root";
constexpr char kSourcePathKey[] = "source_path";
constexpr char kLifeKey[] = "life";
constexpr char kYes[] = "yes";
constexpr char kNo[] = "no";

// Returns the root's file handle in hexadecimal, followed by the filesystem's UUID if the kernel
// reports it, since the root directories of two filesystems often have the same handle.
std::string RootOf(const SourceTree& tree) {
  std::string bytes(tree.root().handle.bytes());
  FilesystemUuid uuid = {};
  if (ioctl(tree.root_fd(), kGetFilesystemUuid, &uuid) == 0) {
    bytes.append(reinterpret_cast<const char*>(uuid.bytes), sizeof uuid.bytes);
  }
  return ToHex(bytes);
}

// Returns whether SOURCE is the same directory as in the last run. A wrong directory must not be
// taken for a tree in which nearly everything has been removed.
Result<bool> IsSameSource(StateDatabase& database, const DiskIdentity& now) {
  ASSIGN_OR_RETURN(const auto root, database.Get(kSourceRootKey));
  ASSIGN_OR_RETURN(const auto path, database.Get(kSourcePathKey));
  if (!root || *root == now.source_root) return true;
  const std::string advice = " (to make every replica a copy of this directory, remove " +
                             database.database().path() + ")";
  if (path != now.source_path) {
    return MakeError(
        ErrorKind::kUsage,
        "the state belongs to " + path.value_or("another source") + ", and " + now.source_path +
            " is another directory: choose another state with --volume or --state" + advice);
  }
  std::error_code error;
  const bool empty = std::filesystem::is_empty(now.source_path, error);
  if (error) return ErrnoError(error.value(), "list " + now.source_path);
  if (empty) {
    return MakeError(ErrorKind::kUsage, now.source_path +
                                            " is empty and not the directory it was: is its disk "
                                            "mounted?" +
                                            advice);
  }
  return false;
}

Result<Epoch> SyncedEpoch(StateDatabase& database) {
  ASSIGN_OR_RETURN(const auto text, database.Get(kSyncedEpochKey));
  uint64_t number = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), number);
  if (Epoch(number) > kNewestEpoch) return Epoch();  // damaged: take nothing for synced
  return Epoch(number);
}

Status OweReconcile(StateDatabase& database) {
  ASSIGN_OR_RETURN(const Epoch synced, SyncedEpoch(database));
  ASSIGN_OR_RETURN(const std::vector<ReplicaRecord> replicas, database.LoadReplicas());
  for (ReplicaRecord record : replicas) {
    // If a reconcile is owed already, it may have to compare changes from further back.
    record.compare_after = record.reconcile_owed ? std::min(record.compare_after, synced) : synced;
    record.reconcile_owed = true;
    RETURN_IF_ERROR(database.PutReplica(record));
  }
  // A replica that was removed and comes back later needs a reconcile as well. It gets one if the
  // database knows nothing of it, so forget the removed replicas.
  return database.Put(kLeftOutKey, "");
}

}  // namespace

Result<DiskIdentity> ReadDiskIdentity(const SourceTree& tree, const std::string& source,
                                      const std::string& source_mount,
                                      const std::string& state_directory) {
  DiskIdentity identity;
  identity.boot = BootId();
  if (identity.boot.empty()) return ErrnoError(EIO, "read this machine's boot id");
  identity.source_mount = source_mount;
  const UniqueFd state(open(state_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!state.valid()) return ErrnoError("open " + state_directory);
  ASSIGN_OR_RETURN(identity.state_mount, MountIdentityOf(state.get()));
  identity.source_root = RootOf(tree);
  identity.source_path = source;
  return identity;
}

Result<LifeId> CurrentLife(StateDatabase& database) {
  ASSIGN_OR_RETURN(const auto text, database.Get(kLifeKey));
  return text ? LifeId::FromHex(*text).value_or(LifeId()) : LifeId();
}

Result<LastEnd> BeginRun(StateDatabase& database, const DiskIdentity& identity,
                         const Suspicions& suspicions) {
  ASSIGN_OR_RETURN(const auto clean, database.Get(kCleanKey));
  ASSIGN_OR_RETURN(const auto failed, database.Get(kDiskFailedKey));
  ASSIGN_OR_RETURN(const auto boot, database.Get(kBootKey));
  ASSIGN_OR_RETURN(const auto source_mount, database.Get(kSourceMountKey));
  ASSIGN_OR_RETURN(const auto state_mount, database.Get(kStateMountKey));
  ASSIGN_OR_RETURN(const bool same_source, IsSameSource(database, identity));
  const bool same_disks = boot == identity.boot && source_mount == identity.source_mount &&
                          state_mount == identity.state_mount;
  LastEnd end = LastEnd::kKilled;
  if (!boot) {
    end = LastEnd::kNone;
  } else if (failed == kYes) {
    end = LastEnd::kDiskUnclean;
  } else if (clean == kYes) {
    const bool contradicted = !suspicions.witnesses_agree || !same_source || suspicions.uncovered;
    end = contradicted ? LastEnd::kContradicted : LastEnd::kClean;
  } else if (!same_disks) {
    end = LastEnd::kDiskUnclean;
  } else if (!same_source || suspicions.uncovered) {
    end = LastEnd::kContradicted;
  }

  RETURN_IF_ERROR(database.database().SetSync(Database::Sync::kFull));
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database.database()));
  if (end == LastEnd::kDiskUnclean || end == LastEnd::kContradicted) {
    RETURN_IF_ERROR(OweReconcile(database));
  }
  ASSIGN_OR_RETURN(const LifeId life, CurrentLife(database));
  const bool lives_on = same_disks && (end == LastEnd::kClean || end == LastEnd::kKilled);
  if (!lives_on || life.is_null()) {
    RETURN_IF_ERROR(database.Put(kLifeKey, LifeId::Random().ToHex()));
  }
  RETURN_IF_ERROR(database.Put(kCleanKey, kNo));
  RETURN_IF_ERROR(database.Put(kDiskFailedKey, kNo));
  RETURN_IF_ERROR(database.Put(kBootKey, identity.boot));
  RETURN_IF_ERROR(database.Put(kSourceMountKey, identity.source_mount));
  RETURN_IF_ERROR(database.Put(kStateMountKey, identity.state_mount));
  RETURN_IF_ERROR(database.Put(kSourceRootKey, identity.source_root));
  RETURN_IF_ERROR(database.Put(kSourcePathKey, identity.source_path));
  RETURN_IF_ERROR(transaction.Commit());
  RETURN_IF_ERROR(database.database().SetSync(Database::Sync::kNormal));
  return end;
}

Status EndRun(StateWriter& writer, const std::string& witnesses) {
  return writer.Do(
      [&witnesses](StateDatabase& database) -> Status {
        RETURN_IF_ERROR(database.Put(kWitnessesKey, witnesses));
        return database.Put(kCleanKey, kYes);
      },
      StateWriter::Durability::kPowerCut);
}

}  // namespace tandem::meta
