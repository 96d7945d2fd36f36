#include "replica/source/similar_names.h"

#include <gmock/gmock.h>

namespace tandem::replica {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SimilarNames, OfCopiesJournalsAndTemporaryFilesAreTheirOriginals) {
  for (const char* name : {"mail.dpkg-new", "mail~", "mail.bak", "mail.orig", "mail-journal",
                           "mail-wal", "mail.new", "mail.tmp", "mail.1"}) {
    EXPECT_THAT(NamesOfOriginals(name), ElementsAre("mail")) << name;
  }
  EXPECT_THAT(NamesOfOriginals("log.2"), ElementsAre("log.1"));
  EXPECT_THAT(NamesOfOriginals(".mail.Ab3xYz"), ElementsAre("mail", ".mail"));
  EXPECT_THAT(NamesOfOriginals("log.2.bak"), ElementsAre("log.2"));
}

TEST(SimilarNames, OfOtherNamesAreNone) {
  for (const char* name : {"", ".", "..", "~", ".bak", "mail", "mail.txt", "mail.", ".1", "..new",
                           "archive.99999", "mail.a-3xYz", "..~"}) {
    EXPECT_THAT(NamesOfOriginals(name), IsEmpty()) << name;
  }
}

TEST(SimilarNames, ProgramsKeepOldVersionsUnderThese) {
  EXPECT_THAT(NamesOfBackups("mail"), ElementsAre("mail~", "mail.1", "mail.bak"));
}

}  // namespace
}  // namespace tandem::replica
