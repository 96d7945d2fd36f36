// tandemd: the replica daemon. Keeps a store and answers the sources that write to its volumes.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/base/private_files.h"
#include "replica/accounts/file_registry.h"
#include "replica/store/scrub_jobs.h"
#include "replica/store/scrub_schedule.h"
#include "replica/store/store.h"
#include "replica/transport/transport.h"
#include "replica/wire/messages.h"
#include "tools/byte_size.h"
#include "tools/config/config_file.h"
#include "tools/duration.h"
#include "tools/least_privilege.h"
#include "tools/print.h"
#include "tools/process_limits.h"
#include "tools/replica_url.h"
#include "tools/scrub_service.h"
#include "tools/service_manager.h"
#include "tools/socket_group.h"
#include "tools/system_call_filter.h"
#include "tools/tandemd_accounts.h"
#include "tools/tandemd_import.h"
#include "tools/tandemd_relay.h"
#include "tools/tandemd_scrub.h"

namespace {

using tandem::Error;
using tandem::ErrorKind;
using tandem::Status;

constexpr char kDefaultUrl[] = "ipc:///run/tandemd/tandemd.sock";
// A request that waits for a cut to be applied occupies one of them.
constexpr int kWorkers = 256;
constexpr char kKeepBases[] = "10%";
constexpr int kUsageExit = 2;
// The users of the group tandemd may connect; what each may do is its account's matter.
constexpr mode_t kIpcMode = 0660;

struct Settings {
  std::string store;
  std::vector<std::string> urls;
  std::string config;
  std::string store_mode;
  std::string reserve;
  std::string keep_bases;
  std::string user;
  std::string scrub_every;
  std::string scrub_rate;
  std::string log_level;
  std::string log_level_given;  // on the command line
  bool check_config = false;
  bool insecure_plaintext = false;
  std::optional<bool> trusted_attributes;  // if local URLs are listened at, unless said
  bool no_sandbox = false;
  bool list_fault_points = false;
};

void Declare(CLI::App& app, Settings& settings) {
  app.description(
      "Keeps replicas of tandemfs volumes. Each is a plain directory tree, STORE/VOLUME/tree, "
      "that\n"
      "moves from one cut of its source to the next; STORE/VOLUME/applied says which it has.");
  app.footer(
      "Example, on the backup host:  tandemd --store /srv/replica --listen tls://*\n"
      "                              tandemd invite alice --store /srv/replica > token\n"
      "         on the source, once:  tandemfs /data /data --replica backup=@token\n"
      "The configuration file is TOML with the same names: store = \"DIR\", listen = [\"URL\", "
      "...],\n"
      "reserve = \"5%\", insecure-plaintext = true, and so on. The command line overrides it.\n"
      "tandemd invite and tandemd account keep accounts and keys: see tandemd invite --help,\n"
      "tandemd account --help; tandemd relay serves those that come by ssh; tandemd scrub finds\n"
      "what the disk or other programs have damaged; tandemd import adopts a copy of a source as\n"
      "the first tree of a volume.\n"
      "Run as root, so that owners and devices can be set as they are on the source. It keeps no\n"
      "more of root's rights than that takes.\n"
      "TANDEM_LOG=debug logs more.");
  app.add_option("--store", settings.store,
                 "Directory of the replicas; created if its parent exists")
      ->type_name("DIR");
  app.add_option(
         "--listen", settings.urls,
         "Where to listen: tls://HOST[:PORT] (HOST * for all addresses) for hosts that have been\n"
         "invited, ipc:///PATH for users of this host and those who log in by ssh, plain\n"
         "tcp://HOST[:PORT] only with --insecure-plaintext; may be repeated. The port is 7447 if\n"
         "none is given, any free one if 0. Default: ipc:///run/tandemd/tandemd.sock")
      ->type_name("URL");
  app.add_option(
         "--store-mode", settings.store_mode,
         "Permissions of STORE and of the volumes' directories, octal. Default: 0700, only\n"
         "tandemd's user has access. 0755: the modes in tree/ decide what others see")
      ->type_name("MODE");
  app.add_option("--reserve", settings.reserve,
                 "What no volume may use of the store's disk, as in 20G or 5%. Default: 0")
      ->type_name("SIZE|PERCENT");
  app.add_option(
         "--keep-bases", settings.keep_bases,
         "How much is kept, for an hour at most, of what was removed, replaced or truncated,\n"
         "so that what is written anew from it is not sent again, as in 20G or 10% (of what\n"
         "is free); it goes first when room is short. Default: 10%. 0: nothing")
      ->type_name("SIZE|PERCENT");
  app.add_option("--config", settings.config,
                 "Configuration file. Default, if neither this nor --store is given:\n"
                 "/etc/tandemfs/tandemd.toml")
      ->type_name("FILE");
  app.add_flag("--check-config", settings.check_config,
               "Only say whether the configuration can be used");
  app.add_option("--log-level", settings.log_level, "debug, info, warning or error. Default: info")
      ->type_name("LEVEL");
  app.add_flag(
      "--insecure-plaintext", settings.insecure_plaintext,
      "Allow tcp://: every user of this host, and everybody else who can reach the port, can\n"
      "then read and replace the replicas of account local");
  app.add_flag(
      "--trusted-attributes{true},--no-trusted-attributes{false}",
      [&settings](int64_t count) { settings.trusted_attributes = count > 0; },
      "Keep the right to set trusted.* and security.* attributes (CAP_SYS_ADMIN), which\n"
      "are otherwise kept in replica.db only; file capabilities are set in any case.\n"
      "The default if --listen names ipc:// or tcp://, over which account local is reached");
  app.add_option("--user", settings.user,
                 "Run as this user, who owns STORE, once started as root. Owners and devices are\n"
                 "then kept in replica.db only")
      ->type_name("NAME");
  app.add_option("--scrub-every", settings.scrub_every,
                 "Scrub each volume once in this time, as in 30d: find what the disk or other\n"
                 "programs have damaged, and have its source send it again. Default: never")
      ->type_name("TIME");
  app.add_option("--scrub-rate", settings.scrub_rate,
                 "Read at most this many bytes a second for that, as in 20M. Default: no limit")
      ->type_name("BYTES");
  // For debuggers and tracers: allows all system calls.
  app.add_flag("--no-sandbox", settings.no_sandbox)->group("");
  app.add_flag("--list-fault-points", settings.list_fault_points,
               "Print the places where tests may end the process, and exit");
  app.set_version_flag("--version", TANDEM_VERSION);
}

using tandem::tools::ConfigFile;
constexpr ConfigFile::Key kConfigKeys[] = {
    {"store", ConfigFile::Kind::kText},
    {"listen", ConfigFile::Kind::kList},
    {"store-mode", ConfigFile::Kind::kText},
    {"reserve", ConfigFile::Kind::kText},
    {"keep-bases", ConfigFile::Kind::kText},
    {"user", ConfigFile::Kind::kText},
    {"scrub-every", ConfigFile::Kind::kText},
    {"scrub-rate", ConfigFile::Kind::kText},
    {"log-level", ConfigFile::Kind::kText},
    {"insecure-plaintext", ConfigFile::Kind::kFlag},
    {"trusted-attributes", ConfigFile::Kind::kFlag},
};

// What the command line has set is kept.
Status ReadConfig(Settings& settings) {
  ASSIGN_OR_RETURN(const ConfigFile file, ConfigFile::Read(settings.config, kConfigKeys));
  const std::pair<const char*, std::string*> texts[] = {
      {"store", &settings.store},
      {"store-mode", &settings.store_mode},
      {"reserve", &settings.reserve},
      {"keep-bases", &settings.keep_bases},
      {"user", &settings.user},
      {"scrub-every", &settings.scrub_every},
      {"scrub-rate", &settings.scrub_rate},
      {"log-level", &settings.log_level},
  };
  for (const auto& [key, setting] : texts) {
    if (setting->empty()) *setting = file.Text(key).value_or("");
  }
  if (settings.urls.empty()) settings.urls = file.List("listen").value_or(settings.urls);
  settings.insecure_plaintext |= file.Flag("insecure-plaintext").value_or(false);
  if (!settings.trusted_attributes) settings.trusted_attributes = file.Flag("trusted-attributes");
  return {};
}

// Checks the URLs and completes them. Refuses plain TCP, which is neither encrypted nor
// authenticated, and which every user of this host can reach.
Status CheckUrls(Settings& settings) {
  for (std::string& url : settings.urls) {
    ASSIGN_OR_RETURN(url, tandem::tools::CheckUrl(url, tandem::tools::UrlUse::kListen));
    if (settings.insecure_plaintext || !url.starts_with("tcp://")) continue;
    return tandem::MakeError(
        ErrorKind::kUsage,
        "listen on " + url +
            " (anybody who can reach it could read and replace the replicas: listen on tls:// and "
            "invite the other hosts, or on ipc:// for users of this host and ssh; or give "
            "--insecure-plaintext)",
        EPERM);
  }
  return {};
}

// Returns whether listening there takes a right of root's.
bool HasLowPort(const std::string& url) {
  const int port = std::atoi(url.c_str() + url.rfind(':') + 1);  // 0 for ipc://
  return port > 0 && port < 1024;
}

// Parses --store-mode. Only the owner may ever write to a store.
tandem::Result<mode_t> StoreMode(const Settings& settings) {
  constexpr mode_t kMost = 0755;
  const std::string& text = settings.store_mode;
  if (text.empty()) return tandem::kPrivateDirectory;
  mode_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  const bool is_octal = error == std::errc() && end == text.data() + text.size();
  if (is_octal && (mode & ~kMost) == 0 && (mode & tandem::kPrivateDirectory) == 0700) return mode;
  return tandem::MakeError(ErrorKind::kUsage,
                           "use --store-mode " + text +
                               " (an octal number from 0700 to 0755 that lets only its owner "
                               "write is expected)",
                           EINVAL);
}

using tandem::replica::ScrubSchedule;

// Returns nullopt if volumes are not scrubbed by themselves.
tandem::Result<std::optional<ScrubSchedule::Options>> ScheduleOf(const Settings& settings) {
  if (settings.scrub_every.empty()) {
    if (settings.scrub_rate.empty()) return std::nullopt;
    return tandem::MakeError(ErrorKind::kUsage,
                             "use --scrub-rate (it is the rate of --scrub-every, which is missing)",
                             EINVAL);
  }
  ASSIGN_OR_RETURN(const auto every, tandem::tools::ParseDuration(settings.scrub_every));
  ScrubSchedule::Options options{std::chrono::duration_cast<std::chrono::seconds>(every)};
  if (options.every < std::chrono::seconds(1)) {
    return tandem::MakeError(
        ErrorKind::kUsage,
        "use --scrub-every " + settings.scrub_every + " (at least a second is needed)", EINVAL);
  }
  if (!settings.scrub_rate.empty()) {
    ASSIGN_OR_RETURN(options.scrub.bytes_per_second,
                     tandem::tools::ParseByteSize("--scrub-rate", settings.scrub_rate));
  }
  return options;
}

// Reads the configuration file again, on SIGHUP. All but the level of the log is used from the next
// start on.
void Reload(const Settings& settings) {
  if (settings.config.empty()) {
    tandem::LogInfo("SIGHUP: there is no configuration file to read again");
    return;
  }
  Settings now;
  now.config = settings.config;
  auto read = ReadConfig(now);
  if (read && settings.log_level_given.empty()) {
    tandem::ResetLogLevel();
    read = tandem::SetLogLevel(now.log_level);
  }
  if (!read) {
    tandem::LogError("SIGHUP: {}", read.error().ToString());
    return;
  }
  tandem::LogInfo(
      "SIGHUP: read {} again; settings other than log-level are used from the next start on",
      settings.config);
}

Status Serve(const Settings& settings, mode_t store_mode, const sigset_t& signals) {
  tandem::replica::Reserve reserve;
  if (!settings.reserve.empty()) {
    ASSIGN_OR_RETURN(reserve, tandem::replica::Reserve::Parse(settings.reserve));
  }
  using tandem::replica::KeptBudget;
  ASSIGN_OR_RETURN(
      const auto keep,
      tandem::replica::Reserve::Parse(
          settings.keep_bases.empty() ? kKeepBases : settings.keep_bases, "--keep-bases"));
  const bool keeps = keep.bytes != 0 || keep.percent != 0;
  auto kept = keeps ? std::make_shared<KeptBudget>(keep.bytes, keep.percent) : nullptr;
  ASSIGN_OR_RETURN(const auto scrubbed, ScheduleOf(settings));
  auto registry = std::make_shared<tandem::replica::FileRegistry>(settings.store);
  ASSIGN_OR_RETURN(
      const auto store,
      tandem::replica::Store::Open(settings.store, store_mode, registry, reserve, std::move(kept)));
  tandem::replica::ReplySocket::Options options;
  options.workers = kWorkers;
  options.max_message_bytes = tandem::replica::kMaxMessageBytes;
  options.ipc_mode = kIpcMode;
  const auto is_tls = [](const std::string& url) { return url.starts_with("tls://"); };
  if (std::ranges::any_of(settings.urls, is_tls)) {
    ASSIGN_OR_RETURN(options.credentials, registry->OwnCredentials());
  }
  tandem::tools::MakeSocketDirectories(settings.urls);
  ASSIGN_OR_RETURN(
      const auto socket,
      tandem::replica::ReplySocket::Listen(
          settings.urls, options,
          [&store](std::string_view request, const tandem::replica::ConnectionRef& connection) {
            return store->Answer(request, connection);
          }));
  tandem::tools::GiveSocketsToGroup(settings.urls);
  tandem::replica::ScrubJobs scrubs(*store);
  tandem::tools::ScrubService service(*store, scrubs);
  auto control = service.Listen(settings.store);
  // Replicas are kept without it.
  if (!control) {
    tandem::LogError("{}: tandemd scrub works only while this daemon is stopped",
                     control.error().ToString());
  }
  std::optional<ScrubSchedule> schedule;
  if (scrubbed) schedule.emplace(*store, scrubs, *scrubbed);
  if (!settings.no_sandbox) {
    // A kernel without filters is no reason to keep no replica.
    if (const auto filtered = tandem::tools::FilterSystemCalls(); !filtered) {
      tandem::LogWarning("{}", filtered.error().ToString());
    }
  }
  std::string line = "tandemd: listening on";
  for (const std::string& url : socket->urls()) line += " " + url;
  std::puts(line.c_str());
  std::fflush(stdout);
  tandem::tools::ServiceManager manager([&store] { (void)store->Volumes(); });
  manager.Ready(line);
  int signal = SIGHUP;
  while (signal == SIGHUP) {
    sigwait(&signals, &signal);
    if (signal == SIGHUP) Reload(settings);
  }
  tandem::LogInfo("signal {}: stopping", signal);
  manager.Stopping();
  schedule.reset();
  if (control) control->reset();
  store->Stop();
  return {};
}

int Fail(const Error& error) {
  tandem::Complain("tandemd", error.ToString());
  return error.kind() == ErrorKind::kUsage ? kUsageExit : EXIT_FAILURE;
}

// Reads the configuration and checks all settings.
Status Complete(Settings& settings) {
  if (settings.config.empty() && settings.store.empty()) {
    const std::string usual = tandem::tools::ConfigDirectory() + "/tandemd.toml";
    if (access(usual.c_str(), F_OK) == 0) settings.config = usual;
  }
  if (!settings.config.empty()) {
    if (auto read = ReadConfig(settings); !read) return read;
  }
  if (settings.store.empty()) {
    return tandem::MakeError(ErrorKind::kUsage, "start (give --store DIR; see --help)", EINVAL);
  }
  if (settings.urls.empty()) settings.urls = {kDefaultUrl};
  RETURN_IF_ERROR(CheckUrls(settings));
  RETURN_IF_ERROR(StoreMode(settings));
  RETURN_IF_ERROR(ScheduleOf(settings));
  if (!settings.reserve.empty()) {
    RETURN_IF_ERROR(tandem::replica::Reserve::Parse(settings.reserve));
  }
  if (!settings.keep_bases.empty()) {
    RETURN_IF_ERROR(tandem::replica::Reserve::Parse(settings.keep_bases, "--keep-bases"));
  }
  if (!settings.log_level.empty()) return tandem::CheckLogLevel(settings.log_level);
  return {};
}

int Run(Settings settings) {
  if (settings.list_fault_points) {
    for (const auto name : tandem::kReplicaFaultPoints) std::puts(std::string(name).c_str());
    for (const auto name : tandem::kFullDiskFaultPoints) std::puts(std::string(name).c_str());
    return tandem::tools::ExitAfterOutput("tandemd", EXIT_SUCCESS);
  }
  settings.log_level_given = settings.log_level;
  if (const auto completed = Complete(settings); !completed) return Fail(completed.error());
  if (settings.check_config) {
    std::printf("%s: ok\n", settings.config.empty() ? "the command line" : settings.config.c_str());
    return tandem::tools::ExitAfterOutput("tandemd", EXIT_SUCCESS);
  }
  const auto store_mode = StoreMode(settings);
  if (!store_mode) return Fail(store_mode.error());

  tandem::SetUpLog("tandemd");
  (void)tandem::SetLogLevel(settings.log_level);  // checked before
  tandem::tools::RaiseOpenFiles();
  tandem::tools::LimitHeaps();
  // All threads inherit the mask; main receives the signals by sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A write beyond RLIMIT_FSIZE then fails with EFBIG, which concerns that file only.
  signal(SIGXFSZ, SIG_IGN);
  umask(0);
  // Before there is another thread.
  if (!settings.user.empty()) {
    if (const auto became = tandem::tools::BecomeUser(settings.user); !became) {
      return Fail(became.error());
    }
  }
  // Account local, which has all rights in the tree, can be reached by these.
  const auto is_local = [](const std::string& url) { return !url.starts_with("tls://"); };
  const bool trusted =
      settings.trusted_attributes.value_or(std::ranges::any_of(settings.urls, is_local));
  const auto reduced =
      tandem::tools::ReduceToReplica({trusted, std::ranges::any_of(settings.urls, HasLowPort)});
  if (!reduced) return Fail(reduced.error());
  const auto served = Serve(settings, *store_mode, signals);
  return served ? EXIT_SUCCESS : Fail(served.error());
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = tandem::tools::RunAccountCommand(argc, argv)) return *code;
  if (const auto code = tandem::tools::RunImportCommand(argc, argv)) return *code;
  if (argc > 1 && std::string_view(argv[1]) == "relay") {
    return tandem::tools::RunRelay(argc - 1, argv + 1);
  }
  if (argc > 1 && std::string_view(argv[1]) == "scrub") {
    return tandem::tools::RunScrub(argc - 1, argv + 1);
  }
  CLI::App app;
  Settings settings;
  Declare(app, settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return tandem::tools::ExitAfterOutput("tandemd", app.exit(e));
    tandem::Complain("tandemd", std::string(e.what()) + " (see tandemd --help)");
    return 2;
  }
  return Run(std::move(settings));
}
