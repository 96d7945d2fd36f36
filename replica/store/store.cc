#include "replica/store/store.h"

#include <fnmatch.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>

#include "meta/base/log.h"
#include "replica/store/volume_replies.h"
#include "replica/wire/chunk_payload.h"

namespace tandem::replica {
namespace {

// The same for a session that never was, has ended, or is another identity's.
Reply UnknownSession() {
  return Refuse(ReplyCode::kUnknownSession, "the replica knows no such session; say Hello again");
}

// Returns about how much memory a chunk takes while it is decoded and staged.
size_t DecodedBytes(const Chunk& chunk) {
  const size_t raw = std::max<size_t>(chunk.raw_size, chunk.payload.size());
  const size_t records = std::min(raw / kLeastRecordBytes + 1, kMaxChunkRecords);
  return chunk.payload.size() + 2 * raw + records * sizeof(Record);
}

// Returns about how much memory a request takes while it is answered, of those that take much.
size_t MemoryFor(const RequestBody& request) {
  if (const auto* chunk = std::get_if<Chunk>(&request)) return DecodedBytes(*chunk);
  const bool lists = std::holds_alternative<List>(request) || std::holds_alternative<Find>(request);
  return lists ? 2 * kMaxListedBytes : 0;  // as records, and as a message
}

// Of an imported volume, before the first Hello.
bool WaitsForItsSource(const Error& error) {
  return error.kind() == ErrorKind::kRefused && error.code() == ENODATA;
}

ReplyCode CodeFor(const Error& error) {
  if (error.kind() == ErrorKind::kRefused) return ReplyCode::kRefused;
  if (error.kind() == ErrorKind::kUnreachable) return ReplyCode::kBusy;
  return MeansNoRoom(error) ? ReplyCode::kNoSpace : ReplyCode::kIoError;
}

}  // namespace

// ---- Start and end -----------------------------------------------------------------------------

Result<std::unique_ptr<Store>> Store::Open(const std::string& path, mode_t mode,
                                           std::shared_ptr<AccountRegistry> registry,
                                           const Reserve& reserve,
                                           std::shared_ptr<KeptBudget> kept) {
  ASSIGN_OR_RETURN(auto layout, StoreLayout::Open(path, mode));
  if (registry == nullptr) registry = std::make_shared<LocalRegistry>();
  std::unique_ptr<Store> store(
      new Store(std::move(layout), std::move(registry), reserve, std::move(kept)));
  RETURN_IF_ERROR(store->OpenAll());
  store->housekeeper_ = std::thread(&Store::KeepHouse, store.get());
  return store;
}

// A volume that cannot be opened does not prevent the others from being served. Its source is told
// when it says Hello.
Status Store::OpenAll() {
  ASSIGN_OR_RETURN(const auto keys, layout_->FindVolumes());
  for (const VolumeKey& key : keys) {
    volumes_.Note(key);
    const auto volume = volumes_.Get(key, [&] { return OpenVolume(key); });
    if (volume) {
      LogInfo("volume {} found", key.ToString());
    } else if (WaitsForItsSource(volume.error())) {
      LogInfo("{}", volume.error().ToString());
    } else {
      LogError("{}", volume.error().ToString());
    }
    // What a crash has left in it is seen to. A store may have more volumes than are in use.
    if (keys.size() > kMostOpenAtStart) volumes_.CloseIdle(CondVar::Clock::now());
  }
  return {};
}

Store::~Store() {
  Stop();
  if (housekeeper_.joinable()) housekeeper_.join();
}

void Store::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    stopped_.NotifyAll();
  }
  volumes_.Stop();
}

void Store::CloseIdle(CondVar::Clock::duration silence) {
  volumes_.CloseIdle(CondVar::Clock::now() - silence);
}

void Store::KeepHouse() {
  const auto sleep = [this] {
    const auto deadline = CondVar::Clock::now() + kLookForIdle;
    MutexLock lock(mutex_);
    while (!stopping_ && stopped_.WaitUntil(mutex_, deadline)) {
    }
    return !stopping_;
  };
  while (sleep()) {
    CloseIdle(kIdleVolume);
    if (kept_ != nullptr) kept_->DropOld();
    // The heaps of the threads keep what a burst has taken.
    if (decoding_.ShouldTrim(kTrimAfter)) malloc_trim(0);
  }
}

