// The files of a small store made as LevelDB's is: numbered records, appended to logs; logs merged
// into tables; a manifest that names both, and CURRENT, which names the manifest. How they are
// written is log_writer.cc's; here is what is in them, and how they are opened after a crash.
//
//   N.log, N.table        records: number, checksum, length (native, 8 + 8 + 4), payload
//   MANIFEST-N            lines NAME FIRST LAST, oldest records first, then "end CHECKSUM"; LAST
//                         is 0 in the log that is being written
//   CURRENT               the manifest's name and a newline
//   whatever else         is on its way there, or out: opening ignores it
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tandem::programs {

// One file of records, of those a manifest names. `last` is 0 in the log that is being written.
struct RecordFile {
  std::string name;
  uint64_t first = 0;
  uint64_t last = 0;
};

// The bytes of one record.
std::string MakeRecord(uint64_t number, std::string_view payload);

std::string MakeManifest(const std::vector<RecordFile>& files);
bool ReadManifest(const std::string& bytes, std::vector<RecordFile>& files);

// False: it is not there, or cannot be read to its end.
bool ReadFile(const std::string& path, std::string& bytes);

// Opens the store as after a crash: the records 1 to `last` are there, each once, none damaged, and
// no other. Empty: it is whole; otherwise what is wrong.
//
// Real recoveries expect any tail from a power cut. Here the only one that may be is part of one
// record, in the log that is being written, up to the end of a page: a record is one write(2), but
// Linux hands a write that begins in a page FUSE has not got whole (as one that appends does) to
// FUSE in two requests, that page first. Between them is a moment the source really has.
std::string CheckStore(const std::string& directory, uint64_t& last);

}  // namespace tandem::programs
