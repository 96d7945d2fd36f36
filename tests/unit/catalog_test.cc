#include "replica/catalog.h"

#include <gtest/gtest.h>

#include "meta/base/database.h"
#include "tests/unit/replica_client.h"

namespace tandem::replica {
namespace {

TEST(CatalogFile, OneOfTheFirstSchemaIsBroughtUpToDate) {
  const ScratchDirectory scratch;
  const std::string path = scratch.path() + "/replica.db";
  ASSERT_TRUE(Catalog::Open(path));
  {
    auto database = Database::Open(path, Database::Sync::kFull);
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->Execute("DROP TABLE lacking"));
    ASSERT_TRUE(database->SetUserVersion(1));
  }
  auto catalog = Catalog::Open(path);
  ASSERT_TRUE(catalog) << catalog.error().ToString();
  const ObjectId object(1, 2);
  ASSERT_TRUE((*catalog)->NoteLackingXattrs(object, "user.a user.b"));
  EXPECT_EQ((*catalog)->CountLackingXattrs()->objects, 1u);
  EXPECT_EQ((*catalog)->CountLackingXattrs()->names, "user.a user.b");
  ASSERT_TRUE((*catalog)->Remove(object));
  EXPECT_EQ((*catalog)->CountLackingXattrs()->objects, 0u);
}

}  // namespace
}  // namespace tandem::replica
