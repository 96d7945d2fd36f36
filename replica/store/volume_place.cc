#include "replica/store/volume_place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "meta/base/fd_path.h"
#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "replica/apply/short_objects.h"
#include "replica/apply/tree.h"
#include "replica/store/store_life.h"
#include "replica/store/volume_replies.h"

namespace tandem::replica {
namespace {

constexpr char kTreeName[] = "tree";
constexpr char kStageName[] = "stage";
constexpr char kHoldName[] = "hold";

// Nobody else gets in until the source says so: the mode of its root becomes that of tree/.
Status MakeDirectory(int parent_fd, const char* name) {
  if (mkdirat(parent_fd, name, kPrivateDirectory) != 0 && errno != EEXIST) {
    return ErrnoError(std::string("make directory ") + name);
  }
  return {};
}

// What is made in the directory must get exactly the attributes that its record says, whatever
// default the store's owner has set on the directories above.
void DropDefaultAcl(int directory_fd) {
  (void)removexattr(FdPath(directory_fd).c_str(), "system.posix_acl_default");
}

// Makes all but tree/ and the marker private, where the directories above let others in: an older
// version let the umask decide about these files. (The catalog in use sees to itself.)
void ClosePrivateFiles(const std::string& volume) {
  EnsureMode(volume + "/volume", kPrivateFile);
  EnsureMode(volume + "/" + kStageName, kPrivateDirectory);
  EnsureMode(volume + "/" + kStageName + "/" + kHoldName, kPrivateDirectory);
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(volume, ignored)) {
    const std::string name = file.path().filename();
    if (name.starts_with(VolumePlace::kCatalogName)) EnsureMode(file.path(), kPrivateFile);
  }
}

}  // namespace

VolumePlace::VolumePlace(UniqueFd fd, const std::string& path, const VolumeIdentity& identity,
                         VolumeTerms terms)
    : identity_(identity),
      terms_(std::move(terms)),
      path_(path),
      fd_(std::move(fd)),
      mounts_(fd_.get()),
      kept_(terms_.kept) {}

Status VolumePlace::Prepare(int fd, const VolumeIdentity& identity) {
  RETURN_IF_ERROR(MakeDirectory(fd, kTreeName));
  RETURN_IF_ERROR(MakeDirectory(fd, kStageName));
  ASSIGN_OR_RETURN(const UniqueFd tree, OpenBeneath(fd, kTreeName, O_RDONLY | O_DIRECTORY));
  DropDefaultAcl(tree.get());
  return WriteIdentity(fd, identity);
}

Result<UniqueFd> VolumePlace::PrepareStage(int fd) {
  RETURN_IF_ERROR(MakeDirectory(fd, kStageName));
  ASSIGN_OR_RETURN(const UniqueFd stage, OpenBeneath(fd, kStageName, O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(MakeDirectory(stage.get(), kHoldName));
  return OpenBeneath(stage.get(), kHoldName, O_RDONLY | O_DIRECTORY);
}

Result<std::unique_ptr<VolumePlace>> VolumePlace::Open(UniqueFd fd, const std::string& path,
                                                       const VolumeIdentity& identity,
                                                       VolumeTerms terms) {
  if (terms.label.empty()) terms.label = identity.name;
  std::unique_ptr<VolumePlace> place(
      new VolumePlace(std::move(fd), path, identity, std::move(terms)));
  RETURN_IF_ERROR(place->OpenDirectories());
  return place;
}

Status VolumePlace::OpenDirectories() {
  RETURN_IF_ERROR(CheckMounts());
  RETURN_IF_ERROR(MakeDirectory(fd_.get(), kTreeName));
  RETURN_IF_ERROR(MakeDirectory(fd_.get(), kStageName));
  // tree/ has the mode of the source's root, which may allow nothing.
  ASSIGN_OR_RETURN(const UniqueFd root, OpenBeneath(fd_.get(), kTreeName, O_PATH | O_DIRECTORY));
  ASSIGN_OR_RETURN(root_fd_, Reopen(root.get(), O_RDONLY | O_DIRECTORY));
  ASSIGN_OR_RETURN(stage_fd_, OpenBeneath(fd_.get(), kStageName, O_RDONLY | O_DIRECTORY));
  DropDefaultAcl(stage_fd_.get());
  RETURN_IF_ERROR(MakeDirectory(stage_fd_.get(), kHoldName));
  ASSIGN_OR_RETURN(hold_fd_, OpenBeneath(stage_fd_.get(), kHoldName, O_RDONLY | O_DIRECTORY));
  DropDefaultAcl(hold_fd_.get());
  if (const auto kept = kept_.Open(stage_fd_.get()); !kept) {
    LogWarning("volume {}: nothing is kept of what is taken away: {}", name(),
               kept.error().ToString());
  }
  largest_file_ = LargestFileIn(hold_fd_.get());
  life_ = LifeOf(stage_fd_.get());
  ClosePrivateFiles(path_);
  return {};
}

Status VolumePlace::CheckMounts() const {
  const std::string found = Mounted();
  if (found.empty()) return {};
  return MakeError(ErrorKind::kUsage, "use the replica's tree (" + found + ")", EBUSY);
}

Status VolumePlace::Sync() const {
  if (syncfs(fd_.get()) != 0) return ErrnoError("sync filesystem of " + path_);
  return {};
}

Reply VolumePlace::ReadFailure(const Error& error) const {
  if (!IsErrorOfTheObject(error, hold_fd())) return Failure(error);
  return Refuse(ReplyCode::kUnreadable, error.ToString());
}

Reply VolumePlace::Failure(const Error& error) const {
  const std::string what = "volume " + name() + " of the replica: " + error.ToString();
  if (error.kind() == ErrorKind::kProtocol) return Refuse(ReplyCode::kBadRequest, what);
  if (MeansNoRoom(error)) {
    return Refuse(ReplyCode::kNoSpace, what + "; free space on the filesystem of " + path_);
  }
  return Refuse(ReplyCode::kIoError, what + "; see the log of tandemd, and the disk of " + path_);
}

}  // namespace tandem::replica
