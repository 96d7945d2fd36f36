// Names in messages: of the invariant that a volume is left by none of them.
#include <gtest/gtest.h>

#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

using meta::Kind;

TEST(Names, Invariant5NamesThatLeadElsewhereAreRefusedInEveryMessage) {
  const ObjectId object(3, 4);
  meta::Attributes attributes;
  attributes.permissions = 0644;
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../x"),
        std::string("/etc"), std::string("a/b"), std::string("a/"), std::string("\0", 1),
        std::string("a\0b", 3), std::string(256, 'x')}) {
    EXPECT_FALSE(DecodeRecords(EncodeRecords({EntryRecord{kRootObject, name, object}}))) << name;
    EXPECT_FALSE(DecodeRecords(EncodeRecords({EntryRecord{kRootObject, name, {}}}))) << name;
    EXPECT_FALSE(DecodeRequest(EncodeRequest({{}, Hello{1, 1, name, VolumeId(1, 1), ""}}))) << name;
    // What a replica lists is a path on the source.
    const Listing listing{{{name, object, attributes, Epoch(1)}}, false};
    EXPECT_FALSE(DecodeReply(EncodeReply({ReplyCode::kOk, "", {}, listing}))) << name;
  }
  // From where to go on listing is compared with names, and never opened.
  const List too_long{kRootObject, Origin::kDisk, std::string(256, 'x'), false};
  EXPECT_FALSE(DecodeRequest(EncodeRequest({SessionId(1, 1), too_long})));
}

TEST(Names, Invariant5AttributesAndTargetsThatNoSystemCallTakesAreRefused) {
  const ObjectId object(3, 4);
  meta::Attributes attributes;
  for (const std::string& name : {std::string(), std::string("user.a\0b", 8),
                                  std::string("system.posix_acl_access/"), std::string(256, 'x')}) {
    attributes.xattrs = {{name, "value"}};
    EXPECT_FALSE(DecodeRecords(EncodeRecords({ObjectRecord{object, true, true, attributes}})))
        << name;
  }
  attributes.xattrs.clear();
  attributes.kind = Kind::kSymlink;
  for (const std::string& target :
       {std::string(), std::string("a\0b", 3), std::string(4096, 'x')}) {
    attributes.link_target = target;
    EXPECT_FALSE(DecodeRecords(EncodeRecords({ObjectRecord{object, true, true, attributes}})))
        << target;
  }
}

}  // namespace
}  // namespace tandem::replica
