#include "meta/base/escape.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "meta/base/log.h"
#include "tests/scratch.h"
#include "tools/print.h"

namespace tandem {
namespace {

TEST(Escape, ReadableTextStays) {
  for (const std::string text : {"", "a file", "Größe, 名前, 😀", "back\\slash", "~ !"}) {
    EXPECT_EQ(EscapeControls(text), text);
  }
}

TEST(Escape, ControlCharactersShowAsBytes) {
  EXPECT_EQ(EscapeControls("a\nb\r\t"), "a\\x0ab\\x0d\\x09");
  EXPECT_EQ(EscapeControls("\x1b]0;title\x07"), "\\x1b]0;title\\x07");
  EXPECT_EQ(EscapeControls(std::string_view("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(EscapeControls("\xc2\x9b[2J"), "\\xc2\\x9b[2J") << "C1";
  EXPECT_EQ(EscapeControls("\xc2\xa0"), "\xc2\xa0");
}

TEST(Escape, TextThatTurnsAroundDoesNot) {
  EXPECT_EQ(EscapeControls("\xe2\x80\xae"
                           "cod.exe"),
            "\\xe2\\x80\\xae"
            "cod.exe");
  EXPECT_EQ(EscapeControls("\xe2\x81\xa6\xe2\x80\xa8"), "\\xe2\\x81\\xa6\\xe2\\x80\\xa8");
}

TEST(Escape, WhatIsNoUtf8ShowsAsBytes) {
  EXPECT_EQ(EscapeControls("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(EscapeControls("\xc0\xafx"), "\\xc0\\xafx") << "overlong";
  EXPECT_EQ(EscapeControls("\xe0\x80\x8a"), "\\xe0\\x80\\x8a") << "an overlong newline";
  EXPECT_EQ(EscapeControls("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(EscapeControls("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond U+10FFFF";
  EXPECT_EQ(EscapeControls("\xe5\x90"), "\\xe5\\x90") << "cut off";
  EXPECT_EQ(EscapeControls("\xe5\x90z"), "\\xe5\\x90z");
}

TEST(Escape, TwiceIsOnce) {
  const std::string once = EscapeControls("a\n\xff\\");
  EXPECT_EQ(EscapeControls(once), once);
}

TEST(Log, ANameCannotForgeALine) {
  const test::Scratch scratch;
  const std::string path = scratch.Path("program.log");
  ASSERT_TRUE(LogToFile("program", path));
  LogWarning("open {}", "x\n2026-01-01T00:00:00.000 program[1] info: all is well\x1b[2J");
  SetUpLog("tests");  // closes the file
  std::ifstream file(path);
  std::string line;
  std::string more;
  ASSERT_TRUE(std::getline(file, line));
  EXPECT_NE(line.find("open x\\x0a2026"), std::string::npos) << line;
  EXPECT_NE(line.find("well\\x1b[2J"), std::string::npos) << line;
  EXPECT_FALSE(std::getline(file, more)) << more;
}

TEST(Print, WhatAPeerSaysIsNoCommandToTheTerminal) {
  testing::internal::CaptureStdout();
  tools::PrintLine("{}: {}", "replica", "\x1b[2J\nreplica: current");
  tools::PrintJson({{"error", "\x1b\xc2\x9b\n"}});
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "replica: \\x1b[2J\\x0areplica: current\n{\"error\":\"\\u001b\\u009b\\n\"}\n");
}

}  // namespace
}  // namespace tandem
