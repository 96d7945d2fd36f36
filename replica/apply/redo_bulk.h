// Makes the new small files of a redo in a FileMaker's threads: a part of the step `content`
// (replica/apply/redo.h) that a first copy is mostly made of. It takes files that are made at their
// only name, in a new directory, with all their content in one record; everything else, and a file
// that could not be made, is left to the ContentWriter, which works object by object.
//
// One thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "replica/apply/file_maker.h"
#include "replica/apply/redo.h"

namespace tandem::replica {

class BulkMaker {
 public:
  using Records = std::shared_ptr<const std::vector<Record>>;
  // Redoes a record, which is at that position in the stages, in the ordinary way.
  using TakeRecord = std::function<Status(const Record& record, uint64_t position)>;

  // Takes nothing if some of the catalog's objects are damaged: what is made may mend them.
  BulkMaker(RedoState& state, bool some_are_damaged, TakeRecord take_record);

  // Takes the file that begins with the record `index` of the chunk, if it is such a file. Returns
  // how many records describe it; 0: it is not taken.
  Result<size_t> Take(const Records& chunk, size_t index, uint64_t position);
  // Waits until all that was taken is made.
  Status Finish();

 private:
  using Batch = FileMaker::Batch;

  // Returns how many records describe the file, or 0.
  size_t RecordsOf(const std::vector<Record>& records, size_t index, uint64_t position) const;
  // Returns null if the directory is not there.
  Result<std::shared_ptr<FileMaker::Directory>> Open(ObjectId directory);
  void HandOver();
  // Takes back what is done, and waits for what is under way beyond the limits.
  Status TakeBack();
  Status Settle(Batch& batch);

  RedoState& state_;
  const TakeRecord take_record_;
  bool enabled_;
  std::unique_ptr<Batch> batch_;  // being filled
  ObjectId directory_id_;
  std::shared_ptr<FileMaker::Directory> directory_;  // of the last file
  std::unique_ptr<FileMaker> maker_;                 // started with the first file
  const void* chunk_ = nullptr;                      // the last one
  uint64_t chunks_ = 0;                              // that had such files
  std::deque<uint64_t> under_way_;                   // of which of them each batch is
};

}  // namespace tandem::replica
