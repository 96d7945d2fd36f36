// A replica daemon's directory with its volumes. Finds them at start, makes one at its source's
// first Hello, and passes each request to its volume. What a peer may do is asked of the
// AccountRegistry with each request: it reaches the volumes of its account only, and nothing it is
// told depends on those of others.
//
// Its parts, each in a header of its own:
//   StoreLayout   what stands where on disk
//   VolumeTable   the volumes by name, opened and closed as needed
//   AccountUsage  what the volumes of an account take, and its quota
//   MemoryBudget  memory for chunks that are being decoded, and for content that is read
//
// Any thread. Format: replica/STORE.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "meta/base/log_limit.h"
#include "meta/base/mutex.h"
#include "meta/base/private_files.h"
#include "meta/base/result.h"
#include "replica/accounts/account_registry.h"
#include "replica/store/account_usage.h"
#include "replica/store/memory_budget.h"
#include "replica/store/reserve.h"
#include "replica/store/store_layout.h"
#include "replica/store/tuning.h"
#include "replica/store/volume_table.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class Store {
 public:
  // Makes `path` if only its last part is missing. STORE and each volume's directory get `mode`,
  // whatever an older version or another option left: by default no other user may enter. If other
  // users may, they see as much of tree/ as its own modes allow, and the marker. A STORE that holds
  // other things too keeps its mode. Without `registry` there is a LocalRegistry, and without
  // `kept` nothing is kept of what redoes take away. Returns kUsage if another daemon has the
  // store.
  static Result<std::unique_ptr<Store>> Open(const std::string& path,
                                             mode_t mode = kPrivateDirectory,
                                             std::shared_ptr<AccountRegistry> registry = nullptr,
                                             const Reserve& reserve = {},
                                             std::shared_ptr<KeptBudget> kept = nullptr);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Answers an encoded Request with an encoded Reply. May wait. `connection` is null if unknown:
  // then nothing is proved about the peer.
  std::string Answer(std::string_view request, const ConnectionRef& connection = nullptr);
  // Moves a volume of account local to another account. Returns EBUSY if something has been heard
  // of its source within `silence`.
  Status Adopt(const std::string& volume, const std::string& account,
               CondVar::Clock::duration silence = kHolderSilence);
  // Returns the volumes that there are.
  std::vector<VolumeKey> Volumes() { return volumes_.Keys(); }
  // Returns the volume, for a scrub. It stays open while the caller has it.
  Result<std::shared_ptr<Volume>> OpenForScrub(const VolumeKey& key);
  // Closes the volumes of which nothing has been heard for `silence`. Their sources say Hello
  // again.
  void CloseIdle(CondVar::Clock::duration silence);
  // Ends waiting requests. Call this before the transport ends, which waits for them.
  void Stop();

 private:
  struct Session {
    VolumeKey volume;
    std::string identity;  // that has opened it
  };

  Store(std::unique_ptr<StoreLayout> layout, std::shared_ptr<AccountRegistry> registry,
        const Reserve& reserve, std::shared_ptr<KeptBudget> kept)
      : layout_(std::move(layout)),
        registry_(std::move(registry)),
        reserve_(reserve),
        kept_(std::move(kept)) {}
  Status OpenAll();
  void KeepHouse();
  Reply Respond(std::string_view request, const ConnectionRef& connection);
  Reply Dispatch(const Request& request, const Rights& rights, const ConnectionRef& connection);
  Reply Greet(const Hello& hello, const Rights& rights, const ConnectionRef& connection);
  // Returns the refusal of what the peer may not do with any volume of that name.
  static std::optional<Reply> RefuseForRights(const std::string& volume, const Rights& rights);
  // Makes the volume if there is none.
  Result<std::shared_ptr<Volume>> VolumeFor(const Hello& hello, const VolumeKey& key);
  // A volume that was imported takes the id `claimed`; if that is null, it is not opened.
  Result<std::shared_ptr<Volume>> OpenVolume(const VolumeKey& key, VolumeId claimed = {});
  Status MakeVolume(const Hello& hello, const VolumeKey& key);
  std::shared_ptr<AccountUsage> UsageOf(const std::string& account);
  void NoteRefusal(const std::string& cause, const std::string& message);

  const std::unique_ptr<StoreLayout> layout_;
  const std::shared_ptr<AccountRegistry> registry_;
  const Reserve reserve_;
  const std::shared_ptr<KeptBudget> kept_;
  LogLimit refusals_{kRefusalsLogged};
  MemoryBudget decoding_{kMaxDecoding, kMaxDecodingOfAccount};
  const std::shared_ptr<MemoryBudget> reading_ =
      std::make_shared<MemoryBudget>(kMaxReading, kMaxReadingOfAccount);
  VolumeTable volumes_;

  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::unordered_map<SessionId, Session> sessions_ GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<AccountUsage>> usages_ GUARDED_BY(mutex_);
  std::thread housekeeper_;
};

}  // namespace tandem::replica
