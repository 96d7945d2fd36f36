// A store with several accounts, as their sources see it. For tests of rights and quotas.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "meta/base/mutex.h"
#include "replica/store/store.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {

// Knows the peers it was told of, by name.
class TestRegistry final : public AccountRegistry {
 public:
  Result<Rights> RightsOf(const PeerIdentity& peer) override {
    MutexLock lock(mutex_);
    const auto found = rights_.find(peer.name);
    if (found == rights_.end()) {
      return MakeError(ErrorKind::kRefused, "serve this key (it was revoked)", EPERM);
    }
    return found->second;
  }
  void Set(const Rights& rights) {
    MutexLock lock(mutex_);
    rights_[rights.identity] = rights;
  }
  void Revoke(const std::string& identity) {
    MutexLock lock(mutex_);
    rights_.erase(identity);
  }

 private:
  Mutex mutex_;
  std::map<std::string, Rights> rights_ GUARDED_BY(mutex_);
};

inline ConnectionRef ConnectionOf(const std::string& identity) {
  PeerIdentity peer;
  peer.kind = PeerIdentity::Kind::kKey;
  peer.name = identity;
  return std::make_shared<Connection>(peer);
}

class StoreAccounts : public testing::Test {
 protected:
  StoreAccounts() {
    for (const char* identity : {"alice/web", "alice/mail", "bob/web", "local"}) Admit(identity);
    Start();
  }
  // The account is what stands before the '/'.
  Rights Admit(const std::string& identity) {
    Rights rights;
    rights.account = identity.substr(0, identity.find('/'));
    rights.identity = identity;
    registry_->Set(rights);
    return rights;
  }
  void Start() { store_ = Store::Open(scratch_.path(), 0700, registry_, reserve_).value(); }
  void Restart() {
    store_.reset();
    Start();
  }
  ReplicaClient ClientOf(const std::string& identity, const std::string& volume = "data",
                         VolumeId id = VolumeId(1, 1)) {
    ReplicaClient client(*store_, volume, id);
    client.ConnectAs(ConnectionOf(identity));
    return client;
  }
  std::string At(const std::string& path) const { return scratch_.path() + "/" + path; }

  static meta::Attributes FileOf(uint64_t size) {
    meta::Attributes attributes;
    attributes.kind = meta::Kind::kFile;
    attributes.permissions = 0644;
    attributes.uid = geteuid();
    attributes.gid = getegid();
    attributes.size = size;
    return attributes;
  }
  static std::vector<Record> NewFile(uint64_t number, const std::string& content) {
    const ObjectId id(9, number);
    return {ObjectRecord{id, true, true, FileOf(content.size())},
            DataRecord{id, 0, content.size(), Encoding::kLiteral, content, {}, 0, 0, 0},
            EntryRecord{kRootObject, "file" + std::to_string(number), id}};
  }
  static std::vector<Record> Removal(uint64_t number) {
    return {EntryRecord{kRootObject, "file" + std::to_string(number), ObjectId()}};
  }

  ScratchDirectory scratch_;
  Reserve reserve_;
  std::shared_ptr<TestRegistry> registry_ = std::make_shared<TestRegistry>();
  std::unique_ptr<Store> store_;
};

}  // namespace tandem::replica
