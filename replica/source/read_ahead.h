// Opens and reads the objects that a walk comes to next, in threads of its own: most of the time
// that a small object takes is the kernel's. The walk takes them in order.
//
// What is read ahead is in memory, and the object is closed: large files, and files with holes, are
// opened when the walk comes to them, so that a file that was removed meanwhile keeps no space and
// is not sent.
//
// One thread calls Begin and Take. It never waits for an object that no thread has begun with: it
// opens that itself. The destructor waits for what is being read. Borrows the tree, whose objects
// are opened by their handles (SourceTree::by_names is null).
#pragma once

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "meta/base/mutex.h"
#include "meta/source/source_tree.h"

namespace tandem::replica {

class ReadAhead {
 public:
  // Null: the object is gone.
  using Opened = Result<std::unique_ptr<meta::ObjectReader>>;
  struct Wanted {
    meta::ObjectRef object;
    // Extended attributes and the content of small files; else attributes alone: of the result
    // nothing else can be read.
    bool all = true;
  };

  explicit ReadAhead(const meta::SourceTree& tree) : tree_(tree) {}
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Begins with these, and drops what is left of those before.
  void Begin(std::vector<Wanted> wanted) EXCLUDES(mutex_);
  // Returns the next of them that is this object; those before it are dropped. One that is not
  // wanted, or could not be read ahead, is opened now.
  Opened Take(const meta::ObjectRef& object) EXCLUDES(mutex_);

 private:
  struct Slot {
    bool done = false;
    bool left = false;  // to be opened in Take
    std::unique_ptr<meta::ObjectReader> read;
  };
  Slot Read(const Wanted& wanted) const noexcept;
  void Run() EXCLUDES(mutex_);
  bool MayClaim() const REQUIRES(mutex_);

  const meta::SourceTree& tree_;
  std::vector<std::thread> threads_;

  Mutex mutex_;
  CondVar work_;  // for the threads
  CondVar done_;  // for Begin and Take
  std::vector<Wanted> wanted_ GUARDED_BY(mutex_);
  std::vector<Slot> read_ GUARDED_BY(mutex_);
  size_t claimed_ GUARDED_BY(mutex_) = 0;  // the first so many have been begun with
  size_t taken_ GUARDED_BY(mutex_) = 0;    // and these have been returned or dropped
  int reading_ GUARDED_BY(mutex_) = 0;     // threads that read
  bool stopping_ GUARDED_BY(mutex_) = false;
};

// Returns the object as it is read now.
ReadAhead::Opened AsReader(Result<std::optional<meta::SourceObject>> opened);

}  // namespace tandem::replica
