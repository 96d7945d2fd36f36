// tandemfs: mounts a replicated directory. Wires the layers together: state directory, tracker,
// mount, replication, control; and takes them down in the opposite order.
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>

#include "fs/mount.h"
#include "meta/base/log.h"
#include "meta/checkpointer.h"
#include "meta/disk_identity.h"
#include "meta/recovery.h"
#include "meta/source_tree.h"
#include "meta/state_writer.h"
#include "meta/tracker.h"
#include "meta/witness.h"
#include "replica/replication.h"
#include "tools/control_server.h"
#include "tools/daemonize.h"
#include "tools/mount_arguments.h"
#include "tools/state_directory.h"
#include "tools/store_guard.h"

namespace tandem::tools {
namespace {

constexpr int kUsageExit = 2;

// Everything that capture and replication need; empty with --no-capture. Members in the order in
// which they are made.
struct Engine {
  std::unique_ptr<StateDirectory> state;
  std::unique_ptr<meta::SourceTree> tree;
  std::unique_ptr<meta::StateWriter> writer;
  std::unique_ptr<meta::Checkpointer> checkpointer;
  std::unique_ptr<meta::Spill> spill;
  std::unique_ptr<meta::Tracker> tracker;
  std::vector<meta::ReplicaRecord> replicas;
};

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

Result<std::string> Resolve(const std::string& path) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) return ErrnoError("find " + path);
  return std::string(resolved);
}

// The command line's replicas, with what is remembered of them; without any, those of last time.
// One that nothing is remembered of may have seen cuts of this source all the same (a power cut has
// taken its row back, or it had another name): if it is not empty, everything is compared with it.
Result<std::vector<meta::ReplicaRecord>> ChooseReplicas(
    meta::StateDatabase& database, const std::vector<ReplicaArgument>& arguments,
    bool database_was_lost) {
  ASSIGN_OR_RETURN(std::vector<meta::ReplicaRecord> known, database.LoadReplicas());
  if (arguments.empty()) return known;
  std::vector<meta::ReplicaRecord> chosen;
  for (const ReplicaArgument& argument : arguments) {
    meta::ReplicaRecord record;
    record.reconcile_owed = true;
    for (const meta::ReplicaRecord& old : known) {
      if (old.name == argument.name) record = old;
    }
    record.name = argument.name;
    record.url = argument.url;
    if (database_was_lost) record.reconcile_owed = true;
    chosen.push_back(std::move(record));
  }
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database.database()));
  for (const meta::ReplicaRecord& old : known) RETURN_IF_ERROR(database.DeleteReplica(old.name));
  for (const meta::ReplicaRecord& record : chosen) RETURN_IF_ERROR(database.PutReplica(record));
  RETURN_IF_ERROR(transaction.Commit());
  return chosen;
}

