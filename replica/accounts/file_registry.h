// Decides what peers may do by STORE/.tandemd/accounts.json (replica/accounts/ACCOUNTS.md). Notices
// at the next request what `tandemd invite` and `tandemd account` have changed. While the file
// cannot be read, hosts with keys are refused, and so are users of this host with an account of
// their own, because their quota is unknown; account local goes on.
//
// Any thread. A request costs one stat(2); only Enrol and Renew wait for the disk. A thread of its
// own writes down, about once a minute, when each identity was last used.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <unordered_map>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "replica/accounts/account_files.h"
#include "replica/accounts/account_registry.h"
#include "replica/transport/credentials.h"

namespace tandem::replica {

class FileRegistry final : public AccountRegistry {
 public:
  // Returns seconds since 1970.
  using WallClock = std::function<int64_t()>;

  explicit FileRegistry(const std::string& store, WallClock clock = SystemClock);
  ~FileRegistry() override;  // writes down what is known of last uses

  Result<Rights> RightsOf(const PeerIdentity& peer) override;
  Result<Enrolled> Enrol(const replica::Enrol& request, const PeerIdentity& peer) override;
  Result<Enrolled> Renew(const replica::Renew& request, const PeerIdentity& peer) override;

  // Returns what the daemon proves itself with over tls://. Makes the keys if there are none.
  Result<Credentials> OwnCredentials();
  // Writes last uses, and removes invitations that are over. Called by the thread.
  void WriteDown();

 private:
  static int64_t SystemClock();
  // Reads accounts.json again if it is another file than the one read last.
  void Refresh() REQUIRES(mutex_);
  Result<Rights> RightsOfKey(const PeerIdentity& peer, int64_t now) REQUIRES(mutex_);
  Status FitsOpenInvitation(const std::string& secret_digest) EXCLUDES(mutex_);
  void NoteRefusedEnrolment(const PeerIdentity& peer) EXCLUDES(mutex_);
  void Run();

  AccountFiles files_;
  const WallClock clock_;
  LocalRegistry local_;

  Mutex mutex_;
  UniqueFd seen_ GUARDED_BY(mutex_);  // keeps the inode of the file that was read from being reused
  struct stat seen_stat_ GUARDED_BY(mutex_) = {};
  int read_errno_ GUARDED_BY(mutex_) = 0;  // of opening it, when that failed
  bool is_read_ GUARDED_BY(mutex_) = false;
  bool is_damaged_ GUARDED_BY(mutex_) = false;
  Accounts accounts_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, size_t> index_of_key_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, int64_t> last_used_ GUARDED_BY(mutex_);  // by name
  std::unordered_map<std::string, int64_t> next_used_ GUARDED_BY(mutex_);  // by key
  uint64_t refused_enrolments_ GUARDED_BY(mutex_) = 0;
  int64_t refusals_logged_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  CondVar stop_;
  std::thread thread_;
};

}  // namespace tandem::replica
