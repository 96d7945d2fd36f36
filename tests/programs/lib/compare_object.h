// One object found at the same path on both sides, and its attributes.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "tests/programs/lib/compare_report.h"

namespace tandem::compare {

struct Options {
  bool atime = false;
  bool mtime = true;
  bool holes = true;
};

// Where an object is: a name in an open directory, so that no path is ever
// too long. The name "." is the directory itself.
struct Location {
  std::string_view side;  // How messages call it.
  int directory = -1;
  const char* name = nullptr;
};

struct Object {
  Location at;
  struct stat stat;
};

struct ObjectPair {
  std::string_view path;  // Below both roots; for messages.
  Object a;
  Object b;
};

// lstat of both; false if either failed.
bool Examine(ObjectPair* pair, Report* report);

// "directory", "FIFO", ...
std::string KindName(mode_t mode);

// Everything except content and hard link groups. The kinds must be equal.
void CompareAttributes(const ObjectPair& pair, const Options& options, Report* report);

}  // namespace tandem::compare