Result<Engine> StartEngine(const MountArguments& arguments, const std::string& source,
                           const std::string& mountpoint, int source_fd) {
  Engine engine;
  ASSIGN_OR_RETURN(StateDirectory state,
                   StateDirectory::Open(arguments.state, arguments.volume, {source, mountpoint}));
  engine.state = std::make_unique<StateDirectory>(std::move(state));
  if (!arguments.foreground) {
    RETURN_IF_ERROR(LogToFile("tandemfs", engine.state->path() + "/tandemfs.log"));
  }
  ASSIGN_OR_RETURN(meta::StateDatabase database, engine.state->OpenDatabase());
  ASSIGN_OR_RETURN(meta::SourceTree tree, meta::SourceTree::Open(source_fd));
  engine.tree = std::make_unique<meta::SourceTree>(std::move(tree));
  ASSIGN_OR_RETURN(const meta::DiskIdentity identity,
                   meta::ReadDiskIdentity(*engine.tree, source, engine.state->path()));
  ASSIGN_OR_RETURN(meta::Witnesses witnesses, meta::HearWitnesses(database, *engine.tree));
  ASSIGN_OR_RETURN(const meta::LastEnd last_end,
                   meta::BeginRun(database, identity, witnesses.agree));
  if (last_end == meta::LastEnd::kDiskUnclean) {
    tandem::LogWarning(
        "the disk of {} or of its state was not unmounted in order, or failed: it may have lost "
        "what was written last. Every replica is reconciled with the source",
        source);
  } else if (last_end == meta::LastEnd::kContradicted) {
    tandem::LogWarning(
        "{} was changed while it was not mounted (a backup was put back?). Every replica is "
        "reconciled with the source",
        source);
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

Status RunMounted(const MountArguments& arguments, const std::string& source, int source_fd,
                  Background& background) {
  ASSIGN_OR_RETURN(const std::string mountpoint, fs::ResolveMountpoint(arguments.mountpoint));
  RETURN_IF_ERROR(CheckOutsideStores(source_fd, source, mountpoint));
  Engine engine;
  if (arguments.capture) {
    ASSIGN_OR_RETURN(engine, StartEngine(arguments, source, mountpoint, source_fd));
  }

  fs::MountOptions options;
  options.source_fd = source_fd;
  options.source = source;
  options.mountpoint = mountpoint;
  options.fuse_options = arguments.fuse_options;
  options.fs_name = source;
  options.capture = engine.tracker.get();
  ASSIGN_OR_RETURN(const auto mount, fs::FileSystemMount::Create(options));

  std::unique_ptr<replica::Replication> replication;
  if (arguments.capture) {
    replica::Replication::Options replicate;
    replicate.volume_name = arguments.volume;
    replicate.volume = engine.state->volume_id();
    replicate.source = HostName() + ":" + source;
    replicate.interval = arguments.interval;
    replicate.most_changes = arguments.most_changes;
    replicate.replicas = engine.replicas;
    replication = replica::Replication::Start(std::move(replicate), *engine.tracker, *engine.tree,
                                              *engine.writer);
  }
  ControlServer::Served served{arguments.volume,     source,
                               mountpoint,           source_fd,
                               engine.tracker.get(), engine.tree.get(),
                               replication.get(),    [&mount] { return mount->OverIoUring(); }};
  ASSIGN_OR_RETURN(auto control, ControlServer::Start(std::move(served)));
  RETURN_IF_ERROR(background.Ready());
  tandem::LogInfo("{} is mounted at {} as volume {}", source, mountpoint, arguments.volume);

  Status served_status = mount->Run();
  if (replication != nullptr) replication->Stop();  // or what is asked through control would wait
  control.reset();
  replication.reset();
  if (engine.tracker != nullptr) {
    RETURN_IF_ERROR(engine.tracker->Stop());
    RETURN_IF_ERROR(meta::EndRun(
        *engine.writer, meta::DescribeWitnesses(*engine.tree, engine.tracker->recently_changed())));
  }
  tandem::LogInfo("{} is unmounted", mountpoint);
  return served_status;
}

Status Main(int argc, char** argv) {
  ASSIGN_OR_RETURN(const MountArguments arguments, ParseMountArguments(argc, argv));
  RETURN_IF_ERROR(fs::RemoveDeadMount(arguments.mountpoint));
  ASSIGN_OR_RETURN(const std::string source, Resolve(arguments.source));
  const UniqueFd source_fd(open(source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!source_fd.valid()) return ErrnoError("open source " + source);
  RETURN_IF_ERROR(LockSource(source_fd.get(), source));

  Background background;
  if (!arguments.foreground) {
    ASSIGN_OR_RETURN(background, Background::Enter());
  }
  const fs::StopSignals signals;
  return RunMounted(arguments, source, source_fd.get(), background);
}

}  // namespace
}  // namespace tandem::tools

int main(int argc, char** argv) {
  tandem::SetUpLog("tandemfs");
  const tandem::Status status = tandem::tools::Main(argc, argv);
  if (status) return EXIT_SUCCESS;
  std::cerr << "tandemfs: " << status.error().ToString() << "\n";
  return status.error().kind() == tandem::ErrorKind::kUsage ? tandem::tools::kUsageExit
                                                            : EXIT_FAILURE;
}
