#include "replica/accounts/file_registry.h"

#include <fcntl.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "meta/base/log.h"

namespace tandem::replica {
namespace {

constexpr std::chrono::seconds kWriteDownEvery{60};

tl::unexpected<Error> Refuse(std::string what) {
  return MakeError(ErrorKind::kRefused, std::move(what), EPERM);
}

// What peers are told of trouble that only the administrator may know of.
tl::unexpected<Error> RefuseForTrouble() {
  return Refuse(
      "serve this host (tandemd cannot read its accounts; its log on the backup host says why)");
}

bool IsSameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_ctim.tv_sec == b.st_ctim.tv_sec &&
         a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

}  // namespace

int64_t FileRegistry::SystemClock() { return std::time(nullptr); }

FileRegistry::FileRegistry(const std::string& store, WallClock clock)
    : files_(store), clock_(std::move(clock)), thread_([this] { Run(); }) {}

FileRegistry::~FileRegistry() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  thread_.join();
  WriteDown();
}

void FileRegistry::Run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      const auto deadline = CondVar::Clock::now() + kWriteDownEvery;
      while (!stopping_ && stop_.WaitUntil(mutex_, deadline)) {
      }
      if (stopping_) return;
    }
    WriteDown();
  }
}

// ---- What the files say ------------------------------------------------------------------------

void FileRegistry::Refresh() {
  const char* const path = files_.accounts_path().c_str();
  struct stat now = {};
  const int failure = stat(path, &now) == 0 ? 0 : errno;
  if (is_read_ && failure == read_errno_ && (failure != 0 || IsSameFile(now, seen_stat_))) return;
  // If the file is replaced between here and Read, the next request sees another file and reads
  // again.
  seen_.Reset(failure == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1);
  seen_stat_ = now;
  if (seen_.valid()) fstat(seen_.get(), &seen_stat_);
  is_read_ = true;
  read_errno_ = failure;
  auto read = files_.Read();
  is_damaged_ = !read;
  if (!read) {
    LogError("{}. Until then no host with a key is served", read.error().ToString());
    read = Accounts();
  }
  accounts_ = std::move(*read);
  index_of_key_.clear();
  for (size_t i = 0; i < accounts_.identities.size(); ++i) {
    const KnownIdentity& identity = accounts_.identities[i];
    index_of_key_[identity.key] = i;
    if (!identity.next_key.empty()) index_of_key_[identity.next_key] = i;
  }
}

Result<Rights> FileRegistry::RightsOf(const PeerIdentity& peer) {
  if (peer.kind != PeerIdentity::Kind::kKey) {
    ASSIGN_OR_RETURN(Rights rights, local_.RightsOf(peer));
    if (rights.account == kLocalAccount) return rights;
    MutexLock lock(mutex_);
    Refresh();
    if (is_damaged_) return RefuseForTrouble();
    if (const Account* account = accounts_.Find(rights.account)) rights.quota = account->quota;
    return rights;
  }
  MutexLock lock(mutex_);
  Refresh();
  return RightsOfKey(peer, clock_());
}

Result<Rights> FileRegistry::RightsOfKey(const PeerIdentity& peer, int64_t now) {
  if (is_damaged_) return RefuseForTrouble();
  const auto found = index_of_key_.find(peer.key);
  if (found == index_of_key_.end() || accounts_.identities[found->second].name != peer.name) {
    return Refuse("serve " + peer.name +
                  " (its key is not, or no longer, known here: ask for an invitation, and enrol "
                  "with --replica [NAME=]@FILE)");
  }
  const KnownIdentity& identity = accounts_.identities[found->second];
  if (identity.revoked) {
    return Refuse("serve " + peer.name +
                  " (its key was revoked: if that was a mistake, ask for an invitation, and enrol "
                  "with --replica [NAME=]@FILE)");
  }
  if (peer.key == identity.next_key) {
    if (identity.next_used == 0) next_used_.try_emplace(peer.key, now);
  } else if (const auto used = next_used_.find(identity.next_key);
             now >= (identity.next_used != 0    ? identity.next_used
                     : used != next_used_.end() ? used->second
                                                : now) +
                        kRenewalGrace) {
    return Refuse("serve " + peer.name +
                  " with its former key (it has a new one: remount, so that it is used)");
  }
  const Account* const account = accounts_.Find(AccountOf(identity.name));
  if (account == nullptr) return RefuseForTrouble();  // ParseAccounts does not let that happen
  last_used_[identity.name] = now;
  Rights rights;
  rights.account = account->name;
  rights.identity = identity.name;
  rights.may_write = !identity.read_only;
  rights.may_set_special = account->may_set_special;
  rights.volume_pattern = identity.volumes;
  rights.quota = account->quota;
  return rights;
}

void FileRegistry::WriteDown() {
  std::unordered_map<std::string, int64_t> last_used;
  std::unordered_map<std::string, int64_t> next_used;
  const int64_t now = clock_();
  bool due = false;
  {
    MutexLock lock(mutex_);
    Refresh();
    if (is_damaged_ || read_errno_ != 0) return;
    last_used.swap(last_used_);
    next_used = next_used_;
    Accounts tidied = accounts_;
    due = !last_used.empty() || !next_used.empty() || TidyUp(tidied, now);
  }
  if (!due) return;
  const auto written = files_.Change([&](Accounts& all) -> Result<bool> {
    bool changed = false;
    for (KnownIdentity& identity : all.identities) {
      const auto used = last_used.find(identity.name);
      if (used != last_used.end() && used->second > identity.last_used) {
        identity.last_used = used->second;
        changed = true;
      }
      const auto next = next_used.find(identity.next_key);
      if (next != next_used.end() && identity.next_used == 0) {
        identity.next_used = next->second;
        identity.must_renew = false;
        changed = true;
      }
    }
    return TidyUp(all, now) || changed;
  });
  MutexLock lock(mutex_);
  if (written) {
    for (const auto& [key, time] : next_used) next_used_.erase(key);
    return;
  }
  LogWarning("last uses of keys are not written down: {}", written.error().ToString());
  for (const auto& [name, time] : last_used) last_used_.try_emplace(name, time);
}

Result<Credentials> FileRegistry::OwnCredentials() {
  ASSIGN_OR_RETURN(AccountFiles::Keys keys, files_.EnsureKeys());
  Credentials credentials;
  credentials.certificate = std::move(keys.daemon.certificate);
  credentials.private_key = std::move(keys.daemon.private_key);
  credentials.authority = std::move(keys.authority.certificate);
  return credentials;
}

}  // namespace tandem::replica
