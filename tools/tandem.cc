// tandem: the command line. Talks to running tandemfs processes (tools/control.h).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/log.h"
#include "tools/client_commands.h"
#include "tools/duration.h"
#include "tools/flush_files.h"
#include "tools/metrics/metrics_server.h"
#include "tools/print.h"
#include "tools/spelling.h"
#include "tools/web/web.h"

namespace tandem::tools {
namespace {

constexpr int kUsageExit = 2;
// As fsck's.
constexpr int kVerifyCouldNotRun = 8;
constexpr int kVerifyUsage = 16;

int Report(const Result<int>& result, int usage_exit, int failure_exit) {
  if (result) return ExitAfterOutput("tandem", *result, failure_exit);
  Complain("tandem", result.error().ToString());
  return result.error().kind() == ErrorKind::kUsage ? usage_exit : failure_exit;
}

// What the subcommands are given.
struct Arguments {
  StatusOptions status;
  SyncOptions sync;
  PauseOptions pause;
  VerifyOptions verify;
  SetOptions set;
  ReplicaOptions replica;
  std::string reload;
  EventsOptions events;
  MetricsOptions metrics;
  WebOptions web;
};

struct Subcommands {
  CLI::App* status;
  CLI::App* sync;
  CLI::App* pause;
  CLI::App* resume;
  CLI::App* verify;
  CLI::App* events;
  CLI::App* metrics;
  CLI::App* web;
  CLI::App* set;
  CLI::App* reload;
  CLI::App* replica_list;
  CLI::App* replica_add;
  CLI::App* replica_remove;
  CLI::App* replica_rename;
  CLI::App* replica_set_url;
};

// An option that takes a length of time.
CLI::Option* AddDuration(CLI::App* command, const std::string& name,
                         std::chrono::milliseconds& time, const std::string& what) {
  return command
      ->add_option_function<std::string>(
          name, [&time](const std::string& text) { time = *ParseDuration(text); }, what)
      ->check([](const std::string& text) {
        const auto parsed = ParseDuration(text);
        return parsed ? "" : parsed.error().ToString();
      })
      ->type_name("TIME");
}

void DeclareSettings(CLI::App& app, Arguments& arguments, Subcommands& commands) {
  commands.events =
      app.add_subcommand("events", "print what has happened to a mount, one JSON object a line");
  commands.events->add_option("MOUNTPOINT", arguments.events.mountpoint)->required();
  commands.events->add_flag("--follow", arguments.events.follow,
                            "print what happens from now on, until interrupted");
  commands.events
      ->add_option("--exec", arguments.events.command,
                   "with --follow: run this by the shell for each event, one after the other; it\n"
                   "gets the event as one line on stdin")
      ->type_name("COMMAND")
      ->needs("--follow");
  commands.metrics = app.add_subcommand(
      "metrics", "print metrics of all mounts in Prometheus' text format, or serve them");
  commands.metrics
      ->add_option(
          "--listen", arguments.metrics.listen,
          "answer GET /metrics there until interrupted; without a HOST on loopback. Whoever\n"
          "can reach it can read the names of mounts, volumes and replicas")
      ->type_name("[HOST]:PORT");
  commands.metrics
      ->add_option("--store", arguments.metrics.stores,
                   "also of this store of tandemd; may be repeated")
      ->type_name("DIR")
      ->allow_extra_args(false);
  commands.set = app.add_subcommand("set", "change settings of a running mount");
  commands.set->add_option("MOUNTPOINT", arguments.set.mountpoint)->required();
  commands.set->add_option("--replica", arguments.set.replica, "with --bwlimit: only this replica");
  commands.set
      ->add_option("--interval", arguments.set.interval,
                   "the least time between two cuts, in milliseconds; until the next start")
      ->type_name("MS");
  commands.set
      ->add_option("--bwlimit", arguments.set.bandwidth,
                   "bytes a second, as in 2M, or by the time of day, as in\n"
                   "08:00-18:00=2M,*=0; 0: no limit; default: that of the mount\n"
                   "(tandemfs --bwlimit). It is remembered")
      ->type_name("BYTES|SCHEDULE");
  commands.set
      ->add_option("--log-level", arguments.set.log_level,
                   "debug, info, warning or error; until the next start")
      ->type_name("LEVEL");
  commands.reload =
      app.add_subcommand("reload", "read the configuration file of a mount again, and apply it");
  commands.reload->add_option("MOUNTPOINT", arguments.reload)->required();
}

void DeclareWeb(CLI::App& app, WebOptions& web, Subcommands& commands) {
  commands.web = app.add_subcommand("web", "show and control all mounts in a browser");
  commands.web
      ->add_option("--listen", web.listen,
                   "a loopback address of this host, and a port (0: a free one)")
      ->capture_default_str()
      ->type_name("ADDRESS:PORT");
  commands.web->add_option("--sockets", web.sockets)->group("");  // for tests
  commands.web->footer(kWebFooter);
}

void DeclareReplica(CLI::App& app, ReplicaOptions& options, Subcommands& commands) {
  CLI::App* const replica =
      app.add_subcommand("replica", "show and change the replicas of a running mount");
  replica->require_subcommand(1);
  const auto add = [&](const char* name, const char* what) {
    CLI::App* const command = replica->add_subcommand(name, what);
    command->add_option("MOUNTPOINT", options.mountpoint)->required();
    return command;
  };
  commands.replica_list = add("list", "list them");
  commands.replica_list->add_flag("--json", options.json, "print JSON, for programs");
  commands.replica_add =
      add("add", "add a replica, which is filled while work goes on; it is remembered");
  commands.replica_add
      ->add_option("REPLICA", options.value, "as for tandemfs --replica: [NAME=]URL, [NAME=]@FILE")
      ->type_name("[NAME=]URL|@FILE|@-")
      ->required();
  commands.replica_remove =
      add("remove", "forget a replica and what it lacks; its daemon keeps what it has");
  commands.replica_rename = add("rename", "give a replica another name");
  commands.replica_set_url = add("set-url", "reach the same replica at another URL");
  for (CLI::App* const command :
       {commands.replica_remove, commands.replica_rename, commands.replica_set_url}) {
    command->add_option("NAME", options.name)->required();
  }
  commands.replica_rename->add_option("NEW_NAME", options.value)->required();
  commands.replica_set_url->add_option("URL", options.value)->required();
}

void DeclareStatus(CLI::App& app, StatusOptions& status, Subcommands& commands) {
  commands.status =
      app.add_subcommand("status", "show what is mounted, and the state of each replica");
  commands.status->add_option("MOUNTPOINT", status.mountpoint, "only this mount");
  commands.status->add_flag("--json", status.json, "print JSON, for programs");
  commands.status->add_flag("--watch", status.watch,
                            "repeat every second; q quits, p pauses and resumes");
  commands.status->add_option("--store", status.store, "show a store of tandemd on this host")
      ->type_name("DIR");
  commands.status
      ->add_option("--wait", status.wait, "return when every replica is current, or seeded")
      ->check(CLI::IsMember({"current", "seeded"}));
  AddDuration(commands.status, "--timeout", status.timeout, "with --wait: exit code 1 after this");
  commands.status->add_flag("--check", status.check,
                            "one line for Nagios and the like; exit codes 0 ok, 1 warning,\n"
                            "2 critical, 3 unknown");
  AddDuration(commands.status, "--warn", status.warn, "with --check: lag to warn of (default 60)");
  AddDuration(commands.status, "--crit", status.critical,
              "with --check: lag that is critical (default 600)");
  commands.status->footer(
      "Exit codes: 0 all is well, 1 could not ask or print, 2 usage, 3 a replica is blocked,\n"
      "4 a mount is dead (its tandemfs was killed), 5 a mount does not answer. The highest "
      "applies.");
}

Subcommands Declare(CLI::App& app, Arguments& arguments) {
  Subcommands commands{};
  auto& [status, sync, pause, verify, set, replica, reload, events, metrics, web] = arguments;
  DeclareStatus(app, status, commands);
  commands.sync = app.add_subcommand(
      "sync", "wait until everything changed so far is durable and applied on the replicas");
  commands.sync->add_option("MOUNTPOINT", sync.mountpoint)->required();
  commands.sync->add_option("--replica", sync.replica, "only this replica");
  AddDuration(
      commands.sync, "--timeout", sync.timeout,
      "how long to wait at most: 500ms, 30s, 5m; seconds if there is no unit; 0: no limit.\n"
      "Exit code 1 on timeout");

  commands.pause =
      app.add_subcommand("pause", "stop sending until resumed; changes are still captured");
  commands.resume = app.add_subcommand("resume", "continue after pause");
  for (CLI::App* command : {commands.pause, commands.resume}) {
    command->add_option("MOUNTPOINT", pause.mountpoint)->required();
    command->add_option("--replica", pause.replica, "only this replica");
  }
  AddDuration(commands.pause, "--for", pause.time,
              "resume by itself after this time (2h, 30m), also if the mount was restarted");
  DeclareWeb(app, web, commands);
  DeclareSettings(app, arguments, commands);
  DeclareReplica(app, replica, commands);

  commands.verify = app.add_subcommand(
      "verify", "compare the replicas with the source, and print the differences");
  commands.verify->add_option("MOUNTPOINT", verify.mountpoint)->required();
  commands.verify->add_option("PATH", verify.paths,
                              "only these files and directories, and everything below them");
  commands.verify->add_option("--replica", verify.replica, "only this replica");
  commands.verify->add_flag("--full", verify.full,
                            "compare the content of all files, not only of those whose size or "
                            "time of change differs");
  commands.verify->add_flag("--repair", verify.repair, "send what differs to the replica again");
  // What these say is of content.
  const std::string implies = " (implies --full)";
  commands.verify->add_flag(
      "--drop-caches", verify.drop_caches,
      "read content from the devices, not from what the kernel has cached" + implies);
  commands.verify->add_option("--hash", verify.hash, "xxh3, blake2b, sha256 or md5" + implies)
      ->check(CLI::IsMember({"xxh3", "blake2b", "sha256", "md5"}));
  commands.verify
      ->add_option("--block-size", verify.block_size, "bytes compared at a time" + implies)
      ->check(CLI::Range(4096, 4 << 20));
  commands.verify->add_flag("--allocation", verify.allocation,
                            "holes, and zeros that were written, count as a difference" + implies);
  commands.verify
      ->add_option("--rate", verify.rate,
                   "read at most so many bytes a second of each side (K, M, G), with idle priority")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->type_name("BYTES");
  commands.verify
      ->add_option("--file-rate", verify.file_rate, "read at most so many files a second")
      ->type_name("FILES");
  commands.verify
      ->add_flag("--resume", verify.resume,
                 "go on with the verify of the volume that was interrupted last")
      ->excludes("PATH", "--full", "--drop-caches", "--hash", "--block-size", "--allocation");
  commands.verify->add_flag("--json", verify.json,
                            "print one JSON object a line: differences, then a summary");
  commands.verify->footer(
      "Exit codes: 0 identical, 1 differences found and repaired, 4 differences left,\n"
      "8 could not run, 16 usage.");
  return commands;
}

// Returns what is wrong with a command line that cannot be parsed.
std::string CommandLineError(const CLI::App& app, int argc, char** argv,
                             const CLI::ParseError& error) {
  const std::string command = argc > 1 ? argv[1] : "";
  std::vector<std::string> names;
  for (const CLI::App* known : app.get_subcommands(nullptr)) names.push_back(known->get_name());
  if (command.empty() || command[0] == '-' || std::ranges::find(names, command) != names.end()) {
    return std::string(error.what()) + " (see tandem --help)";
  }
  const std::string meant = NearestWord(command, names);
  return "no command is called '" + command +
         (meant.empty() ? "' (see tandem --help)" : "': did you mean '" + meant + "'?");
}

Result<int> RunCommand(const Subcommands& commands, const Arguments& arguments) {
  const ReplicaOptions& replica = arguments.replica;
  if (*commands.status) return RunStatus(arguments.status);
  if (*commands.sync) return RunSync(arguments.sync);
  if (*commands.pause) return RunPause(arguments.pause, true);
  if (*commands.resume) return RunPause(arguments.pause, false);
  if (*commands.web) return RunWeb(arguments.web);
  if (*commands.metrics) return RunMetrics(arguments.metrics);
  if (*commands.events) return RunEvents(arguments.events);
  if (*commands.set) return RunSet(arguments.set);
  if (*commands.reload) return RunReload(arguments.reload);
  if (*commands.replica_list) return RunReplicaList(replica);
  if (*commands.replica_add) return RunReplicaAdd(replica);
  if (*commands.replica_remove) return RunReplicaRemove(replica);
  if (*commands.replica_rename) return RunReplicaRename(replica);
  return RunReplicaSetUrl(replica);
}

int Main(int argc, char** argv) {
  CLI::App app("Shows and controls tandemfs mounts and their replicas.", "tandem");
  app.set_version_flag("--version", TANDEM_VERSION);
  app.require_subcommand(1);
  Arguments arguments;
  const Subcommands commands = Declare(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return ExitAfterOutput("tandem", app.exit(e));
    Complain("tandem", CommandLineError(app, argc, argv, e));
    return commands.verify->parsed() || (argc > 1 && std::string(argv[1]) == "verify")
               ? kVerifyUsage
               : kUsageExit;
  }
  VerifyOptions& verify = arguments.verify;
  for (const char* implies : {"--drop-caches", "--hash", "--block-size", "--allocation"}) {
    verify.full |= commands.verify->count(implies) != 0;
  }
  if (*commands.verify) return Report(RunVerify(verify), kVerifyUsage, kVerifyCouldNotRun);
  return Report(RunCommand(commands, arguments), kUsageExit, EXIT_FAILURE);
}

}  // namespace
}  // namespace tandem::tools

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == tandem::tools::kFlushHelperArgument) {
    return tandem::tools::RunFlushHelper();
  }
  tandem::SetUpLog("tandem");
  return tandem::tools::Main(argc, argv);
}
