// Applies what has changed in the configuration file of a mount while it is mounted (SIGHUP, tandem
// reload). Any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/source/replication.h"
#include "tools/mount_arguments.h"

namespace tandem::tools {

class Reload {
 public:
  // `arguments` are those that the mount was made with, out of `argc` and `argv`, which outlive
  // this. Made in the directory that relative paths among them begin at.
  Reload(int argc, char** argv, MountArguments arguments);

  // Reads the file again and applies what can be applied. Replies with "changed" and with
  // "at_next_start", which needs another mount, both lists of sentences. If the file is wrong,
  // nothing is changed. `replication` is null without capture.
  Result<nlohmann::json> Apply(replica::Replication* replication) EXCLUDES(mutex_);

 private:
  const int argc_;
  char** const argv_;
  std::string directory_;
  Mutex mutex_;
  MountArguments now_ GUARDED_BY(mutex_);
};

}  // namespace tandem::tools
