// What ssh says when it fails, as status tells it.
#include "replica/transport/ssh_complaint.h"

#include <gmock/gmock.h>

namespace tandem::replica {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

SshComplaint Explain(std::string_view text, int code = 255) {
  return ExplainSsh(ParseSshUrl("ssh://user@backup:22").value(), text, code);
}

TEST(SshComplaint, NamesTheUrlAndQuotesSsh) {
  EXPECT_THAT(Explain("user@backup: Permission denied (publickey).\r\n").text,
              AllOf(StartsWith("ssh://user@backup:22: user@backup: Permission denied (publickey)."),
                    HasSubstr("authorized_keys")));
}

TEST(SshComplaint, OnlyWhatAPersonMustMendIsTriedMoreSeldom) {
  EXPECT_TRUE(Explain("Permission denied (publickey).").refused);
  EXPECT_TRUE(Explain("Host key verification failed.").refused);
  EXPECT_TRUE(Explain("sh: 1: tandemd: not found", 127).refused);
  EXPECT_TRUE(Explain("", 127).refused);
  EXPECT_FALSE(Explain("ssh: connect to host backup port 22: Connection refused").refused);
  EXPECT_FALSE(
      Explain("ssh: Could not resolve hostname backup: Name or service not known").refused);
  EXPECT_FALSE(Explain("Timeout, server backup not responding.").refused);
  EXPECT_FALSE(Explain("tandemd relay: connect to /x (...): Permission denied").refused);
  EXPECT_FALSE(Explain("").refused);
}

TEST(SshComplaint, ChoosesTheLineThatSaysMost) {
  EXPECT_THAT(Explain("Warning: Permanently added 'backup'\n"
                      "channel 0: open failed: connect failed: Connection refused\n"
                      "stdio forwarding failed\n"
                      "Bye\n\n")
                  .text,
              HasSubstr("channel 0: open failed: connect failed: Connection refused"));
  EXPECT_THAT(Explain("first\nlast\n").text, HasSubstr("last"));
}

TEST(SshComplaint, IsOneShortLineOfPrintableText) {
  const std::string text = Explain("\x1b[31mred\x07\t\xff" + std::string(5000, 'x')).text;
  for (const char c : text) ASSERT_TRUE(c >= ' ' && c <= '~') << int{c};
  EXPECT_LT(text.size(), 400u);
  EXPECT_THAT(text, HasSubstr("[31mred x"));
}

TEST(SshComplaint, SaysSomethingIfSshSaysNothing) {
  EXPECT_THAT(Explain("", 3).text, HasSubstr("code 3"));
  EXPECT_THAT(Explain("\n \n", 0).text, HasSubstr("ended at the other side"));
}

}  // namespace
}  // namespace tandem::replica
