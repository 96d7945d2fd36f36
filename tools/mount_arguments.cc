#include "tools/mount_arguments.h"

#include <limits.h>
#include <unistd.h>

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
#include "replica/source/bandwidth.h"
#include "tools/config/config_file.h"
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

// What was given, as text; empty: not given.
struct Given {
  std::string source;
  std::string mountpoint;
  std::string config;
  std::vector<std::string> replicas;
  std::map<std::string, std::string, std::less<>> texts;  // by kTextKeys
  bool no_capture = false;
  bool foreground = false;
  std::string fuse_options;
};
constexpr const char* kTextKeys[] = {"volume",       "state",   "interval", "max-changes",
                                     "stop-timeout", "bwlimit", "log-level"};

constexpr ConfigFile::Key kConfigKeys[] = {
    {"source", ConfigFile::Kind::kText},      {"mountpoint", ConfigFile::Kind::kText},
    {"volume", ConfigFile::Kind::kText},      {"state", ConfigFile::Kind::kText},
    {"replica", ConfigFile::Kind::kList},     {"interval", ConfigFile::Kind::kText},
    {"max-changes", ConfigFile::Kind::kText}, {"stop-timeout", ConfigFile::Kind::kText},
    {"bwlimit", ConfigFile::Kind::kText},     {"log-level", ConfigFile::Kind::kText},
    {"no-capture", ConfigFile::Kind::kFlag},  {"foreground", ConfigFile::Kind::kFlag},
    {"options", ConfigFile::Kind::kList},
};

// Removes our own options from -o; the rest is passed to FUSE.
void TakeMountOptions(const std::vector<std::string>& lists, Given& given) {
  for (const std::string& list : lists) {
    for (const std::string& option : SplitOptions(list)) {
      const size_t equals = option.find('=');
      std::string key = option.substr(0, equals);
      std::ranges::replace(key, '_', '-');
      const std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
      if (key == "replica") {
        given.replicas.push_back(value);
      } else if (key == "no-capture") {
        given.no_capture = true;
      } else if (std::ranges::find(kTextKeys, key) != std::end(kTextKeys)) {
        given.texts.try_emplace(key, value);
      } else {
        given.fuse_options += (given.fuse_options.empty() ? "" : ",") + option;
      }
    }
  }
}

// Returns the file of a volume that is named instead of SOURCE, as in `tandemfs VOLUME
// [MOUNTPOINT]`; an empty string if it is none.
std::string ConfigOfVolume(const Given& given) {
  const std::string& name = given.source;
  if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.')) return "";
  const std::string path = ConfigDirectory() + "/" + name + ".toml";
  const bool may_be_source = !given.mountpoint.empty() && access(name.c_str(), F_OK) == 0;
  return !may_be_source && access(path.c_str(), F_OK) == 0 ? path : "";
}

// Adds what the file says and nothing else has said.
Result<ConfigFile> TakeConfig(Given& given, bool names_volume) {
  ASSIGN_OR_RETURN(ConfigFile file, ConfigFile::Read(given.config, kConfigKeys));
  if (names_volume) given.texts.try_emplace("volume", given.source);
  if (names_volume || given.source.empty()) given.source = file.Text("source").value_or("");
  if (given.mountpoint.empty()) {
    given.mountpoint = file.Text("mountpoint").value_or(given.source);
  }
  // The file of a volume may give it another name than its own.
  if (const auto volume = file.Text("volume"); volume && names_volume) {
    given.texts["volume"] = *volume;
  }
  for (const char* key : kTextKeys) {
    if (auto text = file.Text(key)) given.texts.try_emplace(key, *std::move(text));
  }
  if (given.replicas.empty()) given.replicas = file.List("replica").value_or(given.replicas);
  given.no_capture |= file.Flag("no-capture").value_or(false);
  given.foreground |= file.Flag("foreground").value_or(false);
  Given from_options;
  TakeMountOptions(file.List("options").value_or(std::vector<std::string>()), from_options);
  if (!from_options.fuse_options.empty()) {
    given.fuse_options =
        from_options.fuse_options + (given.fuse_options.empty() ? "" : "," + given.fuse_options);
  }
  return file;
}

