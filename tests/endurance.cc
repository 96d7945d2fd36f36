#include "tests/endurance.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/files.h"

namespace tandem::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif !defined(__has_feature)
constexpr bool kSanitized = false;
#elif __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// What a daemon may take for an attack, and may keep of it. A sanitizer keeps freed memory itself.
constexpr uint64_t kMostMemory = (kSanitized ? 2048ull : 128ull) << 20;
constexpr uint64_t kMostKept = (kSanitized ? 1024ull : 48ull) << 20;
constexpr size_t kMostDescriptorsKept = 24;
constexpr milliseconds kLongestSync{1000};
// Longer than tandemd keeps a volume open of which nothing is heard.
constexpr seconds kGivenBackWithin{20};

}  // namespace

std::ostream& operator<<(std::ostream& stream, const Held& held) {
  return stream << (held.memory >> 20) << " MiB, " << held.descriptors << " descriptors";
}

Held HeldBy(const Process& process) {
  const std::string proc = "/proc/" + std::to_string(process.pid());
  Held held;
  std::ifstream status(proc + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) held.memory = std::stoull(line.substr(6)) << 10;
  }
  for (const auto& fd : std::filesystem::directory_iterator(proc + "/fd")) {
    held.descriptors += static_cast<size_t>(fd.is_symlink());
  }
  return held;
}

Launch AttackOn(const std::string& url, const std::string& mode, std::vector<std::string> options) {
  std::vector<std::string> command = {Program("tests/hostile_client"), mode, url};
  command.insert(command.end(), options.begin(), options.end());
  if (!url.starts_with("ipc")) command.emplace_back("from=127.0.0.2");
  return Launch{command};
}

void Endurance::Begin() {
  usual_ = SlowestSync(milliseconds(200));
  before_ = HeldBy(replica_.process());
}

milliseconds Endurance::SlowestSync(milliseconds time) {
  milliseconds slowest{0};
  for (const auto end = Clock::now() + time; Clock::now() < end;) {
    Write(mount_.path() + "/file", RandomBytes(1000, ++writes_));
    const auto begun = Clock::now();
    EXPECT_TRUE(mount_.Sync(10));
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - begun);
    slowest = std::max(slowest, took);
  }
  return slowest;
}

void Endurance::Endure(const Launch& attack, bool until_given_back, milliseconds time) {
  SCOPED_TRACE(attack.command[1] + " at " + attack.command[2]);
  Process client(attack);
  ASSERT_TRUE(WaitFor([&] { return client.out().starts_with("attacking") || !client.running(); }));
  ASSERT_TRUE(client.running()) << client.err();
  const milliseconds slowest = SlowestSync(time);
  // On a machine that is slow just now everything is: it was so before the attack.
  EXPECT_LE(slowest, std::max(kLongestSync, 4 * usual_)) << "without the attack " << usual_.count();
  ASSERT_TRUE(replica_.process().running()) << replica_.process().err();
  const Held during = HeldBy(replica_.process());
  EXPECT_LE(during.memory, before_.memory + kMostMemory) << during;
  EXPECT_TRUE(client.running()) << client.err();
  client.Signal(SIGKILL);
  client.Wait();
  EXPECT_THAT(client.out(), ::testing::Not(::testing::HasSubstr("WRONG")));
  if (until_given_back) ExpectGivenBack();
  const std::string out = client.out();
  std::cout << attack.command[1] << " at " << attack.command[2] << ": slowest sync "
            << slowest.count() << " ms, without " << usual_.count() << " ms; before " << before_
            << "; during " << during << "; after " << HeldBy(replica_.process()) << "; "
            << out.substr(out.rfind('\n', out.size() - 2) + 1);
}

void Endurance::ExpectGivenBack() {
  const bool given_back = WaitFor(
      [&] {
        const Held now = HeldBy(replica_.process());
        return now.memory <= before_.memory + kMostKept &&
               now.descriptors <= before_.descriptors + kMostDescriptorsKept;
      },
      kGivenBackWithin);
  EXPECT_TRUE(given_back) << "before " << before_ << ", after " << HeldBy(replica_.process());
}

}  // namespace tandem::test
