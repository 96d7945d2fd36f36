#include "tools/mount_arguments.h"

#include <limits.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "meta/base/fault_point.h"
#include "tools/print.h"
#include "tools/replica_url.h"
#include "tools/state_directory.h"

namespace tandem::tools {
namespace {

constexpr char kDescription[] =
    "Mounts a replicated directory: MOUNTPOINT shows SOURCE (they may be the same directory), and\n"
    "every change made through it is carried to the replica daemons (tandemd) given with "
    "--replica.";

constexpr char kFooter[] =
    "The same options can be given after -o, for mount(8) and fstab:\n"
    "  volume=NAME, state=DIR, replica=[NAME=]URL, interval=MS, stop_timeout=SECONDS, no_capture\n"
    "and FUSE's own options: ro, dev, suid, noatime, allow_other, writeback, max_threads=N,\n"
    "io_uring=auto|on|off, ...\n"
    "\n"
    "tandemfs returns when the mount is usable. It ends on fusermount3 -u MOUNTPOINT, umount, or "
    "SIGTERM.\n"
    "Started again on the same mountpoint it takes over: the running tandemfs ends cleanly, and\n"
    "programs that use the mount meanwhile wait.\n"
    "Replicas are remembered: without --replica, those of the last mount are used.\n"
    "\n"
    "Example:\n"
    "  tandemd --store /backup &\n"
    "  tandemfs /srv/data /srv/data --replica tcp://127.0.0.1:7447";

std::string DefaultVolume(const std::string& source) {
  char resolved[PATH_MAX];
  std::string path = realpath(source.c_str(), resolved) != nullptr ? resolved : source;
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() ? "root" : name;
}

bool IsUtf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

Status CheckVolumeName(const std::string& name) {
  const bool odd = std::ranges::any_of(
      name, [](char c) { return c == '/' || static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
  const bool fits = name.size() <= 200 && !odd && !name.starts_with('.') && !name.empty();
  if (fits && IsUtf8(name)) return {};
  return MakeError(ErrorKind::kUsage,
                   "\"" + name +
                       "\" cannot be a volume's name: give one with --volume, in "
                       "UTF-8, without a slash and not beginning with a dot");
}

// `what` is the option and `expected` the accepted numbers, for the message.
Result<uint64_t> ParseNumber(const std::string& what, const std::string& text, uint64_t least,
                             uint64_t most, const std::string& expected) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (whole && value >= least && value <= most) return value;
  return MakeError(ErrorKind::kUsage, what + " " + text + ": " + expected);
}

Result<std::chrono::milliseconds> ParseInterval(const std::string& text) {
  ASSIGN_OR_RETURN(
      const uint64_t value,
      ParseNumber("interval", text, 0, 3'600'000, "milliseconds from 0 to 3600000 are expected"));
  return std::chrono::milliseconds(value);
}

Result<uint64_t> ParseMostChanges(const std::string& text) {
  return ParseNumber("--max-changes", text, 1, UINT64_MAX, "a number from 1 is expected");
}

Result<std::chrono::seconds> ParseStopTimeout(const std::string& text) {
  ASSIGN_OR_RETURN(const uint64_t value, ParseNumber("--stop-timeout", text, 0, 86'400,
                                                     "seconds from 0 to 86400 are expected"));
  return std::chrono::seconds(value);
}

// Parses NAME=URL, or URL, in which case the part after :// is the name; likewise [NAME=]@FILE.
ReplicaArgument ParseReplica(const std::string& text) {
  if (text.starts_with('@')) return {"", text};
  const size_t scheme = text.find("://");
  const size_t equals = text.find('=');
  if (equals != std::string::npos && (scheme == std::string::npos || equals < scheme)) {
    return {text.substr(0, equals), text.substr(equals + 1)};
  }
  return {scheme == std::string::npos ? text : text.substr(scheme + 3), text};
}

bool IsInvitation(const ReplicaArgument& replica) { return replica.url.starts_with('@'); }

}  // namespace

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

// Splits at commas; "\," is a comma within an option.
std::vector<std::string> SplitOptions(const std::string& list) {
  std::vector<std::string> options(1);
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size()) {
      options.back() += list[i];
      options.back() += list[++i];
    } else if (list[i] == ',') {
      options.emplace_back();
    } else {
      options.back() += list[i];
    }
  }
  std::erase(options, "");
  return options;
}

