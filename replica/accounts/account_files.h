// The files of STORE/.tandemd: the keys of the authority and of the daemon, and accounts.json.
// replica/accounts/ACCOUNTS.md describes them. The running daemon and the commands `tandemd invite`
// and `tandemd account` use them at the same time: a change is made with STORE/.tandemd/lock held,
// and a reader sees each file whole.
//
// Any thread.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>

#include "meta/base/result.h"
#include "replica/accounts/accounts.h"
#include "replica/transport/certificates.h"

namespace tandem::replica {

inline constexpr char kAccountDirectory[] = ".tandemd";

class AccountFiles {
 public:
  // Touches nothing yet. `store` exists.
  explicit AccountFiles(const std::string& store)
      : directory_(store + "/" + kAccountDirectory),
        accounts_path_(directory_ + "/accounts.json") {}

  const std::string& accounts_path() const { return accounts_path_; }

  // Returns no accounts if there is no accounts.json.
  Result<Accounts> Read() const;
  // Lets `change` edit the accounts and writes them durably if it returns true. Nothing is written
  // after an error. Makes the directory if there is none.
  Status Change(const std::function<Result<bool>(Accounts&)>& change);

  struct Keys {
    KeyedCertificate authority;
    KeyedCertificate daemon;
  };
  // Returns the keys; makes and stores those that are missing. Returns kCorrupt if the authority is
  // missing but hosts have enrolled with it.
  Result<Keys> EnsureKeys();
  // Returns the authority's key. A kSystem error with ENOENT if there is none.
  Result<KeyedCertificate> Authority() const;

 private:
  Result<KeyedCertificate> ReadKey(const std::string& path) const;

  const std::string directory_;
  const std::string accounts_path_;
};

}  // namespace tandem::replica
