// A source in memory: objects and names that tests change, the records that lead from one state to
// the next, and what the replica's tree must look like. For tests of the replica's side.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "replica/wire/messages.h"

namespace tandem::replica {

struct ModelObject {
  meta::Attributes attributes;
  std::string content;
  friend bool operator==(const ModelObject& a, const ModelObject& b);
};

struct Model {
  std::map<ObjectId, ModelObject> objects;
  std::map<EntryKey, ObjectId> entries;
  uint64_t next_id = 100;
  int64_t clock = 1'600'000'000;

  Model();
  // Not even a root: what a new replica has.
  static Model Nothing() {
    Model nothing;
    nothing.objects.clear();
    return nothing;
  }
  ObjectId At(const std::string& path) const;  // null: nothing there
  ObjectId Make(const std::string& path, meta::Kind kind, const std::string& content = "");
  void Write(const std::string& path, size_t offset, const std::string& bytes);
  void Resize(const std::string& path, size_t size);
  // Replaces what is at `to`.
  void Rename(const std::string& from, const std::string& to);
  void Exchange(const std::string& a, const std::string& b);
  void Link(const std::string& from, const std::string& to);
  void Remove(const std::string& path);  // with all that is in it
  void Change(const std::string& path, uint32_t permissions, uint32_t uid, meta::Xattrs xattrs);

  // One random operation.
  void Mutate(std::mt19937& random);
  std::vector<std::string> Paths() const;

 private:
  EntryKey KeyOf(const std::string& path) const;
  void Touch(ObjectId directory);
  void DropUnnamed();
  bool IsInside(ObjectId directory, ObjectId ancestor) const;
};

// The records of the change, entries anywhere between the others.
std::vector<Record> RecordsBetween(const Model& before, const Model& after, std::mt19937& random);

// Path -> all that a tree shows of it (but access time).
using Picture = std::map<std::string, std::string>;
Picture PictureOf(const Model& model);
Picture PictureOf(const std::string& directory);
// The first difference, for a message; empty if there is none.
std::string Difference(const Picture& expected, const Picture& found);

}  // namespace tandem::replica