// Removes our own options from -o; the rest is passed to FUSE.
Status TakeMountOptions(const std::vector<std::string>& lists, MountArguments& arguments) {
  for (const std::string& list : lists) {
    for (const std::string& option : SplitOptions(list)) {
      const size_t equals = option.find('=');
      const std::string key = option.substr(0, equals);
      const std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
      if (key == "volume") {
        arguments.volume = value;
      } else if (key == "state") {
        arguments.state = value;
      } else if (key == "replica") {
        arguments.replicas.push_back(ParseReplica(value));
      } else if (key == "interval") {
        ASSIGN_OR_RETURN(arguments.interval, ParseInterval(value));
      } else if (key == "max_changes" || key == "max-changes") {
        ASSIGN_OR_RETURN(arguments.most_changes, ParseMostChanges(value));
      } else if (key == "stop_timeout" || key == "stop-timeout") {
        ASSIGN_OR_RETURN(arguments.stop_timeout, ParseStopTimeout(value));
      } else if (key == "no_capture" || key == "no-capture") {
        arguments.capture = false;
      } else {
        arguments.fuse_options += (arguments.fuse_options.empty() ? "" : ",") + option;
      }
    }
  }
  return {};
}

void ListFaultPoints() {
  for (const std::string_view point : kSourceFaultPoints) std::cout << point << "\n";
}

}  // namespace

Result<MountArguments> ParseMountArguments(int argc, char** argv) {
  MountArguments arguments;
  std::vector<std::string> replicas;
  std::vector<std::string> option_lists;
  std::vector<std::string> disabled;
  std::string interval;
  std::string most_changes;
  std::string stop_timeout;
  bool no_capture = false;
  bool list_fault_points = false;
  CLI::App app(kDescription, "tandemfs");
  app.footer(kFooter);
  app.set_version_flag("--version", TANDEM_VERSION);
  app.add_option("SOURCE", arguments.source, "the directory to replicate");
  app.add_option("MOUNTPOINT", arguments.mountpoint, "the directory to show it at");
  app.add_option(
         "--replica", replicas,
         "[NAME=]URL of a replica daemon: tls://[ACCOUNT@]HOST[:PORT] (7447; ACCOUNT chooses\n"
         "between keys of several), ssh://[USER@]HOST[:PORT][/SOCKET] (TANDEM_SSH names another\n"
         "program than ssh), ipc:///PATH, or plain tcp://HOST[:PORT]; may be repeated.\n"
         "[NAME=]@FILE: what `tandemd invite` printed, to enrol with, once; @- reads it from\n"
         "stdin")
      ->type_name("[NAME=]URL|@FILE|@-")
      ->allow_extra_args(false);
  app.add_option("--volume", arguments.volume,
                 "the volume's name (default: the last part of SOURCE)");
  app.add_option("--state", arguments.state,
                 "the state directory (default: /var/lib/tandemfs/VOLUME for root)");
  app.add_option(
      "--interval", interval,
      "the least time between two cuts, in milliseconds (default 5); four times as much while "
      "programs call fsync");
  app.add_option("--max-changes", most_changes,
                 "how many changed objects and names are remembered (default 2097152); a replica "
                 "that is further behind is compared as a whole");
  app.add_option(
      "--stop-timeout", stop_timeout,
      "how many seconds the end may take to write back what programs store through "
      "mappings (default 30); after that the files are named, and the exit code is not 0");
  app.add_flag("--no-capture", no_capture, "pass through only: replicate nothing");
  app.add_flag("-f,--foreground", arguments.foreground, "stay in the foreground, log to stderr");
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
  if (arguments.source.empty() || arguments.mountpoint.empty()) {
    return MakeError(ErrorKind::kUsage, "SOURCE and MOUNTPOINT are needed (see tandemfs --help)");
  }
  arguments.capture = !no_capture;
  for (const std::string& replica : replicas) arguments.replicas.push_back(ParseReplica(replica));
  if (!interval.empty()) {
    ASSIGN_OR_RETURN(arguments.interval, ParseInterval(interval));
  }
  if (!most_changes.empty()) {
    ASSIGN_OR_RETURN(arguments.most_changes, ParseMostChanges(most_changes));
  }
  if (!stop_timeout.empty()) {
    ASSIGN_OR_RETURN(arguments.stop_timeout, ParseStopTimeout(stop_timeout));
  }
  RETURN_IF_ERROR(DisableOptimizations(disabled, arguments.optimizations));
  RETURN_IF_ERROR(TakeMountOptions(option_lists, arguments));
  RETURN_IF_ERROR(CheckReplicas(arguments.replicas));
  if (arguments.volume.empty()) arguments.volume = DefaultVolume(arguments.source);
  RETURN_IF_ERROR(CheckVolumeName(arguments.volume));
  if (arguments.state.empty()) arguments.state = StateDirectory::DefaultPath(arguments.volume);
  return arguments;
}

}  // namespace tandem::tools
