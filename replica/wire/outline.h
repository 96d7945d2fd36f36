// What the records of a chunk are about, without their content. This is what planning a redo needs,
// and it is kept in memory from the arrival of the chunk until the plan is made. It takes about 40
// bytes for each object and data record (data that follow one another count once, and those of a
// small file with its object) and 64 for each entry, more for a long name. Plain values: no thread
// rules.
#pragma once

#include <cstdint>
#include <vector>

#include "meta/base/ids.h"
#include "meta/source/attributes.h"
#include "replica/wire/messages.h"

namespace tandem::replica {

struct Outline {
  struct Object {
    ObjectId object;
    uint32_t index;  // of the record within its chunk
    meta::Kind kind;
    bool whole;
    bool again;
    bool with_content;  // the next record has all of its content, which `data` leaves out
    uint64_t size;
    uint64_t digest;  // record_digest.h
  };
  struct Data {
    ObjectId object;
    uint32_t index;   // of the last of successive records, each of which begins where one ends
    ByteRange range;  // of all of them
  };
  // A fresh staged file: the whole content of the object, if its whole record came before.
  struct File {
    ObjectId object;
    uint32_t index;  // of the last of successive records
    ObjectId inode;  // InodeId's digest
  };
  struct Entry {
    EntryKey key;
    ObjectId child;
  };

  std::vector<Object> objects;
  std::vector<Data> data;
  std::vector<File> files;
  std::vector<Entry> entries;
  uint32_t record_count = 0;
};

Outline OutlineOf(const std::vector<Record>& records);

}  // namespace tandem::replica
