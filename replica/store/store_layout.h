// What stands where in a store: volumes of account local at STORE/VOLUME, those of others at
// STORE/ACCOUNT/VOLUME. A marker file tells the two apart: a volume has `volume`, the directory of
// an account has `account`, {"format": 1, "account": NAME}. Both are there before the directory
// gets its name, so a crash leaves it whole or not at all. STORE/.lock keeps a second daemon out.
//
// Any thread. The same volume is made, opened or adopted by one thread at a time. Format:
// replica/STORE.md.
#pragma once

#include <compare>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "meta/base/private_files.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/marker.h"

namespace tandem::replica {

// The socket in STORE at which a running tandemd answers (tools/scrub_service.h). Not beside the
// keys, so that a copy of those has no socket in it.
inline constexpr char kControlSocket[] = ".control.sock";

// Names a volume of a store.
struct VolumeKey {
  std::string account;
  std::string name;
  // Returns "NAME" for account local, else "ACCOUNT/NAME": its path below STORE, and its name for
  // people.
  std::string ToString() const;
  friend auto operator<=>(const VolumeKey&, const VolumeKey&) = default;
};

class StoreLayout {
 public:
  // Makes `path` if only its last part is missing. STORE, the directories of accounts and those of
  // volumes get `mode`. A STORE that holds other things too keeps its mode. Returns kUsage if
  // another daemon has it.
  static Result<std::unique_ptr<StoreLayout>> Open(const std::string& path,
                                                   mode_t mode = kPrivateDirectory);

  const std::string& path() const { return path_; }
  // Returns all volumes. Removes what was being made when a daemon was killed.
  Result<std::vector<VolumeKey>> FindVolumes() const;

  struct Opened {
    UniqueFd fd;
    std::string path;
    VolumeIdentity identity;
  };
  // Returns ENOENT if nothing has the name, and kRefused if something has that is no volume.
  Result<Opened> OpenVolume(const VolumeKey& key) const;
  // Makes an empty volume, and its account's directory if there is none. Returns kRefused if the
  // name is taken.
  Status MakeVolume(const VolumeKey& key, VolumeId id) const;
  // What `tandemd import` works in: STORE/VOLUME is a directory with the file `import`, and becomes
  // a volume when it has the file `volume`.
  struct Import {
    UniqueFd parent_fd;  // STORE or STORE/ACCOUNT
    UniqueFd fd;         // STORE/VOLUME; invalid if there is nothing of that name
    std::string path;
    bool has_identity = false;  // it is a volume already
  };
  // Opens what an import that was interrupted has left, if there is something. Returns kUsage if
  // something else has the name.
  Result<Import> FindImport(const VolumeKey& key) const;
  // Makes it, empty but for the file `import`.
  static Status MakeImport(const VolumeKey& key, Import& import);
  static Status RemoveImport(const VolumeKey& key, Import& import);
  // Makes it a volume, durably. May be repeated.
  static Status FinishImport(const VolumeKey& key, const Import& import);
  int fd() const { return fd_.get(); }
  // Moves a volume of account local to another account, without copying. May be repeated after a
  // crash, which leaves the volume in one of the two places. The caller sees to it that the volume
  // is not open. Returns kUsage if there is no such volume, or if a name is taken.
  Status Adopt(const std::string& volume, const std::string& account) const;

 private:
  StoreLayout(std::string path, UniqueFd fd, mode_t mode)
      : path_(std::move(path)), fd_(std::move(fd)), mode_(mode) {}
  Status Lock();
  Status EnsureModeOfStore() const;
  // Returns the directory that an account's volumes stand in: invalid if there is none.
  Result<UniqueFd> OpenAccount(const std::string& account) const;
  Result<UniqueFd> MakeAccount(const std::string& account) const;
  // Makes a directory under a passing name, lets `fill` fill it, and gives it its name, durably.
  static Status MakeWholeDirectory(int parent_fd, const std::string& name,
                                   const std::function<Status(int)>& fill);

  const std::string path_;
  const UniqueFd fd_;
  const mode_t mode_;
  UniqueFd lock_fd_;
};

// Does what StoreLayout::Adopt does, in a store that no daemon uses. Returns kUsage if `store` is
// no directory or a daemon uses it.
Status AdoptVolume(const std::string& store, const std::string& volume, const std::string& account);

// Returns whether the directory holds the volumes of an account.
bool IsAccountDirectory(int directory_fd);

}  // namespace tandem::replica
