// tandem: the command line. Talks to running tandemfs processes (tools/control.h).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "meta/base/log.h"
#include "tools/client_commands.h"
#include "tools/duration.h"
#include "tools/flush_files.h"
#include "tools/print.h"
#include "tools/spelling.h"

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

struct Subcommands {
  CLI::App* status;
  CLI::App* sync;
  CLI::App* pause;
  CLI::App* resume;
  CLI::App* verify;
};

Subcommands Declare(CLI::App& app, StatusOptions& status, SyncOptions& sync, PauseOptions& pause,
                    VerifyOptions& verify) {
  Subcommands commands{};
  commands.status =
      app.add_subcommand("status", "show what is mounted, and the state of each replica");
  commands.status->add_option("MOUNTPOINT", status.mountpoint, "only this mount");
  commands.status->add_flag("--json", status.json, "print JSON, for programs");
  commands.status->add_flag("--watch", status.watch, "repeat every second until interrupted");
  commands.status->footer(
      "Exit codes: 0 all is well, 1 could not ask or print, 2 usage, 3 a replica is blocked,\n"
      "4 a mount is dead (its tandemfs was killed), 5 a mount does not answer. The highest "
      "applies.");

  commands.sync = app.add_subcommand(
      "sync", "wait until everything changed so far is durable and applied on the replicas");
  commands.sync->add_option("MOUNTPOINT", sync.mountpoint)->required();
  commands.sync->add_option("--replica", sync.replica, "only this replica");
  commands.sync
      ->add_option_function<std::string>(
          "--timeout", [&sync](const std::string& text) { sync.timeout = *ParseDuration(text); },
          "how long to wait at most: 500ms, 30s, 5m; seconds if there is no unit; 0: no limit.\n"
          "Exit code 1 on timeout")
      ->check([](const std::string& text) {
        const auto timeout = ParseDuration(text);
        return timeout ? "" : timeout.error().ToString();
      })
      ->type_name("TIME");

  commands.pause =
      app.add_subcommand("pause", "stop sending until resumed; changes are still captured");
  commands.resume = app.add_subcommand("resume", "continue after pause");
  for (CLI::App* command : {commands.pause, commands.resume}) {
    command->add_option("MOUNTPOINT", pause.mountpoint)->required();
    command->add_option("--replica", pause.replica, "only this replica");
  }

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

int Main(int argc, char** argv) {
  CLI::App app("Shows and controls tandemfs mounts and their replicas.", "tandem");
  app.set_version_flag("--version", TANDEM_VERSION);
  app.require_subcommand(1);
  StatusOptions status;
  SyncOptions sync;
  PauseOptions pause;
  VerifyOptions verify;
  const Subcommands commands = Declare(app, status, sync, pause, verify);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return ExitAfterOutput("tandem", app.exit(e));
    Complain("tandem", CommandLineError(app, argc, argv, e));
    return commands.verify->parsed() || (argc > 1 && std::string(argv[1]) == "verify")
               ? kVerifyUsage
               : kUsageExit;
  }
  for (const char* implies : {"--drop-caches", "--hash", "--block-size", "--allocation"}) {
    verify.full |= commands.verify->count(implies) != 0;
  }
  if (*commands.status) return Report(RunStatus(status), kUsageExit, EXIT_FAILURE);
  if (*commands.sync) return Report(RunSync(sync), kUsageExit, EXIT_FAILURE);
  if (*commands.pause) return Report(RunPause(pause, true), kUsageExit, EXIT_FAILURE);
  if (*commands.resume) return Report(RunPause(pause, false), kUsageExit, EXIT_FAILURE);
  return Report(RunVerify(verify), kVerifyUsage, kVerifyCouldNotRun);
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
