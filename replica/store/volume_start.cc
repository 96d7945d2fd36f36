// Opening a volume: what a crash has left is finished or discarded before anything else.
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <unordered_set>

#include "meta/base/fd_path.h"
#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree.h"
#include "replica/store/volume.h"

namespace tandem::replica {
namespace {

constexpr char kTreeName[] = "tree";
constexpr char kStageName[] = "stage";
constexpr char kHoldName[] = "hold";
constexpr char kCatalogName[] = "replica.db";

// Nobody else gets in until the source says so, as its root's mode will of tree/.
Status MakeDirectory(int parent_fd, const char* name) {
  if (mkdirat(parent_fd, name, kPrivateDirectory) != 0 && errno != EEXIST) {
    return ErrnoError(std::string("make directory ") + name);
  }
  return {};
}

// What is made in it must get exactly the attributes its record says, whatever the store's owner
// has set as default on the directories above.
void DropDefaultAcl(int directory_fd) {
  (void)removexattr(FdPath(directory_fd).c_str(), "system.posix_acl_default");
}

// All but tree/ and the marker, for where the directories above let others in: an older version
// did, and gave these files the modes it was told by the umask. (The catalog in use sees to
// itself.)
void ClosePrivateFiles(const std::string& volume) {
  EnsureMode(volume + "/volume", kPrivateFile);
  EnsureMode(volume + "/" + kStageName, kPrivateDirectory);
  EnsureMode(volume + "/" + kStageName + "/" + kHoldName, kPrivateDirectory);
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(volume, ignored)) {
    const std::string name = file.path().filename();
    if (name.starts_with(kCatalogName)) EnsureMode(file.path(), kPrivateFile);
  }
}

// The catalog is at one cut, and the stages lead from there to the last one. Whether the tree is,
// or was once, where neither says. A catalog is kept only after the marker has told of its cut, and
// the marker is synced with the tree: if it cannot be read then, nobody knows.
bool IsElsewhere(const std::optional<Marker>& marker, const CutName& catalog, const CutName& last) {
  if (last.epoch == Epoch()) return false;
  if (marker && marker->cut.name.epoch > last.epoch) return true;
  const bool has_stages = catalog != last;  // their redo writes the marker
  return !has_stages && (!marker || marker->state != TreeState::kApplied);
}

}  // namespace

Status Volume::Prepare(int fd, const VolumeIdentity& identity) {
  RETURN_IF_ERROR(MakeDirectory(fd, kTreeName));
  RETURN_IF_ERROR(MakeDirectory(fd, kStageName));
  ASSIGN_OR_RETURN(const UniqueFd tree, OpenBeneath(fd, kTreeName, O_RDONLY | O_DIRECTORY));
  DropDefaultAcl(tree.get());
  return WriteIdentity(fd, identity);
}

Result<std::unique_ptr<Volume>> Volume::Open(UniqueFd fd, const std::string& path,
                                             const VolumeIdentity& identity) {
  std::unique_ptr<Volume> volume(new Volume(std::move(fd), path, identity));
  auto started = volume->Start();
  if (!started) {
    return tl::unexpected<Error>(std::move(started.error()).Within("open volume " + path));
  }
  volume->redo_thread_ = std::thread(&Volume::RunRedo, volume.get());
  volume->sync_thread_ = std::thread(&Volume::RunSync, volume.get());
  return volume;
}

Status Volume::Start() {
  RETURN_IF_ERROR(OpenDirectories());
  RETURN_IF_ERROR(OpenCatalog());
  ASSIGN_OR_RETURN(const bool usable, AdoptCopiedTree());
  std::vector<std::shared_ptr<Stage>> astray;
  if (usable) {
    ASSIGN_OR_RETURN(astray, RecoverStages());
  } else {
    RETURN_IF_ERROR(DiscardStages());
  }
  {
    // Before the marker is written, on a disk that may be full.
    MutexLock lock(catalog_mutex_);
    RETURN_IF_ERROR(Stage::ClearSpares(stage_fd_.get()));
    MakeSpares();
  }
  return CheckMarker(std::move(astray));
}

Status Volume::CheckMounts() {
  const std::string found = mounts_.Look();
  if (found.empty()) return {};
  return MakeError(ErrorKind::kUsage, "use the replica's tree (" + found + ")", EBUSY);
}

