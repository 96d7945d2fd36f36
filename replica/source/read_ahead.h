// Opens and reads the objects that a walk comes to next, in threads of its own: most of the time
// that a small object takes is the kernel's. The walk takes them in order.
//
// One thread calls Begin and Take. It never waits for an object that no thread has begun with: it
// reads that itself. The destructor waits for what is being read. Borrows the tree, whose objects
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
    bool all = true;  // extended attributes and the content of small files; else attributes alone
  };

  explicit ReadAhead(const meta::SourceTree& tree) : tree_(tree) {}
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Begins with these, and drops what is left of those before.
  void Begin(std::vector<Wanted> wanted) EXCLUDES(mutex_);
  // Returns the next of them that is this object; those before it are dropped. One that is not
  // wanted is opened now. What could not be read ahead is read by whoever uses the result.
  Opened Take(const meta::ObjectRef& object) EXCLUDES(mutex_);

 private:
  Opened Read(const Wanted& wanted) const;
  void Run() EXCLUDES(mutex_);
  bool MayClaim() const REQUIRES(mutex_);

  const meta::SourceTree& tree_;
  std::vector<std::thread> threads_;

  Mutex mutex_;
  CondVar work_;  // for the threads
  CondVar done_;  // for Begin and Take
  std::vector<Wanted> wanted_ GUARDED_BY(mutex_);
  std::vector<std::optional<Opened>> read_ GUARDED_BY(mutex_);
  size_t claimed_ GUARDED_BY(mutex_) = 0;  // the first so many have been begun with
  size_t taken_ GUARDED_BY(mutex_) = 0;    // and these have been returned or dropped
  int reading_ GUARDED_BY(mutex_) = 0;     // threads that read
  bool stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace tandem::replica