// ---- Volumes -----------------------------------------------------------------------------------

std::shared_ptr<AccountUsage> Store::UsageOf(const std::string& account) {
  MutexLock lock(mutex_);
  auto& usage = usages_[account];
  if (usage == nullptr) usage = std::make_shared<AccountUsage>(account);
  return usage;
}

Result<std::shared_ptr<Volume>> Store::OpenVolume(const VolumeKey& key, VolumeId claimed) {
  ASSIGN_OR_RETURN(auto found, layout_->OpenVolume(key));
  if (found.identity.volume.is_null()) {
    if (claimed.is_null()) {
      return MakeError(ErrorKind::kRefused,
                       "open volume " + found.path + " (it was imported and waits for its source)",
                       ENODATA);
    }
    found.identity.volume = claimed;
    RETURN_IF_ERROR(WriteIdentity(found.fd.get(), found.identity));
    LogInfo("volume {}, which was imported, has got its source", key.ToString());
  }
  // All that the volume's parts know of its account.
  VolumeTerms terms{key.ToString(), UsageOf(key.account), reserve_, reading_, key.account, kept_};
  return Volume::Open(std::move(found.fd), found.path, found.identity, std::move(terms));
}

Result<std::shared_ptr<Volume>> Store::VolumeFor(const Hello& hello, const VolumeKey& key) {
  return volumes_.Get(key, [&]() -> Result<std::shared_ptr<Volume>> {
    auto volume = OpenVolume(key, hello.volume);
    if (volume || volume.error().code() != ENOENT) return volume;
    RETURN_IF_ERROR(MakeVolume(hello, key));
    return OpenVolume(key);
  });
}

Result<std::shared_ptr<Volume>> Store::OpenForScrub(const VolumeKey& key) {
  return volumes_.Get(key, [&] { return OpenVolume(key); });
}

Status Store::MakeVolume(const Hello& hello, const VolumeKey& key) {
  const uint64_t count = volumes_.CountOf(key.account);
  if (auto why = UsageOf(key.account)->RefuseVolume(count, CondVar::Clock::now())) {
    return MakeError(ErrorKind::kRefused, "make volume " + key.name + " (" + *why + ")", EDQUOT);
  }
  RETURN_IF_ERROR(layout_->MakeVolume(key, hello.volume));
  LogInfo("volume {} made for {}", key.ToString(), hello.source);
  return {};
}

Status Store::Adopt(const std::string& volume, const std::string& account,
                    CondVar::Clock::duration silence) {
  const VolumeKey key{kLocalAccount, volume};
  const auto since = CondVar::Clock::now() - silence;
  RETURN_IF_ERROR(volumes_.CloseFor(key, since, [&] { return layout_->Adopt(volume, account); }));
  const VolumeKey moved{account, volume};
  UsageOf(kLocalAccount)->Forget(volume);
  volumes_.Note(moved);
  LogInfo("volume {} is {} now", volume, moved.ToString());
  // Its figures count for the account from now on.
  const auto opened = volumes_.Get(moved, [&] { return OpenVolume(moved); });
  if (opened || WaitsForItsSource(opened.error())) return {};
  return tl::unexpected<Error>(opened.error());
}

// ---- Requests ----------------------------------------------------------------------------------

std::string Store::Answer(std::string_view request, const ConnectionRef& connection) {
  return EncodeReply(Respond(request, connection));
}

void Store::NoteRefusal(const std::string& cause, const std::string& message) {
  if (const auto more = refusals_.Suffix(cause)) LogWarning("{}{}", message, *more);
}

