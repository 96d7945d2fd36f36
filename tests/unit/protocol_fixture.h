// The protocol as a source sees it: replica/PROTOCOL.md, sentence by sentence. What the tests of a
// volume share, which stand in volume_*_test.cc, by subject.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "replica/store/store.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {

class Protocol : public testing::Test {
 protected:
  inline static const ObjectId kFile{3, 3};

  Protocol() : store_(Store::Open(scratch_.path()).value()), client_(*store_) {
    EXPECT_EQ(client_.Greet().code, ReplyCode::kOk);
  }
  static meta::Attributes FileOf(uint64_t size) {
    meta::Attributes attributes;
    attributes.kind = meta::Kind::kFile;
    attributes.permissions = 0644;
    attributes.uid = geteuid();
    attributes.gid = getegid();
    attributes.size = size;
    return attributes;
  }
  static std::vector<Record> NewFile(ObjectId id, const std::string& name,
                                     const std::string& content) {
    return {ObjectRecord{id, true, true, FileOf(content.size())},
            DataRecord{id, 0, content.size(), Encoding::kLiteral, content, {}, 0, 0, 0},
            EntryRecord{kRootObject, name, id}};
  }
  static Record Overwrite(const std::string& content) {
    return DataRecord{kFile, 0, content.size(), Encoding::kLiteral, content, {}, 0, 0, 0};
  }
  void Restart() {
    store_.reset();
    store_ = Store::Open(scratch_.path()).value();
    client_.Use(*store_);
  }
  std::string Content(const std::string& name) {
    std::ifstream file(scratch_.path() + "/vol/tree/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Store> store_;
  ReplicaClient client_;
};

}  // namespace tandem::replica
