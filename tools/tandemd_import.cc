#include "tools/tandemd_import.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "meta/base/log.h"
#include "meta/base/unique_fd.h"
#include "replica/accounts/accounts.h"
#include "replica/accounts/rights.h"
#include "replica/store/import.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

constexpr char kProgram[] = "tandemd";
constexpr int kUsageExit = 2;
constexpr std::chrono::milliseconds kProgressEvery{200};

struct Settings {
  std::string volume;
  std::string directory;
  bool content = false;
};

struct Target {
  std::string store;
  replica::VolumeKey key;
};

bool IsAccount(const std::filesystem::path& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.valid() && replica::IsAccountDirectory(fd.get());
}

// Tells STORE/VOLUME and STORE/ACCOUNT/VOLUME apart by what is there.
Result<Target> TargetOf(const std::string& text) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(text, ignored).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const std::filesystem::path above = path.parent_path();
  const std::string name = path.filename();
  if (std::filesystem::is_directory(above, ignored) && !IsAccount(above)) {
    return Target{above, {replica::kLocalAccount, name}};
  }
  const std::string account = above.filename();
  const bool is_store = std::filesystem::exists(above.parent_path() / ".lock", ignored);
  if ((IsAccount(above) || is_store) && replica::IsAccountName(account)) {
    return Target{above.parent_path(), {account, name}};
  }
  return MakeError(ErrorKind::kUsage,
                   "import into " + text + " (" + above.string() +
                       " is no directory: give STORE/VOLUME or STORE/ACCOUNT/VOLUME, where STORE "
                       "is the --store that tandemd has)",
                   ENOENT);
}

class Progress {
 public:
  ~Progress() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void Show(uint64_t objects) {
    const auto now = std::chrono::steady_clock::now();
    if (!is_terminal_ || now - last_ < kProgressEvery) return;
    last_ = now;
    shown_ = true;
    std::fprintf(stderr, "\rtandemd: %llu files and directories found",
                 static_cast<unsigned long long>(objects));
    std::fflush(stderr);
  }

 private:
  const bool is_terminal_ = isatty(STDERR_FILENO) == 1;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  bool shown_ = false;
};

Status Run(const Settings& settings) {
  ASSIGN_OR_RETURN(const Target target, TargetOf(settings.volume));
  umask(077);
  Result<replica::Imported> imported = [&] {
    Progress progress;
    return replica::ImportTree(
        target.store, target.key, settings.directory,
        {settings.content, [&progress](uint64_t objects) { progress.Show(objects); }});
  }();
  if (!imported) return tl::unexpected<Error>(std::move(imported.error()));
  const std::string name = target.key.ToString();
  if (imported->was_completed) {
    PrintLine(
        "{}: an import that had been interrupted is complete now; its directory is the tree of the "
        "volume",
        name);
  } else {
    PrintLine(
        "{}: {} files and directories imported; start tandemd, then tandemfs with --volume {}",
        name, imported->objects, target.key.name);
  }
  return {};
}

}  // namespace

std::optional<int> RunImportCommand(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "import") return std::nullopt;
  Settings settings;
  CLI::App app(
      "Adopts a copy of a source (made by rsync, or carried on a disk) as the first tree of a new\n"
      "volume, so that a first mount moves only what differs.",
      "tandemd import");
  app.footer(
      "DIR becomes STORE/VOLUME/tree, so it must be on the filesystem of STORE, and outside it.\n"
      "tandemd must not be running on STORE. The first source that mounts with --volume VOLUME "
      "and\n"
      "this replica owns the volume from then on. It takes a file of the copy for its own if "
      "path,\n"
      "size and modification time are equal; other files travel as what differs from the copy, "
      "and\n"
      "what the source does not have is removed.\n"
      "If the command is interrupted, repeat it.\n"
      "Example:  rsync -aHAX source:/data/ /srv/copy\n"
      "          tandemd import /srv/replica/data /srv/copy");
  app.add_option("STORE/VOLUME", settings.volume,
                 "The volume to make; STORE/ACCOUNT/VOLUME for an account other than local")
      ->required();
  app.add_option("DIR", settings.directory, "The directory of the copy")->required();
  app.add_flag("--content", settings.content,
               "Have the first session compare the content of all files, whatever their times say");
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return ExitAfterOutput(kProgram, app.exit(e));
    Complain(kProgram, std::string(e.what()) + " (see tandemd import --help)");
    return kUsageExit;
  }
  const Status done = Run(settings);
  if (done) return ExitAfterOutput(kProgram, EXIT_SUCCESS);
  Complain(kProgram, done.error().ToString());
  return done.error().kind() == ErrorKind::kUsage ? kUsageExit : EXIT_FAILURE;
}

}  // namespace tandem::tools