Reply Store::Respond(std::string_view request, const ConnectionRef& connection) {
  static const PeerIdentity kUnknown;
  const PeerIdentity& peer = connection != nullptr ? connection->peer() : kUnknown;
  const auto rights = registry_->RightsOf(peer);
  if (!rights) {
    NoteRefusal(peer.key + peer.name, peer.address + ": " + rights.error().ToString());
    return Refuse(ReplyCode::kRefused, rights.error().ToString());
  }
  const auto decoded = DecodeRequest(request);
  if (!decoded) return Refuse(ReplyCode::kBadRequest, decoded.error().ToString());
  if (auto answer = AnswerAboutKeys(*registry_, decoded->body, peer)) return *answer;
  if (rights->may_only_enrol) {
    return Refuse(
        ReplyCode::kRefused,
        "this connection has shown no certificate of this store's authority: enrol with a "
        "token (tandemfs --replica NAME=@FILE)");
  }
  return Dispatch(*decoded, *rights, connection);
}

Reply Store::Dispatch(const Request& request, const Rights& rights,
                      const ConnectionRef& connection) {
  if (const auto* hello = std::get_if<Hello>(&request.body)) {
    return Greet(*hello, rights, connection);
  }
  VolumeKey key;
  {
    MutexLock lock(mutex_);
    const auto session = sessions_.find(request.session);
    if (session == sessions_.end() || session->second.volume.account != rights.account ||
        session->second.identity != rights.identity) {
      return UnknownSession();
    }
    key = session->second.volume;
  }
  // It is closed if nothing was heard of it for long.
  const std::shared_ptr<Volume> volume = volumes_.Find(key);
  if (volume == nullptr) return UnknownSession();
  if (auto refusal = RefuseForRights(key.name, rights)) return *refusal;
  UsageOf(key.account)->SetQuota(rights.quota);
  std::optional<MemoryBudget::Share> share;
  if (const size_t bytes = MemoryFor(request.body); bytes != 0) {
    share.emplace(decoding_, key.account, bytes);
  }
  Reply reply = volume->Handle(request, connection);
  // The source says it, too; here it is for the administrator, who can raise a quota.
  if (reply.code == ReplyCode::kNoSpace) NoteRefusal("room for " + key.ToString(), reply.message);
  return reply;
}

// Asked before it is known whether the volume exists.
std::optional<Reply> Store::RefuseForRights(const std::string& volume, const Rights& rights) {
  if (!rights.may_write) {
    return Refuse(ReplyCode::kRefused,
                  rights.identity + " may not write to volume " + volume +
                      " (it was admitted with --read-only): have it admitted anew with `tandemd "
                      "invite`");
  }
  if (fnmatch(rights.volume_pattern.c_str(), volume.c_str(), 0) != 0) {
    return Refuse(ReplyCode::kRefused, rights.identity + " may not use volume " + volume +
                                           " (it was admitted to volumes named " +
                                           rights.volume_pattern +
                                           "): mount with another --volume NAME");
  }
  return std::nullopt;
}

Reply Store::Greet(const Hello& hello, const Rights& rights, const ConnectionRef& connection) {
  if (auto refusal = RefuseForRights(hello.volume_name, rights)) {
    NoteRefusal(rights.account + "/" + rights.identity, refusal->message);
    return *refusal;
  }
  const VolumeKey key{rights.account, hello.volume_name};
  UsageOf(key.account)->SetQuota(rights.quota);
  const auto volume = VolumeFor(hello, key);
  if (!volume) {
    Reply refusal = Refuse(CodeFor(volume.error()), volume.error().ToString());
    const bool is_taken = volume.error().code() == EEXIST;
    NoteRefusal(rights.account + "/" + rights.identity,
                is_taken ? refusal.message + ": something else is called " + layout_->path() + "/" +
                               key.ToString() + ", or the directory above it is not the account's"
                         : refusal.message);
    return refusal;
  }
  if (const auto set = (*volume)->SetPolicy({rights.may_set_special}); !set) {
    return Refuse(CodeFor(set.error()), set.error().ToString());
  }
  Reply reply = (*volume)->Greet(hello, connection, rights.identity);
  const auto* position = std::get_if<Position>(&reply.body);
  if (reply.code != ReplyCode::kOk || position == nullptr) return reply;
  MutexLock lock(mutex_);
  std::erase_if(sessions_, [&](const auto& session) { return session.second.volume == key; });
  sessions_[position->session] = {key, rights.identity};
  return reply;
}

}  // namespace tandem::replica
