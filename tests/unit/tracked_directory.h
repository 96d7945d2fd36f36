// A source directory with its tracker and state database, without a mount: what tandemfs wires
// together, and operations on it as the filesystem layer performs them. For tests. Any thread may
// perform operations; Start, Stop and Crash belong to one.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "meta/capture/recovery.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "meta/state/state_writer.h"
#include "tests/scratch.h"

namespace tandem::meta {

class TrackedDirectory {
 public:
  TrackedDirectory()
      : source_(scratch_.Directory("source")),
        state_(scratch_.Directory("state")),
        root_(open(source_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
        tree_(std::move(SourceTree::Open(root_.get()).value())) {
    Start();
  }

  void Start() {
    StateDatabase database = std::move(StateDatabase::Open(state_).value());
    auto recovered = Recover(database, tree_);
    ASSERT_TRUE(recovered) << recovered.error().ToString();
    writer_ = std::make_unique<StateWriter>(std::move(database));
    tracker_ = std::make_unique<Tracker>(tree_, *writer_, *spill_, std::move(*recovered));
  }
  // As at unmount.
  void Stop() {
    ASSERT_TRUE(tracker_->Stop());
    Crash();
  }
  // As after kill -9: what is in memory is lost.
  void Crash() {
    tracker_.reset();
    writer_.reset();
  }

  Tracker& tracker() { return *tracker_; }
  StateWriter& writer() { return *writer_; }
  Spill& spill() { return *spill_; }
  void Restart(Spill::Limits limits) {
    Stop();
    spill_ = std::make_unique<Spill>(state_, limits);
    Start();
  }
  const SourceTree& tree() const { return tree_; }
  const std::string& source() const { return source_; }
  const std::string& state() const { return state_; }
  std::string Path(const std::string& name) const { return source_ + "/" + name; }

  // A second connection to the database, as another program would have it.
  StateDatabase Inspect() const { return std::move(StateDatabase::Open(state_).value()); }
  size_t CountHot() const { return Inspect().LoadHot().value().size(); }

  ObjectRef Find(const std::string& name) const {
    if (name.empty()) return tree_.root();
    const UniqueFd parent = Open(ParentOf(name));
    const auto found = tree_.Lookup(parent.get(), LeafOf(name).c_str()).value();
    EXPECT_TRUE(found) << name;
    return found.value_or(ObjectRef());
  }

  void CreateFile(const std::string& name) {
    Create(name, [this, &name] {
      UniqueFd(open(Path(name).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
    });
  }
  void MakeDirectory(const std::string& name) {
    Create(name, [this, &name] { mkdir(Path(name).c_str(), 0755); });
  }
  void Write(const std::string& name, uint64_t offset, const std::string& bytes) {
    const ObjectRef file = Find(name);
    const ByteRange range = ByteRange::Of(offset, bytes.size());
    Operation operation = Begin(Intent().Data(file, range));
    const UniqueFd fd(open(Path(name).c_str(), O_WRONLY | O_CLOEXEC));
    EXPECT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
    operation.Wrote(file, range);
  }
  void Chmod(const std::string& name, mode_t mode) {
    const ObjectRef object = Find(name);
    Operation operation = Begin(Intent().Attributes(object));
    EXPECT_EQ(chmod(Path(name).c_str(), mode), 0);
    operation.ChangedAttributes(object, kAllAttributes);
  }
  void Remove(const std::string& name) {
    const ObjectRef parent = Find(ParentOf(name));
    const ObjectRef victim = Find(name);
    const UniqueFd fd(open(Path(name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    Operation operation = Begin(Intent().Entries(parent));
    operation.Unlinking(victim.id, fd.get());
    std::filesystem::remove(Path(name));
    operation.SetEntry(parent, LeafOf(name), ObjectId(), victim.id);
  }
  void Rename(const std::string& from, const std::string& to) {
    const ObjectRef old_parent = Find(ParentOf(from)), new_parent = Find(ParentOf(to));
    const ObjectRef moved = Find(from);
    Intent intent;
    intent.Entries(old_parent);
    if (new_parent.id != old_parent.id) intent.Entries(new_parent);
    Operation operation = Begin(intent);
    std::filesystem::rename(Path(from), Path(to));
    operation.SetEntry(old_parent, LeafOf(from), ObjectId(), moved.id);
    operation.SetEntry(new_parent, LeafOf(to), moved.id, ObjectId());
  }

  Operation Begin(const Intent& intent) {
    auto operation = tracker_->Begin(intent);
    EXPECT_TRUE(operation) << operation.error().ToString();
    return operation ? std::move(*operation) : Operation();
  }

  static std::string ParentOf(const std::string& name) {
    const size_t slash = name.rfind('/');
    return slash == std::string::npos ? "" : name.substr(0, slash);
  }
  static std::string LeafOf(const std::string& name) { return name.substr(name.rfind('/') + 1); }

 private:
  UniqueFd Open(const std::string& name) const {
    return UniqueFd(open(Path(name).c_str(), O_PATH | O_CLOEXEC));
  }
  template <typename Make>
  void Create(const std::string& name, Make make) {
    const ObjectRef parent = Find(ParentOf(name));
    Operation operation = Begin(Intent().Entries(parent));
    make();
    const ObjectRef made = Find(name);
    operation.SetEntry(parent, LeafOf(name), made.id, ObjectId());
    operation.Born(made);
  }

  test::Scratch scratch_;
  const std::string source_;
  const std::string state_;
  const UniqueFd root_;
  const SourceTree tree_;
  std::unique_ptr<Spill> spill_ = std::make_unique<Spill>(state_, Spill::Limits());
  std::unique_ptr<StateWriter> writer_;
  std::unique_ptr<Tracker> tracker_;
};

}  // namespace tandem::meta
