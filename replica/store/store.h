// A replica daemon's directory with its volumes. Finds them at start, makes one at its source's
// first Hello, and passes each request to its volume. STORE/.lock keeps a second daemon out.
//
// Any thread. Format: replica/STORE.md.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "meta/base/mutex.h"
#include "meta/base/private_files.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/store/volume.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class Store {
 public:
  // Makes `path` if only its last part is missing. STORE and each volume's directory get `mode`,
  // whatever an older version or another option left: by default no other user may enter. If other
  // users may, they see as much of tree/ as its own modes allow, and the marker. A STORE that holds
  // other things too keeps its mode. Returns kUsage if another daemon has it.
  static Result<std::unique_ptr<Store>> Open(const std::string& path,
                                             mode_t mode = kPrivateDirectory);

  // Answers an encoded Request with an encoded Reply. May wait. `connection` is null if unknown.
  std::string Answer(std::string_view request, const ConnectionRef& connection = nullptr);
  // Ends waiting requests. Call this before the transport ends, which waits for them.
  void Stop();

 private:
  Store(std::string path, UniqueFd fd, mode_t mode)
      : path_(std::move(path)), fd_(std::move(fd)), mode_(mode) {}
  Status Lock();
  Status EnsureModeOfStore();
  Status FindVolumes();
  Reply Dispatch(const Request& request, const ConnectionRef& connection);
  Reply Greet(const Hello& hello, const ConnectionRef& connection);
  Result<std::shared_ptr<Volume>> VolumeFor(const Hello& hello) REQUIRES(mutex_);
  Result<std::shared_ptr<Volume>> OpenVolume(const std::string& name) REQUIRES(mutex_);
  Status MakeVolume(const Hello& hello) REQUIRES(mutex_);

  const std::string path_;
  const UniqueFd fd_;
  const mode_t mode_;
  UniqueFd lock_fd_;

  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Volume>> volumes_ GUARDED_BY(mutex_);
  std::unordered_map<SessionId, std::shared_ptr<Volume>> sessions_ GUARDED_BY(mutex_);
};

}  // namespace tandem::replica
