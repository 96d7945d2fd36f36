#include "tools/config/reload.h"

#include <algorithm>

#include "meta/base/log.h"

namespace tandem::tools {
namespace {

using Lines = std::vector<std::string>;
using meta::ReplicaRecord;
using replica::Replication;

const ReplicaArgument* Named(const std::vector<ReplicaArgument>& replicas,
                             const std::string& name) {
  const auto found = std::ranges::find(replicas, name, &ReplicaArgument::name);
  return found == replicas.end() ? nullptr : &*found;
}

// Makes the replicas of the mount those of the file. The set may be changed in part if one cannot
// be.
Status ApplyReplicas(const std::vector<ReplicaArgument>& wanted, Replication& replication,
                     Lines& changed) {
  for (const ReplicaRecord& record : replication.Records()) {
    if (Named(wanted, record.name) != nullptr) continue;
    RETURN_IF_ERROR(replication.Remove(record.name));
    changed.push_back("replica " + record.name + " was removed");
  }
  const std::vector<ReplicaRecord> records = replication.Records();
  for (const ReplicaArgument& replica : wanted) {
    const auto known = std::ranges::find(records, replica.name, &ReplicaRecord::name);
    if (known == records.end()) {
      RETURN_IF_ERROR(replication.Add(replica.name, replica.url));
      changed.push_back("replica " + replica.name + " was added");
    } else if (known->url != replica.url) {
      RETURN_IF_ERROR(replication.SetUrl(replica.name, replica.url));
      changed.push_back("replica " + replica.name + " is at " + replica.url);
    }
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

Result<nlohmann::json> Reload::Apply(Replication* replication) {
  MutexLock lock(mutex_);
  if (now_.config.empty()) {
    return MakeError(ErrorKind::kUsage,
                     "the mount was made without a configuration file: there is nothing to read "
                     "again (tandem set and tandem replica change its settings)");
  }
  ASSIGN_OR_RETURN(MountArguments wanted, ParseMountArguments(argc_, argv_));
  Lines changed;
  Lines next;
  if (wanted.log_level != now_.log_level) {
    RETURN_IF_ERROR(SetLogLevel(wanted.log_level.empty() ? "info" : wanted.log_level));
    now_.log_level = wanted.log_level;
    changed.push_back("log-level");
  }
  if (replication != nullptr) {
    if (wanted.interval != now_.interval) {
      replication->SetInterval(wanted.interval);
      now_.interval = wanted.interval;
      changed.push_back("interval");
    }
    if (wanted.replicas_in_config) {
      for (const ReplicaArgument& replica : wanted.replicas) {
        if (!replica.url.starts_with('@')) continue;
        return MakeError(ErrorKind::kUsage, wanted.config + ": enrol replica " + replica.url +
                                                " with tandem replica add, and put its URL here");
      }
      RETURN_IF_ERROR(ApplyReplicas(wanted.replicas, *replication, changed));
    }
    if (wanted.bandwidth != now_.bandwidth) {
      ASSIGN_OR_RETURN(const auto schedule, replica::BandwidthSchedule::Parse(wanted.bandwidth));
      RETURN_IF_ERROR(replication->SetBandwidth(std::nullopt, schedule));
      now_.bandwidth = wanted.bandwidth;
      changed.push_back("bwlimit");
    }
  }
  NoteForNextStart(now_, wanted, next);
  for (const std::string& line : changed) LogInfo("{}: {}", now_.config, line);
  for (const std::string& line : next) {
    LogWarning("{}: {} is used from the next start on", now_.config, line);
  }
  return nlohmann::json{{"changed", changed}, {"at_next_start", next}};
}

}  // namespace tandem::tools
