// tandemfs: mounts a replicated directory. Constructs the layers and connects them: state
// directory, tracker, mount, replication, control. Destroys them in the opposite order.
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fs/mount/mount.h"
#include "fs/mount/process_setup.h"
#include "fs/mount/source_directory.h"
#include "meta/base/log.h"
#include "meta/capture/recovery.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "meta/state/checkpointer.h"
#include "meta/state/disk_identity.h"
#include "meta/state/state_writer.h"
#include "meta/state/witness.h"
#include "replica/source/replication.h"
#include "tools/choose_replicas.h"
#include "tools/config/reload.h"
#include "tools/control_server.h"
#include "tools/daemonize.h"
#include "tools/enrol_replicas.h"
#include "tools/flush_files.h"
#include "tools/host_keys.h"
#include "tools/key_renewal.h"
#include "tools/least_privilege.h"
#include "tools/mount_arguments.h"
#include "tools/process_limits.h"
#include "tools/service_manager.h"
#include "tools/shutdown_progress.h"
#include "tools/state_directory.h"
#include "tools/store_guard.h"
#include "tools/take_over.h"

namespace tandem::tools {
namespace {

constexpr int kUsageExit = 2;

// Everything that capture and replication need; empty with --no-capture. Members are constructed in
// this order.
struct Engine {
  std::unique_ptr<StateDirectory> state;
  std::unique_ptr<ShutdownProgress> shutdown;
  std::unique_ptr<meta::SourceTree> tree;
  std::unique_ptr<meta::StateWriter> writer;
  std::unique_ptr<meta::Checkpointer> checkpointer;
  std::unique_ptr<meta::Spill> spill;
  std::unique_ptr<meta::Tracker> tracker;
  std::vector<meta::ReplicaRecord> replicas;
  LifeId life;  // of the source's disk
};

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

Result<Engine> StartEngine(const MountArguments& arguments, const fs::SourceDirectory& source,
                           const std::string& mountpoint) {
  Engine engine;
  ASSIGN_OR_RETURN(StateDirectory state,
                   StateDirectory::Open(arguments.state, arguments.volume,
                                        {{source.path, source.fd.get()}, {mountpoint}}));
  engine.state = std::make_unique<StateDirectory>(std::move(state));
  SetIdForm(engine.state->id_form());
  engine.shutdown = std::make_unique<ShutdownProgress>(engine.state->path());
  if (!arguments.foreground) {
    RETURN_IF_ERROR(LogToFile("tandemfs", engine.state->path() + "/tandemfs.log"));
  }
  ASSIGN_OR_RETURN(meta::StateDatabase database, engine.state->OpenDatabase());
  ASSIGN_OR_RETURN(meta::SourceTree tree, meta::SourceTree::Open(source.fd.get()));
  engine.tree = std::make_unique<meta::SourceTree>(std::move(tree));
  for (const std::string& notice : engine.tree->notices()) {
    tandem::LogWarning("{}: {}", source.path, notice);
  }
  ASSIGN_OR_RETURN(const meta::DiskIdentity identity,
                   meta::ReadDiskIdentity(*engine.tree, source.path, source.mount_identity,
                                          engine.state->path()));
  ASSIGN_OR_RETURN(meta::Witnesses witnesses, meta::CheckWitnesses(database, *engine.tree));
  const meta::Suspicions suspicions = {.witnesses_agree = witnesses.agree,
                                       .uncovered = engine.state->was_exposed()};
  ASSIGN_OR_RETURN(const meta::LastEnd last_end, meta::BeginRun(database, identity, suspicions));
  ASSIGN_OR_RETURN(engine.life, meta::CurrentLife(database));
  RETURN_IF_ERROR(engine.state->ClearExposure());
  if (last_end == meta::LastEnd::kDiskUnclean) {
    tandem::LogWarning(
        "the disk of {} or of its state was not unmounted in order, or failed: it may have lost "
        "the last writes. Every replica is reconciled with the source",
        source.path);
  } else if (last_end == meta::LastEnd::kContradicted) {
    tandem::LogWarning(
        "{} was changed, or was open to be changed, while it was not mounted (was a backup "
        "restored?). Every replica is reconciled with the source",
        source.path);
  }
  ASSIGN_OR_RETURN(engine.replicas,
                   ChooseReplicas(database, arguments.replicas, engine.state->database_was_lost()));
  ASSIGN_OR_RETURN(meta::Tracker::Recovered recovered, meta::Recover(database, *engine.tree));
  recovered.recently_changed = std::move(witnesses.objects);
  ASSIGN_OR_RETURN(engine.checkpointer, meta::Checkpointer::Start(engine.state->path()));
  engine.writer = std::make_unique<meta::StateWriter>(std::move(database));
  engine.spill = std::make_unique<meta::Spill>(engine.state->path(), meta::Spill::Limits());
  engine.tracker = std::make_unique<meta::Tracker>(*engine.tree, *engine.writer, *engine.spill,
                                                   std::move(recovered));
  return engine;
}

// Stops the engine. Writes the clean record unless writes to `unflushed_files` may be lost.
Status EndEngine(Engine& engine, const std::vector<std::string>& unflushed_files) {
  if (engine.tracker != nullptr) {
    engine.shutdown->Report("syncing the source and writing the state");
    RETURN_IF_ERROR(engine.tracker->Stop());
    if (unflushed_files.empty()) {
      RETURN_IF_ERROR(
          meta::EndRun(*engine.writer,
                       meta::DescribeWitnesses(*engine.tree, engine.tracker->recently_changed())));
    }
  }
  if (unflushed_files.empty()) return {};
  constexpr size_t kNamed = 20;
  std::string files;
  for (size_t i = 0; i < std::min(kNamed, unflushed_files.size()); ++i) {
    files += (i == 0 ? "" : ", ") + unflushed_files[i];
  }
  if (unflushed_files.size() > kNamed) {
    files += " and " + std::to_string(unflushed_files.size() - kNamed) + " others";
  }
  return MakeError(ErrorKind::kSystem,
                   "flush files open for writing (programs still stored into them after "
                   "--stop-timeout, or the disk failed): the last stores may be lost, in: " +
                       files,
                   ETIMEDOUT);
}

std::string DescribeFlush(const fs::WritableFiles& files) {
  constexpr size_t kNamed = 3;
  std::string text = "flushing " + std::to_string(files.files.size()) + " files open for writing";
  for (size_t i = 0; i < std::min(kNamed, files.files.size()); ++i) {
    text += (i == 0 ? ": " : ", ") + files.files[i].path;
  }
  return text + (files.files.size() > kNamed ? ", ..." : "");
}

// The value of the extended attribute tandem.status: a line for each replica, "NAME: applied, cut
// N", where N is the cut that the replica has; "pending" if it does not have the object as it is
// now; "lacking" if it cannot have all of it.
std::string DescribeStatus(replica::Replication& replication, const ObjectId& object) {
  using Has = replica::Sender::Has;
  std::string text;
  for (const auto& holder : replication.Holders(object)) {
    const char* const has = holder.has == Has::kAll      ? ": applied"
                            : holder.has == Has::kNotYet ? ": pending"
                                                         : ": lacking";
    text += (text.empty() ? "" : "\n") + holder.replica + has + ", cut " +
            std::to_string(holder.applied.number());
  }
  return text.empty() ? "no replica" : text;
}

Status RunMounted(const MountArguments& arguments, const fs::SourceDirectory& source,
                  const std::string& mountpoint, std::unique_ptr<fs::KernelMount> kernel_mount,
                  Background& background, Reload& reload) {
  Engine engine;
  if (arguments.capture) {
    ASSIGN_OR_RETURN(engine, StartEngine(arguments, source, mountpoint));
  }

  fs::MountOptions options;
  options.source_fd = source.fd.get();
  options.source_mount = source.mount_id;
  options.source = source.path;
  options.mountpoint = mountpoint;
  options.fuse_options = arguments.fuse_options;
  options.fs_name = source.path;
  options.optimizations = arguments.optimizations;
  options.capture = engine.tracker.get();
  options.kernel_mount = std::move(kernel_mount);
  options.flush = [&engine](const fs::WritableFiles& files, auto deadline) {
    if (engine.shutdown != nullptr) engine.shutdown->ReportIfBegun(DescribeFlush(files));
    return FlushFiles(files, deadline);
  };
  options.on_end = [&engine] {
    if (engine.shutdown != nullptr) engine.shutdown->Report("flushing files open for writing");
  };
  options.stop_timeout = arguments.stop_timeout;
  std::unique_ptr<replica::Replication> replication;
  options.on_hangup = [&reload, &replication] {
    LogInfo("SIGHUP: reading the configuration again");
    const auto reloaded = reload.Apply(replication.get());
    if (!reloaded) LogError("{}", reloaded.error().ToString());
  };
  options.describe = [&replication](std::string_view name,
                                    const ObjectId& object) -> std::optional<std::string> {
    if (name != "tandem.status" || replication == nullptr) return std::nullopt;
    return DescribeStatus(*replication, object);
  };
  ASSIGN_OR_RETURN(const auto mount, fs::FileSystemMount::Create(std::move(options)));

  if (arguments.capture) {
    replica::Replication::Options replicate;
    replicate.volume_name = arguments.volume;
    replicate.volume = engine.state->volume_id();
    replicate.life = engine.life;
    replicate.source = HostName() + ":" + source.path;
    replicate.interval = arguments.interval;
    ASSIGN_OR_RETURN(replicate.bandwidth, replica::BandwidthSchedule::Parse(arguments.bandwidth));
    replicate.most_changes = arguments.most_changes;
    replicate.replicas = engine.replicas;
    replicate.find_credentials = [](const std::string& url) { return CredentialsFor(url); };
    replication = replica::Replication::Start(std::move(replicate), *engine.tracker, *engine.tree,
                                              *engine.writer);
  }
  ControlServer::Served served{arguments.volume,
                               source.path,
                               mountpoint,
                               source.mount_id,
                               engine.tracker.get(),
                               engine.tree.get(),
                               replication.get(),
                               engine.state == nullptr ? "" : engine.state->path(),
                               [&mount] { return mount->OverIoUring(); },
                               [&mount] { return mount->ListWritableFiles(); },
                               [&mount] { mount->Stop(); },
                               [&] { return reload.Apply(replication.get()); }};
  ASSIGN_OR_RETURN(auto control, ControlServer::Listen(std::move(served)));
  // Nothing after this may fail: a failed start must leave the mountpoint as it was.
  RETURN_IF_ERROR(mount->Attach());
  control->Serve();
  RETURN_IF_ERROR(background.Ready());
  ServiceManager service([&replication] {
    if (replication != nullptr) (void)replication->Glance();
  });
  service.Ready(source.path + " is mounted at " + mountpoint);
  tandem::LogInfo("{} is mounted at {} as volume {}", source.path, mountpoint, arguments.volume);

  NetworkAsker asker;
  KeyRenewal::Options renew;
  renew.list_urls = [&replication] {
    std::vector<std::string> urls;
    if (replication == nullptr) return urls;
    for (const meta::ReplicaRecord& replica : replication->Records()) urls.push_back(replica.url);
    return urls;
  };
  renew.ask = [&asker](const auto&... question) { return asker.Ask(question...); };
  renew.cancel = [&asker] { asker.Close(); };
  renew.renewed = [&replication](const std::string& url) {
    if (replication != nullptr) replication->Reconnect(url);
  };
  auto renewal = std::make_unique<KeyRenewal>(std::move(renew));

  Status served_status = mount->Run();
  service.Stopping();
  renewal.reset();
  if (engine.tree != nullptr && engine.tree->by_names() != nullptr) {
    engine.tree->by_names()->StopSearching();
  }
  if (replication != nullptr) replication->Stop();  // otherwise control requests would wait
  control.reset();
  replication.reset();
  if (Status ended = EndEngine(engine, mount->unflushed_files()); !ended) {
    tandem::LogError("{}", ended.error().ToString());
    return ended;
  }
  tandem::LogInfo("{} is unmounted", mountpoint);
  return served_status;
}

// For a user's dead mount over its own source: only root can open the directory beneath. So the
// mount is detached first. The bare directory is exposed meanwhile, and every replica is owed a
// reconcile.
Result<fs::SourceDirectory> OpenExposed(const MountArguments& arguments,
                                        const std::string& mountpoint) {
  RETURN_IF_ERROR(StateDirectory::RecordExposure(arguments.state));
  RETURN_IF_ERROR(fs::RemoveDeadMounts(mountpoint));
  return fs::OpenSource(arguments.source, mountpoint);
}

// The mount is usable whatever its replicas are. On a terminal the user learns at once what would
// otherwise stand in status and log alone.
void WarnOfMissingKeys(const std::vector<ReplicaArgument>& replicas) {
  for (const ReplicaArgument& replica : replicas) {
    if (const auto found = CredentialsFor(replica.url); !found) {
      tandem::Complain("tandemfs", "notice: nothing goes to replica " + replica.name +
                                       " for now: " + found.error().ToString());
    }
  }
}

Status Main(int argc, char** argv) {
  ASSIGN_OR_RETURN(MountArguments arguments, ParseMountArguments(argc, argv));
  // While relative paths mean what the user meant.
  Reload reload(argc, argv, arguments);
  RETURN_IF_ERROR(SetLogLevel(arguments.log_level));
  RETURN_IF_ERROR(EnrolReplicas(arguments.replicas));
  WarnOfMissingKeys(arguments.replicas);
  ASSIGN_OR_RETURN(const std::string mountpoint, fs::ResolveMountpoint(arguments.mountpoint));
  ASSIGN_OR_RETURN(const fs::Occupant occupant, fs::OccupantOf(mountpoint));
  const bool takes_over = occupant == fs::Occupant::kLive;
  auto source = fs::OpenSource(arguments.source, mountpoint);
  if (!source && source.error().kind() == ErrorKind::kRefused) {
    if (takes_over) return fs::AlreadyMounted(mountpoint);
    source = OpenExposed(arguments, mountpoint);
  }
  if (!source) return tl::unexpected<Error>(std::move(source.error()));
  RETURN_IF_ERROR(CheckOutsideStores(source->fd.get(), source->path, mountpoint));
  if (!takes_over) RETURN_IF_ERROR(LockSource(source->fd.get(), source->path, arguments.state));

  Background background;
  if (!arguments.foreground) {
    ASSIGN_OR_RETURN(background, Background::Enter());
  }
  fs::BecomeFlusher();
  RETURN_IF_ERROR(ReduceToMount());
  const fs::StopSignals signals;
  std::unique_ptr<fs::KernelMount> kernel_mount;
  if (takes_over) {
    ASSIGN_OR_RETURN(kernel_mount, TakeOver(arguments, *source, mountpoint));
  }
  return RunMounted(arguments, *source, mountpoint, std::move(kernel_mount), background, reload);
}

}  // namespace
}  // namespace tandem::tools

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == tandem::tools::kFlushHelperArgument) {
    return tandem::tools::RunFlushHelper();
  }
  tandem::tools::KeepLargeBlocks();
  tandem::SetUpLog("tandemfs");
  // For files of the daemon's own. Files made for callers get the caller's umask
  // (fs/caller/caller_credentials.h).
  umask(077);
  const tandem::Status status = tandem::tools::Main(argc, argv);
  if (status) return EXIT_SUCCESS;
  tandem::Complain("tandemfs", status.error().ToString());
  return status.error().kind() == tandem::ErrorKind::kUsage ? tandem::tools::kUsageExit
                                                            : EXIT_FAILURE;
}
