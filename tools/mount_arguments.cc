#include "tools/mount_arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "meta/base/fault_point.h"
#include "tools/config/given_settings.h"
#include "tools/print.h"
#include "tools/replica_url.h"

namespace tandem::tools {
namespace {

constexpr char kDescription[] =
    "Mounts a replicated directory: MOUNTPOINT shows SOURCE (they may be the same directory), and\n"
    "every change made through it is carried to the replica daemons (tandemd) given with "
    "--replica.";

constexpr char kFooter[] =
    "The same options can be given after -o, for mount(8) and fstab:\n"
    "  volume=NAME, state=DIR, replica=[NAME=]URL, interval=MS, bwlimit=BYTES, "
    "stop_timeout=SECONDS,\n"
    "  no_capture\n"
    "and FUSE's own options: ro, dev, suid, noatime, allow_other, writeback, max_threads=N,\n"
    "io_uring=auto|on|off, ...\n"
    "\n"
    "tandemfs returns when the mount is usable. It ends on fusermount3 -u MOUNTPOINT, umount, or "
    "SIGTERM.\n"
    "Started again on the same mountpoint it takes over: the running tandemfs ends cleanly, and\n"
    "programs that use the mount meanwhile wait.\n"
    "Replicas are remembered: without --replica, those of the last mount are used.\n"
    "A configuration file is TOML with the long options as keys, and source, mountpoint and\n"
    "options (for -o); replica may be a list. SIGHUP and `tandem reload` read it again.\n"
    "\n"
    "Example:\n"
    "  tandemd --store /backup &\n"
    "  tandemfs /srv/data /srv/data --replica tcp://127.0.0.1:7447";

bool IsInvitation(const ReplicaArgument& replica) { return replica.url.starts_with('@'); }

}  // namespace

ReplicaArgument ParseReplica(const std::string& text) {
  if (text.starts_with('@')) return {"", text};
  const size_t scheme = text.find("://");
  const size_t equals = text.find('=');
  if (equals != std::string::npos && (scheme == std::string::npos || equals < scheme)) {
    return {text.substr(0, equals), text.substr(equals + 1)};
  }
  return {scheme == std::string::npos ? text : text.substr(scheme + 3), text};
}

Status CheckReplicas(std::vector<ReplicaArgument>& replicas) {
  std::set<std::string> names;
  std::map<std::string, std::string> name_of;
  for (ReplicaArgument& replica : replicas) {
    if (replica.url.starts_with("tandem-invite-")) {
      return MakeError(ErrorKind::kUsage,
                       "--replica has the token of an invitation in it, which every user of this "
                       "host can see there: put it in a file (chmod 600) and give --replica "
                       "[NAME=]@FILE, or @- for stdin");
    }
    if (IsInvitation(replica) && replica.name.empty()) continue;  // named when its URL is known
    if (replica.name.empty() || replica.url.empty()) {
      return MakeError(ErrorKind::kUsage,
                       "a replica is given as [NAME=]URL, as in "
                       "backup=tcp://127.0.0.1:7447");
    }
    if (!names.insert(replica.name).second) {
      return MakeError(ErrorKind::kUsage,
                       "two replicas are called " + replica.name + ": give each a name of its own");
    }
    if (IsInvitation(replica)) continue;
    ASSIGN_OR_RETURN(replica.url, CheckUrl(replica.url, UrlUse::kReplica));
    const auto [other, is_new] = name_of.emplace(replica.url, replica.name);
    if (is_new) continue;
    return MakeError(ErrorKind::kUsage, "replicas " + other->second + " and " + replica.name +
                                            " are the same, " + replica.url +
                                            ": give each replica once");
  }
  return {};
}

namespace {

// --disable WORD,...: switches optimizations off, for comparison (fs/optimizations.h). Hidden: it
// makes a mount slower and nothing else. Each word names a header: walk-order and known-names stand
// in fs/objects, reader-policy and reader-spin in fs/serving.
Status DisableOptimizations(const std::vector<std::string>& words,
                            fs::Optimizations& optimizations) {
  const std::map<std::string, bool*> known = {
      {"known-names", &optimizations.known_names},
      {"reader-policy", &optimizations.reader_policy},
      {"reader-spin", &optimizations.reader_spin},
      {"walk-order", &optimizations.walk_order},
  };
  for (const std::string& word : words) {
    const auto found = known.find(word);
    if (found == known.end()) {
      return MakeError(ErrorKind::kUsage, "--disable " + word +
                                              ": no such optimization (known-names, reader-policy, "
                                              "reader-spin and walk-order can be disabled)");
    }
    *found->second = false;
  }
  return {};
}

void ListFaultPoints() {
  for (const std::string_view point : kSourceFaultPoints) std::cout << point << "\n";
}

}  // namespace

Result<MountArguments> ParseMountArguments(int argc, char** argv, const std::string& directory) {
  Given given;
  std::vector<std::string> option_lists;
  std::vector<std::string> disabled;
  bool check_config = false;
  bool list_fault_points = false;
  CLI::App app(kDescription, "tandemfs");
  app.footer(kFooter);
  app.set_version_flag("--version", TANDEM_VERSION);
  const auto text = [&](const char* key, const char* type, const char* what) {
    app.add_option_function<std::string>(
           std::string("--") + key,
           [&given, key](const std::string& value) { given.texts[key] = value; }, what)
        ->type_name(type);
  };
  app.add_option("SOURCE", given.source,
                 "the directory to replicate; or a VOLUME that has a configuration file");
  app.add_option("MOUNTPOINT", given.mountpoint, "the directory to show it at");
  app.add_option(
         "--replica", given.replicas,
         "[NAME=]URL of a replica daemon: tls://[ACCOUNT@]HOST[:PORT] (7447; ACCOUNT chooses\n"
         "between keys of several), ssh://[USER@]HOST[:PORT][/SOCKET] (TANDEM_SSH names another\n"
         "program than ssh), ipc:///PATH, or plain tcp://HOST[:PORT]; may be repeated.\n"
         "[NAME=]@FILE: what `tandemd invite` printed, to enrol with, once; @- reads it from\n"
         "stdin")
      ->type_name("[NAME=]URL|@FILE|@-")
      ->allow_extra_args(false);
  text("volume", "NAME", "the volume's name (default: the last part of SOURCE)");
  text("state", "DIR", "the state directory (default: /var/lib/tandemfs/VOLUME for root)");
  text("interval", "MS",
       "the least time between two cuts, in milliseconds (default 5); four times as much while "
       "programs call fsync");
  text("bwlimit", "BYTES|SCHEDULE",
       "send each replica at most so many bytes a second, as in 2M, or by the time of day, as in\n"
       "08:00-18:00=2M,*=0 (0: no limit). `tandem set` changes it for one replica");
  text("max-changes", "COUNT",
       "how many changed objects and names are remembered (default 2097152); a replica that is "
       "further behind is compared as a whole");
  text("stop-timeout", "SECONDS",
       "how many seconds the end may take to write back what programs store through "
       "mappings (default 30); after that the files are named, and the exit code is not 0");
  text("log-level", "LEVEL", "debug, info, warning or error (default info)");
  app.add_flag("--no-capture", given.no_capture, "pass through only: replicate nothing");
  app.add_flag("-f,--foreground", given.foreground, "stay in the foreground, log to stderr");
  app.add_option("--config", given.config,
                 "the configuration file (for `tandemfs VOLUME`: /etc/tandemfs/VOLUME.toml)")
      ->type_name("FILE");
  app.add_flag("--check-config", check_config, "only say whether the configuration can be used");
  app.add_option("-o", option_lists, "mount options")
      ->type_name("OPT,...")
      ->allow_extra_args(false);
  app.add_flag("--list-fault-points", list_fault_points)->group("");
  app.add_option("--disable", disabled)->delimiter(',')->allow_extra_args(false)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) std::exit(ExitAfterOutput("tandemfs", app.exit(e)));
    return MakeError(ErrorKind::kUsage, std::string(e.what()) + " (see tandemfs --help)");
  }
  if (list_fault_points) {
    ListFaultPoints();
    std::exit(ExitAfterOutput("tandemfs", EXIT_SUCCESS));
  }
  Given from_options;
  TakeMountOptions(option_lists, from_options);
  given.texts.merge(from_options.texts);  // the command line overrides -o
  std::ranges::move(from_options.replicas, std::back_inserter(given.replicas));
  given.no_capture |= from_options.no_capture;
  given.fuse_options = from_options.fuse_options;
  if (!directory.empty()) {
    Anchor(given.config, directory);
    if (ConfigOfVolume(given, directory).empty()) Anchor(given.source, directory);
    Anchor(given.mountpoint, directory);
  }
  const bool replicas_given = !given.replicas.empty();
  const bool names_volume = given.config.empty() && !ConfigOfVolume(given, directory).empty();
  if (names_volume) given.config = ConfigOfVolume(given, directory);
  std::optional<ConfigFile> file;
  if (!given.config.empty()) {
    ASSIGN_OR_RETURN(file, TakeConfig(given, names_volume));
  }
  ASSIGN_OR_RETURN(MountArguments arguments, Convert(given, file ? &*file : nullptr));
  arguments.replicas_in_config = !replicas_given && file && file->List("replica");
  RETURN_IF_ERROR(DisableOptimizations(disabled, arguments.optimizations));
  if (check_config) {
    std::cout << (file ? file->path() : "the command line") << ": ok\n";
    std::exit(ExitAfterOutput("tandemfs", EXIT_SUCCESS));
  }
  return arguments;
}

}  // namespace tandem::tools
