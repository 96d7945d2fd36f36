// A listening socket that only this process can connect to: in a new directory of mode 0700, and
// whoever connects is asked for its process id (SO_PEERCRED). For libraries that can dial a path,
// but cannot be given a descriptor.
//
// The directory is locked with flock(2) for as long as it is used. What a killed process left
// behind is removed by the next that makes one beside it. Used by one thread.
#pragma once

#include <string>
#include <vector>

#include "meta/base/result.h"
#include "meta/base/unique_fd.h"

namespace tandem::replica {

class PrivateListener {
 public:
  // Makes the directory in the first of `parents` that can be written to.
  static Result<PrivateListener> Make(const std::vector<std::string>& parents = UsualParents());
  // $XDG_RUNTIME_DIR (not for root), /run and /tmp.
  static std::vector<std::string> UsualParents();
  // Removes the socket and its directory.
  ~PrivateListener();
  PrivateListener(PrivateListener&& other) noexcept;
  PrivateListener& operator=(PrivateListener&&) = delete;

  const std::string& path() const { return path_; }
  int fd() const { return socket_.get(); }  // readable if somebody connects
  // Returns the next connection, or an invalid descriptor if there is none. Connections of other
  // processes are closed.
  Result<UniqueFd> Accept();

 private:
  PrivateListener() = default;

  std::string directory_;
  std::string path_;
  UniqueFd lock_;
  UniqueFd socket_;
};

}  // namespace tandem::replica