// Parses a setting and puts it into `arguments`.
Status TakeText(const std::string& key, const std::string& text, MountArguments& arguments) {
  if (key == "volume") {
    RETURN_IF_ERROR(CheckVolumeName(text));
    arguments.volume = text;
  } else if (key == "state") {
    arguments.state = text;
  } else if (key == "interval") {
    ASSIGN_OR_RETURN(arguments.interval, ParseInterval(text));
  } else if (key == "max-changes") {
    ASSIGN_OR_RETURN(arguments.most_changes, ParseMostChanges(text));
  } else if (key == "stop-timeout") {
    ASSIGN_OR_RETURN(arguments.stop_timeout, ParseStopTimeout(text));
  } else if (key == "bwlimit") {
    RETURN_IF_ERROR(replica::BandwidthSchedule::Parse(text));
    arguments.bandwidth = text;
  } else {
    RETURN_IF_ERROR(CheckLogLevel(text));
    arguments.log_level = text;
  }
  return {};
}

// Turns what was given into settings. `file`, if any, is where the rest was read from.
Result<MountArguments> Convert(const Given& given, const ConfigFile* file) {
  MountArguments arguments;
  arguments.config = given.config;
  arguments.source = given.source;
  arguments.mountpoint = given.mountpoint;
  arguments.foreground = given.foreground;
  arguments.fuse_options = given.fuse_options;
  arguments.capture = !given.no_capture;
  if (arguments.source.empty() || arguments.mountpoint.empty()) {
    const std::string how =
        file == nullptr ? "SOURCE and MOUNTPOINT are needed, or a VOLUME for which there is " +
                              ConfigDirectory() + "/VOLUME.toml"
                        : file->path() + ": source = \"DIR\" is needed";
    return MakeError(ErrorKind::kUsage, how + " (see tandemfs --help)");
  }
  for (const auto& [key, text] : given.texts) {
    if (auto taken = TakeText(key, text, arguments); !taken) {
      const bool from_file = file != nullptr && file->Text(key) == text;
      return tl::unexpected<Error>(from_file ? file->At(key, taken.error()) : taken.error());
    }
  }
  for (const std::string& replica : given.replicas) {
    arguments.replicas.push_back(ParseReplica(replica));
  }
  RETURN_IF_ERROR(CheckReplicas(arguments.replicas));
  if (arguments.volume.empty()) {
    arguments.volume = DefaultVolume(arguments.source);
    RETURN_IF_ERROR(CheckVolumeName(arguments.volume));
  }
  if (arguments.state.empty()) arguments.state = StateDirectory::DefaultPath(arguments.volume);
  return arguments;
}

void ListFaultPoints() {
  for (const std::string_view point : kSourceFaultPoints) std::cout << point << "\n";
}

}  // namespace

Result<MountArguments> ParseMountArguments(int argc, char** argv) {
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
  TakeMountOptions(option_lists, given);
  const bool replicas_given = !given.replicas.empty();
  const bool names_volume = given.config.empty() && !ConfigOfVolume(given).empty();
  if (names_volume) given.config = ConfigOfVolume(given);
  std::optional<ConfigFile> file;
  if (!given.config.empty()) {
    ASSIGN_OR_RETURN(file, TakeConfig(given, names_volume));
  }
  ASSIGN_OR_RETURN(MountArguments arguments, Convert(given, file ? &*file : nullptr));
  arguments.replicas_in_config = !replicas_given && !arguments.replicas.empty();
  RETURN_IF_ERROR(DisableOptimizations(disabled, arguments.optimizations));
  if (check_config) {
    std::cout << (file ? file->path() : "the command line") << ": ok\n";
    std::exit(ExitAfterOutput("tandemfs", EXIT_SUCCESS));
  }
  return arguments;
}

}  // namespace tandem::tools
