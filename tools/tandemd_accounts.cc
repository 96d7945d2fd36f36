#include "tools/tandemd_accounts.h"

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <string>
#include <string_view>

#include "meta/base/log.h"
#include "replica/accounts/account_files.h"
#include "replica/store/store_layout.h"
#include "tools/account_list.h"
#include "tools/invite.h"
#include "tools/print.h"

namespace tandem::tools {
namespace {

using replica::AccountFiles;
using replica::Accounts;

constexpr char kProgram[] = "tandemd";
constexpr int kUsageExit = 2;

struct Settings {
  std::string store;
  std::string name;     // of an account or an identity
  std::string volume;   // adopt: of account local
  std::string account;  // adopt: which is to have it
  bool json = false;
  InviteSettings invite;
};

tl::unexpected<Error> NoSuchName(const Settings& settings) {
  return MakeError(ErrorKind::kUsage,
                   "find \"" + settings.name + "\" in the accounts of " + settings.store +
                       " (there is neither an account nor an identity of this name: see tandemd "
                       "account list)",
                   ENOENT);
}

bool IsIn(const std::string& identity, const std::string& account) {
  return replica::AccountOf(identity) == account;
}

// Calls `change` for the identity of this name, or for each of the account's.
Result<size_t> ForEachNamed(Accounts& all, const Settings& settings, auto change) {
  size_t count = 0;
  const bool is_account = all.Find(settings.name) != nullptr;
  for (replica::KnownIdentity& identity : all.identities) {
    if (identity.name != settings.name && !(is_account && IsIn(identity.name, settings.name))) {
      continue;
    }
    change(identity);
    ++count;
  }
  if (count == 0 && !is_account) return NoSuchName(settings);
  return count;
}

Status List(const Settings& settings) {
  ASSIGN_OR_RETURN(const Accounts accounts, AccountFiles(settings.store).Read());
  if (settings.json) {
    PrintAccountsJson(accounts, std::time(nullptr));
  } else {
    PrintAccounts(accounts, std::time(nullptr));
  }
  return {};
}

Status Revoke(const Settings& settings) {
  size_t count = 0;
  size_t withdrawn = 0;
  RETURN_IF_ERROR(AccountFiles(settings.store).Change([&](Accounts& all) -> Result<bool> {
    ASSIGN_OR_RETURN(count, ForEachNamed(all, settings, [](auto& item) { item.revoked = true; }));
    withdrawn = std::erase_if(all.invitations, [&](const replica::Invitation& invitation) {
      return invitation.account == settings.name || invitation.identity == settings.name;
    });
    return true;
  }));
  PrintLine("{}: {} keys revoked, {} invitations withdrawn; from the next request on",
            settings.name, count, withdrawn);
  return {};
}

Status Rotate(const Settings& settings) {
  size_t count = 0;
  RETURN_IF_ERROR(AccountFiles(settings.store).Change([&](Accounts& all) -> Result<bool> {
    ASSIGN_OR_RETURN(count,
                     ForEachNamed(all, settings, [](auto& item) { item.must_renew = true; }));
    return count > 0;
  }));
  PrintLine("{}: {} keys are to be renewed; their hosts do it by themselves", settings.name, count);
  return {};
}

// Forgets keys. The account's volumes stay where they are.
Status Remove(const Settings& settings) {
  const std::string& name = settings.name;
  RETURN_IF_ERROR(AccountFiles(settings.store).Change([&](Accounts& all) -> Result<bool> {
    const bool is_account = all.Find(name) != nullptr;
    ASSIGN_OR_RETURN(const size_t count, ForEachNamed(all, settings, [](auto&) {}));
    std::erase_if(all.identities, [&](const replica::KnownIdentity& identity) {
      return identity.name == name || (is_account && IsIn(identity.name, name));
    });
    std::erase_if(all.invitations, [&](const replica::Invitation& invitation) {
      return invitation.account == name || invitation.identity == name;
    });
    std::erase_if(all.accounts, [&](const replica::Account& item) { return item.name == name; });
    return is_account || count > 0;
  }));
  PrintLine("{}: removed; its volumes are still in {}/{}", name, settings.store,
            replica::AccountOf(name));
  return {};
}

// Needs the store for itself: a volume that is in use cannot be moved.
Status Adopt(const Settings& settings) {
  if (!replica::IsAccountName(settings.account)) {
    return MakeError(ErrorKind::kUsage,
                     "give volume " + settings.volume + " to \"" + settings.account +
                         "\" (that cannot be the name of an account)",
                     EINVAL);
  }
  RETURN_IF_ERROR(replica::AdoptVolume(settings.store, settings.volume, settings.account));
  PrintLine("{}/{}: volume {} belongs to account {} from now on", settings.account, settings.volume,
            settings.volume, settings.account);
  return {};
}

Status CheckStore(const std::string& store) {
  struct stat found;
  if (stat(store.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) return {};
  return MakeError(ErrorKind::kUsage,
                   "use store directory " + store + " (give the --store that tandemd has)", ENOENT);
}

CLI::App* AddCommand(CLI::App& parent, Settings& settings, const char* name, const char* what) {
  CLI::App* const command = parent.add_subcommand(name, what);
  command->add_option("--store", settings.store, "Directory of the replicas, as tandemd has it")
      ->type_name("DIR")
      ->required();
  return command;
}

CLI::App* AddNamed(CLI::App& parent, Settings& settings, const char* name, const char* what) {
  CLI::App* const command = AddCommand(parent, settings, name, what);
  command->add_option("NAME", settings.name, "An account, or one identity: ACCOUNT/HOST-xxxxxxxx")
      ->required();
  return command;
}

Status Run(CLI::App& app, const Settings& settings) {
  RETURN_IF_ERROR(CheckStore(settings.store));
  if (app.got_subcommand("invite")) return Invite(settings.store, settings.invite);
  const CLI::App* const account = app.get_subcommand("account");
  if (account->got_subcommand("list")) return List(settings);
  if (account->got_subcommand("revoke")) return Revoke(settings);
  if (account->got_subcommand("rotate")) return Rotate(settings);
  if (account->got_subcommand("adopt")) return Adopt(settings);
  return Remove(settings);
}

}  // namespace

std::optional<int> RunAccountCommand(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word != "invite" && word != "account") return std::nullopt;
  Settings settings;
  CLI::App app("Keeps the accounts of a store, and the keys that belong to them.", kProgram);
  app.require_subcommand(1);
  DeclareInvite(*AddCommand(app, settings, "invite",
                            "Print a token that lets one host enrol in ACCOUNT, which is made if "
                            "there is none"),
                settings.invite);
  CLI::App* const account =
      app.add_subcommand("account", "List, revoke, rotate and remove keys; adopt volumes");
  account->require_subcommand(1);
  AddCommand(*account, settings, "list", "List accounts, their keys with last use, invitations")
      ->add_flag("--json", settings.json, "As JSON");
  AddNamed(*account, settings, "revoke",
           "Refuse a key, or all of an account, from the next request on; withdraw invitations");
  AddNamed(*account, settings, "rotate", "Have hosts renew their keys; replication goes on");
  AddNamed(*account, settings, "remove",
           "Forget a key, or an account with all its keys; its volumes stay");
  CLI::App* const adopt = AddCommand(
      *account, settings, "adopt",
      "Give a volume of account local to ACCOUNT without copying it; stop tandemd first");
  adopt->add_option("VOLUME", settings.volume, "The volume, STORE/VOLUME")->required();
  adopt->add_option("ACCOUNT", settings.account, "Has it at STORE/ACCOUNT/VOLUME afterwards")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return ExitAfterOutput(kProgram, app.exit(e));
    Complain(kProgram, std::string(e.what()) + " (see tandemd " + std::string(word) + " --help)");
    return kUsageExit;
  }
  const Status done = Run(app, settings);
  if (done) return ExitAfterOutput(kProgram, EXIT_SUCCESS);
  Complain(kProgram, done.error().ToString());
  return done.error().kind() == ErrorKind::kUsage ? kUsageExit : EXIT_FAILURE;
}

}  // namespace tandem::tools