Status Volume::OpenDirectories() {
  RETURN_IF_ERROR(CheckMounts());
  RETURN_IF_ERROR(MakeDirectory(fd_.get(), kTreeName));
  RETURN_IF_ERROR(MakeDirectory(fd_.get(), kStageName));
  // Its mode is the source's root's, which may let nobody in.
  ASSIGN_OR_RETURN(const UniqueFd root, OpenBeneath(fd_.get(), kTreeName, O_PATH | O_DIRECTORY));
  ASSIGN_OR_RETURN(root_fd_, Reopen(root.get(), O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(stage_fd_, OpenBeneath(fd_.get(), kStageName, O_RDONLY | O_DIRECTORY));
  DropDefaultAcl(stage_fd_.get());
  RETURN_IF_ERROR(MakeDirectory(stage_fd_.get(), kHoldName));
  ASSIGN_OR_RETURN(hold_fd_, OpenBeneath(stage_fd_.get(), kHoldName, O_RDONLY | O_DIRECTORY));
  DropDefaultAcl(hold_fd_.get());
  largest_file_ = LargestFileIn(hold_fd_.get());
  ClosePrivateFiles(path_);
  return {};
}

Status Volume::OpenCatalog() {
  const std::string path = path_ + "/" + kCatalogName;
  auto catalog = Catalog::Open(path);
  if (!catalog && catalog.error().kind() == ErrorKind::kCorrupt) {
    LogError("volume {}: {}: set aside; the source has to send everything again", identity_.name,
             catalog.error().ToString());
    RETURN_IF_ERROR(SetCatalogAside());
    catalog = Catalog::Open(path);
    MutexLock lock(mutex_);
    history_notice_ = "replica.db was damaged and has been set aside";
  }
  if (!catalog) return tl::unexpected<Error>(std::move(catalog.error()));
  MutexLock catalog_lock(catalog_mutex_);
  catalog_ = std::move(*catalog);
  RETURN_IF_ERROR(LookForShortObjects());
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(applied_, catalog_->Applied());
  ASSIGN_OR_RETURN(empty_, catalog_->IsEmpty());
  ASSIGN_OR_RETURN(notices_.xattrs, catalog_->CountLackingXattrs());
  return {};
}

Status Volume::SetCatalogAside() {
  const std::string suffix = ".damaged-" + std::to_string(time(nullptr));
  for (const char* part : {"", "-wal", "-shm"}) {
    const std::string name = std::string(kCatalogName) + part;
    const std::string aside = kCatalogName + suffix + part;
    if (renameat(fd_.get(), name.c_str(), fd_.get(), aside.c_str()) != 0 && errno != ENOENT) {
      return ErrnoError("set aside " + name);
    }
  }
  return {};
}

// ---- Stages ------------------------------------------------------------------------------------

Result<std::vector<std::shared_ptr<Stage>>> Volume::RecoverStages() {
  ASSIGN_OR_RETURN(const auto names, NamesIn(stage_fd_.get()));
  std::vector<std::shared_ptr<Stage>> stages;
  for (const std::string& name : names) {
    if (!Stage::IsStageName(name)) continue;
    auto stage = Stage::Recover(stage_fd_.get(), name, identity_.volume);
    if (stage) {
      stages.push_back(std::move(*stage));
      continue;
    }
    if (stage.error().kind() != ErrorKind::kCorrupt) {
      return tl::unexpected<Error>(std::move(stage.error()));
    }
    LogInfo("volume {}: {}: never committed, discarded", identity_.name, stage.error().ToString());
    RETURN_IF_ERROR(Stage::RemoveFile(stage_fd_.get(), name));
  }
  std::ranges::sort(stages, {}, [](const auto& stage) { return stage->commit_record().cut.epoch; });
  std::vector<std::shared_ptr<Stage>> astray = AdoptStages(stages);
  RETURN_IF_ERROR(RemoveStrayFiles(names));
  // The daemon that committed them may have died before they were on the disk, and the source is
  // told now that they are durable.
  MutexLock lock(mutex_);
  if (!pending_.empty() && syncfs(stage_fd_.get()) != 0) return ErrnoError("sync stages");
  return astray;
}

// Content whose stage never was, or is no more.
Status Volume::RemoveStrayFiles(const std::vector<std::string>& names) {
  std::unordered_set<std::string> known;
  {
    MutexLock lock(mutex_);
    for (const auto* stages : {&pending_, &unsynced_}) {
      for (const auto& stage : *stages) known.insert(stage->id().ToHex() + StagedFiles::kSuffix);
    }
  }
  for (const std::string& name : names) {
    if (name.ends_with(Stage::kRoomSuffix)) (void)unlinkat(stage_fd_.get(), name.c_str(), 0);
    if (!name.ends_with(StagedFiles::kSuffix) || known.contains(name)) continue;
    RETURN_IF_ERROR(StagedFiles(stage_fd_.get(), name).Remove());
  }
  return {};
}

Status Volume::DiscardStages() {
  ASSIGN_OR_RETURN(const auto names, NamesIn(stage_fd_.get()));
  for (const std::string& name : names) {
    if (!Stage::IsStageName(name)) continue;
    RETURN_IF_ERROR(Stage::RemoveFile(stage_fd_.get(), name));
  }
  {
    MutexLock lock(mutex_);
    durable_ = applied_;
  }
  return RemoveStrayFiles(names);
}

// Stages up to the catalog's cut wait for a sync; from there on each must follow the one before, by
// its base: numbers do not tell where a set of no moment belongs, which has none. One that is not
// on the way was applied long ago. (Stages from before the tree was at no cut, and what the source
// has sent since, do not follow: they may have been left behind.)
std::vector<std::shared_ptr<Stage>> Volume::AdoptStages(
    const std::vector<std::shared_ptr<Stage>>& stages) {
  MutexLock lock(mutex_);
  durable_ = applied_;
  std::vector<std::shared_ptr<Stage>> rest;
  for (const auto& stage : stages) {
    const CutName cut = stage->commit_record().cut;
    const bool kept =
        cut == applied_.name || (cut.epoch != Epoch() && cut.epoch <= applied_.name.epoch);
    (kept ? unsynced_ : rest).push_back(stage);
  }
  for (auto next = rest.begin(); next != rest.end();) {
    next = std::ranges::find_if(rest, [this](const auto& stage) NO_THREAD_SAFETY_ANALYSIS {
      return stage->base() == durable_.name;
    });
    if (next == rest.end()) break;
    const CommitRecord commit = (*next)->commit_record();
    durable_ = {commit.cut, commit.wall_time_ns};
    pending_.push_back(std::move(*next));
    rest.erase(next);
    next = rest.begin();
  }
  std::vector<std::shared_ptr<Stage>> astray;
  for (const auto& stage : rest) {
    const Epoch cut = stage->commit_record().cut.epoch;
    if (cut == Epoch() && !applied_.IsNowhere()) {
      unsynced_.push_back(stage);
      continue;
    }
    LogError("volume {}: stage of cut {} does not follow cut {}: discarded", identity_.name,
             cut.number(), durable_.name.epoch.number());
    astray.push_back(stage);
  }
  return astray;
}

// A tree on its way to a cut, or at one of which the catalog knows nothing, with no stage that
// leads there (a damaged disk; a commit that nobody was told of cannot be it), is at no cut at all.
Status Volume::CheckMarker(std::vector<std::shared_ptr<Stage>> astray) {
  MutexLock catalog_lock(catalog_mutex_);
  MutexLock lock(mutex_);
  const bool chain_is_broken = !durable_.IsNowhere() && !astray.empty() &&
                               astray.back()->commit_record().cut.epoch > durable_.name.epoch;
  if (chain_is_broken || IsElsewhere(ReadMarker(fd_.get()), applied_.name, durable_.name)) {
    astray.insert(astray.end(), pending_.begin(), pending_.end());
    pending_.clear();
    LeaveEveryCut("a change set was lost while it was being applied", AppliedCut::Nowhere());
    ASSIGN_OR_RETURN(Savepoint part, catalog_->Begin());
    RETURN_IF_ERROR(catalog_->SetApplied(applied_));
    RETURN_IF_ERROR(part.Release());
    RETURN_IF_ERROR(catalog_->Keep());
  }
  // Last: if this start is cut off, the next must see what this one has seen.
  for (const auto& stage : astray) RETURN_IF_ERROR(stage->Remove());
  if (!pending_.empty()) return {};  // its redo writes the marker
  redo_unfinished_ = false;
  const TreeState state = applied_.IsNowhere() ? TreeState::kSeeding : TreeState::kApplied;
  // What is taken for equal when the source compares must last.
  RETURN_IF_ERROR(SyncTree());
  // No stage stands behind it: it must not come out of a power cut empty.
  return WriteMarker(fd_.get(), {identity_, state, applied_}, /*durably=*/true);
}

}  // namespace tandem::replica
