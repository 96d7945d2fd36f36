// Waiting for what was removed to be freed has an end.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "fs/objects/inode_table.h"
#include "tests/files.h"
#include "tests/process.h"
#include "tests/scratch.h"

namespace tandem::fs {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

TEST(Removals, AreNotWaitedForBeyondTheDeadlineThoughOthersGoOnRemoving) {
  const test::Scratch scratch;
  test::Write(scratch.Path("file"), "");
  const UniqueFd root(open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto table = std::move(InodeTable::Create(root.get()).value());
  const FoundObject found = table->Find(root.get(), "file").value();
  (void)table->Remember(table->Find(root.get(), "file").value());
  const auto remove = [&] {
    return table->GuardRemoval(found.ref.id, found.mount_id,
                               UniqueFd(open(scratch.Path("file").c_str(), O_PATH | O_CLOEXEC)));
  };
  std::atomic<bool> stop{false};
  std::thread removing([&] {
    InodeTable::RemovalGuard last = remove();
    while (!stop) last = remove();
  });
  std::atomic<bool> done{false};
  std::thread waiting([&] {
    (void)table->FinishRemovals(Clock::now() + milliseconds(50));
    done = true;
  });
  EXPECT_TRUE(test::WaitFor([&] { return done.load(); }, std::chrono::seconds(20)));
  EXPECT_FALSE(table->FinishRemovals(Clock::now()));
  stop = true;
  removing.join();
  waiting.join();
}

}  // namespace
}  // namespace tandem::fs
