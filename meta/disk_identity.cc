#include "meta/disk_identity.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "meta/base/unique_fd.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U  // since Linux 6.8; never used again, unlike STATX_MNT_ID
#endif

namespace tandem::meta {
namespace {

constexpr char kCleanKey[] = "clean";
constexpr char kBootKey[] = "boot";
constexpr char kSourceMountKey[] = "source_mount";
constexpr char kStateMountKey[] = "state_mount";
constexpr char kYes[] = "yes";
constexpr char kNo[] = "no";

Result<std::string> MountOf(int fd) {
  struct statx attributes;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, &attributes) != 0) {
    return ErrnoError("find out which mount this is");
  }
  return std::to_string(attributes.stx_mnt_id) +
         ((attributes.stx_mask & STATX_MNT_ID_UNIQUE) != 0 ? "" : "?");
}

Result<Epoch> SyncedEpoch(StateDatabase& database) {
  ASSIGN_OR_RETURN(const auto text, database.Get(kSyncedEpochKey));
  uint64_t number = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), number);
  return Epoch(number);
}

Status OweReconcile(StateDatabase& database) {
  ASSIGN_OR_RETURN(const Epoch synced, SyncedEpoch(database));
  ASSIGN_OR_RETURN(const std::vector<ReplicaRecord> replicas, database.LoadReplicas());
  for (ReplicaRecord record : replicas) {
    // One that is owed already may have to look further back.
    record.compare_after = record.reconcile_owed ? std::min(record.compare_after, synced) : synced;
    record.reconcile_owed = true;
    RETURN_IF_ERROR(database.PutReplica(record));
  }
  return {};
}

}  // namespace

Result<DiskIdentity> ReadDiskIdentity(int source_fd, const std::string& state_directory) {
  DiskIdentity identity;
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  if (!std::getline(boot, identity.boot)) return ErrnoError(EIO, "read this machine's boot id");
  ASSIGN_OR_RETURN(identity.source_mount, MountOf(source_fd));
  const UniqueFd state(open(state_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!state.valid()) return ErrnoError("open " + state_directory);
  ASSIGN_OR_RETURN(identity.state_mount, MountOf(state.get()));
  return identity;
}

Result<LastEnd> BeginRun(StateDatabase& database, const DiskIdentity& identity,
                         bool witnesses_agree) {
  ASSIGN_OR_RETURN(const auto clean, database.Get(kCleanKey));
  ASSIGN_OR_RETURN(const auto failed, database.Get(kDiskFailedKey));
  ASSIGN_OR_RETURN(const auto boot, database.Get(kBootKey));
  ASSIGN_OR_RETURN(const auto source_mount, database.Get(kSourceMountKey));
  ASSIGN_OR_RETURN(const auto state_mount, database.Get(kStateMountKey));
  const DiskIdentity before{boot.value_or(""), source_mount.value_or(""), state_mount.value_or("")};
  LastEnd end = LastEnd::kKilled;
  if (!boot) {
    end = LastEnd::kNone;
  } else if (failed == kYes) {
    end = LastEnd::kDiskUnclean;
  } else if (clean == kYes) {
    end = witnesses_agree ? LastEnd::kClean : LastEnd::kContradicted;
  } else if (before != identity) {
    end = LastEnd::kDiskUnclean;
  }

  RETURN_IF_ERROR(database.database().SetSync(Database::Sync::kFull));
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database.database()));
  if (end == LastEnd::kDiskUnclean || end == LastEnd::kContradicted) {
    RETURN_IF_ERROR(OweReconcile(database));
  }
  RETURN_IF_ERROR(database.Put(kCleanKey, kNo));
  RETURN_IF_ERROR(database.Put(kDiskFailedKey, kNo));
  RETURN_IF_ERROR(database.Put(kBootKey, identity.boot));
  RETURN_IF_ERROR(database.Put(kSourceMountKey, identity.source_mount));
  RETURN_IF_ERROR(database.Put(kStateMountKey, identity.state_mount));
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
