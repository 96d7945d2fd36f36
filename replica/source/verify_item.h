// One thing that a verify has still to look at.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "meta/change/change_set.h"

namespace tandem::replica {

struct VerifyItem {
  // An object is its attributes, and then its names or its content.
  enum class What { kObject, kAttributes, kNames, kName, kContent } what;
  // Of kName: the directory. All else: the object itself.
  meta::ObjectRef object;
  std::string path;        // of `object`
  meta::ObjectRef parent;  // and name: how the object was met; null for roots of the walk
  std::string name = {};   // of kName: the name in `object`

  // ---- kNames
  std::string after = {};  // those up to this one have been compared
  std::string up_to = {};  // those after this one are another item's; empty: none is
  // Our side, as it was listed once; null: not yet.
  std::shared_ptr<const std::vector<std::string>> names = nullptr;

  // ---- kContent
  uint64_t offset = 0;
  uint64_t end = 0;  // 0: to the end of the file
  // Shared by all items of one file: from which offset on the replica had nothing of it. An item at
  // that offset stands for all of the rest.
  std::shared_ptr<std::atomic<uint64_t>> nothing_from = nullptr;

  int tries = 0;  // judgements so far

  std::string PathOf(const std::string& child) const {
    return path == "." ? child : path + "/" + child;
  }
};

// What is stored of an item, so that an interrupted verify can go on.
struct VerifyLeft {
  VerifyItem::What what = VerifyItem::What::kObject;
  std::string path;
  // The object; null: the one at `path`.
  meta::ObjectRef object = {};
  std::string name = {};
  std::string after = {};
  std::string up_to = {};
  uint64_t offset = 0;
  uint64_t end = 0;
};

inline VerifyLeft LeftOf(const VerifyItem& item) {
  VerifyLeft left{item.what,  item.path,  item.object, {},
                  item.after, item.up_to, item.offset, item.end};
  if (item.what == VerifyItem::What::kName) left.name = item.name;
  const bool is_the_rest = item.nothing_from != nullptr && item.offset >= *item.nothing_from;
  if (is_the_rest) left.end = 0;
  return left;
}

}  // namespace tandem::replica
