#include "tools/config/reload.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "meta/base/log.h"
#include "tools/config/given_settings.h"

namespace tandem::tools {
namespace {

using Lines = std::vector<std::string>;
using meta::ReplicaRecord;
using replica::Replication;

bool HasName(const std::vector<ReplicaArgument>& replicas, const std::string& name) {
  return std::ranges::find(replicas, name, &ReplicaArgument::name) != replicas.end();
}

bool Same(const std::vector<ReplicaArgument>& a, const std::vector<ReplicaArgument>& b) {
  return std::ranges::equal(a, b, [](const ReplicaArgument& one, const ReplicaArgument& other) {
    return one.name == other.name && one.url == other.url;
  });
}

// Applies what one replica of the file is now.
Status ApplyReplica(const ReplicaArgument& replica, const std::vector<ReplicaArgument>& wanted,
                    Replication& replication, Lines& changed) {
  const std::vector<ReplicaRecord> records = replication.Records();
  const auto known = std::ranges::find(records, replica.name, &ReplicaRecord::name);
  const auto there = std::ranges::find(records, replica.url, &ReplicaRecord::url);
  if (known != records.end()) {
    if (known->url == replica.url) return {};
    RETURN_IF_ERROR(replication.SetUrl(replica.name, replica.url));
    changed.push_back("replica " + replica.name + " is at " + replica.url);
  } else if (there != records.end() && !HasName(wanted, there->name)) {
    RETURN_IF_ERROR(replication.Rename(there->name, replica.name));
    changed.push_back("replica " + there->name + " is called " + replica.name);
  } else {
    RETURN_IF_ERROR(replication.Add(replica.name, replica.url));
    changed.push_back("replica " + replica.name + " was added");
  }
  return {};
}

// Carries what has changed in the file's list over to the mount. Replicas that were added by other
// means stay. If one cannot be changed, those before it have been.
Status ApplyReplicas(const std::vector<ReplicaArgument>& before,
                     const std::vector<ReplicaArgument>& wanted, Replication& replication,
                     Lines& changed) {
  for (const ReplicaArgument& replica : wanted) {
    RETURN_IF_ERROR(ApplyReplica(replica, wanted, replication, changed));
  }
  for (const ReplicaRecord& record : replication.Records()) {
    if (HasName(wanted, record.name) || !HasName(before, record.name)) continue;
    RETURN_IF_ERROR(replication.Remove(record.name));
    changed.push_back("replica " + record.name + " was removed");
  }
  return {};
}

// What a running mount cannot change.
void NoteForNextStart(const MountArguments& now, const MountArguments& wanted, Lines& next) {
  const auto note = [&next](bool differs, const char* what) {
    if (differs) next.emplace_back(what);
  };
  note(now.source != wanted.source, "source");
  note(now.mountpoint != wanted.mountpoint, "mountpoint");
  note(now.volume != wanted.volume, "volume");
  note(now.state != wanted.state, "state");
  note(now.most_changes != wanted.most_changes, "max-changes");
  note(now.stop_timeout != wanted.stop_timeout, "stop-timeout");
  note(now.capture != wanted.capture, "no-capture");
  note(now.fuse_options != wanted.fuse_options, "options");
}

}  // namespace

Reload::Reload(int argc, char** argv, MountArguments arguments)
    : argc_(argc), argv_(argv), now_(std::move(arguments)) {
  std::error_code ignored;
  directory_ = std::filesystem::current_path(ignored).string();
  for (std::string* path : {&now_.source, &now_.mountpoint, &now_.config}) {
    Anchor(*path, directory_);
  }
}

Result<nlohmann::json> Reload::Apply(Replication* replication) {
  MutexLock lock(mutex_);
  if (now_.config.empty()) {
    return MakeError(ErrorKind::kUsage,
                     "the mount was made without a configuration file: there is nothing to read "
                     "again (tandem set and tandem replica change its settings)");
  }
  ASSIGN_OR_RETURN(MountArguments wanted, ParseMountArguments(argc_, argv_, directory_));
  ASSIGN_OR_RETURN(const auto bandwidth, replica::BandwidthSchedule::Parse(wanted.bandwidth));
  const bool changes_replicas = wanted.replicas_in_config && !Same(wanted.replicas, now_.replicas);
  for (const ReplicaArgument& replica : wanted.replicas) {
    if (!changes_replicas || !replica.url.starts_with('@')) continue;
    return MakeError(ErrorKind::kUsage, wanted.config + ": enrol replica " + replica.url +
                                            " with tandem replica add, and put its URL here");
  }
  Lines changed;
  Lines next;
  if (wanted.log_level != now_.log_level) {
    ResetLogLevel();
    RETURN_IF_ERROR(SetLogLevel(wanted.log_level));
    now_.log_level = wanted.log_level;
    changed.push_back("log-level");
  }
  if (replication != nullptr && wanted.interval != now_.interval) {
    replication->SetInterval(wanted.interval);
    now_.interval = wanted.interval;
    changed.push_back("interval");
  }
  if (replication != nullptr && wanted.bandwidth != now_.bandwidth) {
    replication->SetUsualBandwidth(bandwidth);
    now_.bandwidth = wanted.bandwidth;
    changed.push_back("bwlimit");
  }
  if (replication != nullptr && changes_replicas) {
    RETURN_IF_ERROR(ApplyReplicas(now_.replicas, wanted.replicas, *replication, changed));
    now_.replicas = wanted.replicas;
  }
  NoteForNextStart(now_, wanted, next);
  for (const std::string& line : changed) LogInfo("{}: {}", now_.config, line);
  for (const std::string& line : next) {
    LogWarning("{}: {} is used from the next start on", now_.config, line);
  }
  return nlohmann::json{{"changed", changed}, {"at_next_start", next}};
}

}  // namespace tandem::tools
