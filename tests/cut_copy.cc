#include "tests/cut_copy.h"

#include <signal.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace tandem::test {
namespace {

// One transaction after another, so that the time noted is that of the answer.
constexpr char kLedger[] = R"(
trap 'stopping=1' TERM
transaction=$1
shift
coproc database { exec "$@"; }
pid=$database_PID
from=${database[0]}
to=${database[1]}
n=0
while [[ -z $stopping ]]; do
  n=$((n + 1))
  echo "${transaction//\?/$n}" >&"$to" || exit 1
  read -r id <&"$from" || break
  echo "$id $EPOCHREALTIME"
done
exec {to}>&-
wait "$pid"
)";

}  // namespace

Ledger::Ledger(std::vector<std::string> command, const std::string& transaction)
    : process_([&] {
        command.insert(command.begin(), {"bash", "-c", kLedger, "ledger", transaction});
        return Launch{std::move(command)};
      }()) {}

bool Ledger::Begins() {
  return WaitFor([this] { return !noted().empty() || !process_.running(); }) && process_.running();
}

::testing::AssertionResult Ledger::Stop() {
  process_.Signal(SIGTERM);
  const auto code = process_.Wait();
  if (code == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "the ledger ended with code " << code.value_or(-1) << "\n"
                                       << process_.err();
}

void CutsUnderLoad::SetUp() {
  MountTest::SetUp();
  if (IsSkipped()) return;
  random_.seed(FreshSeed());
  ASSERT_TRUE(StartBoth());
}

void CutsUnderLoad::CheckCuts(int rounds, const std::string& below, const Check& check) {
  int cuts = 0;
  const auto check_copy = [&](int64_t cut_time_ns) {
    check(copy_, cut_time_ns);
    std::filesystem::remove_all(copy_);
    ++cuts;
  };
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    std::this_thread::sleep_for(milliseconds(random_() % 500));
    if (round % 3 == 2) {
      replica_.Kill();
      // The marker tells the truth of a tree whose daemon is dead as well.
      if (const int64_t time = CopyIfAtACut(below, 0); time != 0) check_copy(time);
      ASSERT_TRUE(replica_.Start());
    }
    const int64_t time = CopyAtNextCut(below);
    ASSERT_NE(time, 0) << "no cut is applied any more";
    check_copy(time);
  }
  printf("cuts checked: %d; numbers in the last: %" PRId64 "\n", cuts, last_seen_);
}

int64_t CutsUnderLoad::CopyIfAtACut(const std::string& below, int64_t after_ns) {
  std::ifstream file(replica_.store() + "/" + kVolume + "/applied");
  const Json marker = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!marker.is_object() || marker["state"] != "applied") return 0;
  const int64_t time = marker["wall_time_ns"];
  EXPECT_GE(time, last_cut_ns_) << "the replica went back to an older cut";
  if (time <= after_ns) return 0;
  const Outcome copied = Execute({"cp", "-a", replica_.tree() + "/" + below, copy_});
  EXPECT_EQ(copied.code, 0) << copied;
  last_cut_ns_ = time;
  return time;
}

int64_t CutsUnderLoad::CopyAtNextCut(const std::string& below) {
  const int64_t after_ns = last_cut_ns_;
  int64_t time = 0;
  WaitFor([&] {
    replica_.process().Signal(SIGSTOP);
    EXPECT_TRUE(WaitFor([this] { return replica_.process().stopped(); }));
    time = CopyIfAtACut(below, after_ns);
    replica_.process().Signal(SIGCONT);
    std::this_thread::sleep_for(milliseconds(random_() % 20));
    return time != 0 || HasFailure();
  });
  return time;
}

void CutsUnderLoad::ExpectWhole(int64_t count, int64_t last, const std::string& noted,
                                int64_t cut_time_ns) {
  EXPECT_EQ(count, last) << "a number is there without all before it";
  EXPECT_GE(last, last_seen_) << "what an older cut had is gone";
  last_seen_ = last;
  // The last line may not be whole yet: half a time is another time.
  std::istringstream lines(noted.substr(0, noted.rfind('\n') + 1));
  int64_t number = 0, second = 0, microsecond = 0;
  char dot = 0;
  while (lines >> number >> second >> dot >> microsecond) {
    const int64_t latest_ns = second * 1'000'000'000 + microsecond * 1000 + 999;
    if (latest_ns >= cut_time_ns) continue;
    EXPECT_LE(number, last) << "committed before the cut, and not in it";
  }
}

}  // namespace tandem::test
