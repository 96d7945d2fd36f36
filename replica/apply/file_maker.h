// Makes new small files, with their content and attributes, in threads of its own: for a redo that
// makes many, while its own thread writes the catalog.
//
// One thread hands batches over and takes them back, in the order in which it handed them over. The
// destructor waits for what the threads have begun, and drops the rest.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/apply/attributes_writer.h"
#include "replica/apply/block_digests.h"
#include "replica/apply/catalog.h"
#include "replica/apply/tree.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

class FileMaker {
 public:
  // A directory that files are made in. Each of its files has the same first attributes.
  struct Directory {
    explicit Directory(Tree::Directory fd_in) : fd(std::move(fd_in)) {}
    const Tree::Directory fd;
    // A file made here was seen to have no extended attributes: the directory has no default ACL.
    std::atomic<bool> gives_no_xattrs{false};
  };

  struct File {
    ObjectId object;
    uint64_t position = 0;  // of its first record in the stages
    size_t record = 0;      // and in its chunk
    size_t record_count = 0;
    std::string name;
    std::shared_ptr<Directory> directory;
    const meta::Attributes* attributes = nullptr;
    std::string_view content;  // all of it

    // What has come of it.
    bool made = false;  // if not, nothing is left of it
    InodeId inode;
    XattrNames unset;
    std::vector<BlockDigests::Digest> digests;
  };

  struct Batch {
    std::shared_ptr<const std::vector<Record>> records;  // what the files refer to
    std::vector<File> files;
    uint64_t bytes = 0;  // of content
    Notices notices;
    bool done = false;
  };

  // Returns null if the system gives us no thread.
  static std::unique_ptr<FileMaker> Start(int threads);
  ~FileMaker();
  FileMaker(const FileMaker&) = delete;
  FileMaker& operator=(const FileMaker&) = delete;

  void Put(std::unique_ptr<Batch> batch) EXCLUDES(mutex_);
  // Returns the oldest batch that was not taken back, once it is done, or null if `wait` is false
  // and it is not done. Returns null if there is none.
  std::unique_ptr<Batch> Take(bool wait) EXCLUDES(mutex_);

 private:
  FileMaker() = default;
  void Run() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::unique_ptr<Batch>> all_ GUARDED_BY(mutex_);
  size_t begun_ GUARDED_BY(mutex_) = 0;  // of all_: the threads have taken so many
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tandem::replica
