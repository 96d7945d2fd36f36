#include "meta/state/witness.h"

#include <nlohmann/json.hpp>

namespace tandem::meta {
namespace {

using Json = nlohmann::json;

// An object below more directories than this cannot be found again at the start and does not agree.
constexpr size_t kDeepestNamed = 256;

// Returns null if the object cannot be opened.
Json ChangeTimeOf(const SourceTree& tree, const ObjectRef& object) {
  const auto opened = tree.Open(object, Effort::kAtOnce);
  if (!opened || !*opened) return nullptr;
  const auto attributes = (*opened)->ReadAttributes(WithXattrs::kNo);
  if (!attributes) return nullptr;
  return {attributes->change_time.seconds, attributes->change_time.nanoseconds};
}

// Returns the names of the object and of the directories above it, if objects are found by names.
std::vector<Whereabouts::Row> NamesAbove(const SourceTree& tree, ObjectId object) {
  std::vector<Whereabouts::Row> rows;
  if (tree.by_names() == nullptr) return rows;
  while (object != kRootObject && rows.size() < kDeepestNamed) {
    auto name = tree.by_names()->whereabouts().NameOf(object);
    if (!name) break;
    rows.push_back({object, std::move(*name)});
    object = rows.back().name.parent;
  }
  return rows;
}

void NoteNames(const SourceTree& tree, const Json& witness) {
  if (tree.by_names() == nullptr || !witness.contains("names")) return;
  for (const Json& row : witness.at("names")) {
    const auto id = ObjectId::FromHex(row.at("id").get<std::string>());
    const auto parent = ObjectId::FromHex(row.at("parent").get<std::string>());
    const auto name = row.at("name").get<std::vector<uint8_t>>();
    if (!id || !parent) continue;
    tree.by_names()->whereabouts().Note(*id, *parent, std::string(name.begin(), name.end()));
  }
}

}  // namespace

std::string DescribeWitnesses(const SourceTree& tree, const std::vector<ObjectRef>& objects) {
  Json witnesses = Json::array();
  const auto add = [&](const ObjectRef& object) {
    const Json time = ChangeTimeOf(tree, object);
    if (time.is_null()) return;  // removed meanwhile
    const std::string_view handle = object.handle.bytes();
    Json witness = {{"id", object.id.ToHex()},
                    {"handle", std::vector<uint8_t>(handle.begin(), handle.end())},
                    {"changed", time}};
    // Names may contain any bytes, so they are not stored as JSON strings.
    for (const Whereabouts::Row& row : NamesAbove(tree, object.id)) {
      const std::string& name = row.name.name;
      witness["names"].push_back({{"id", row.object.ToHex()},
                                  {"parent", row.name.parent.ToHex()},
                                  {"name", std::vector<uint8_t>(name.begin(), name.end())}});
    }
    witnesses.push_back(std::move(witness));
  };
  add(tree.root());
  for (const ObjectRef& object : objects) {
    if (object.id != kRootObject) add(object);
  }
  return witnesses.dump();
}

Result<Witnesses> CheckWitnesses(StateDatabase& database, const SourceTree& tree) {
  ASSIGN_OR_RETURN(const auto text, database.Get(kWitnessesKey));
  Witnesses checked;
  if (!text) return checked;
  try {
    for (const Json& witness : Json::parse(*text)) {
      const auto handle = witness.at("handle").get<std::vector<uint8_t>>();
      const auto id = ObjectId::FromHex(witness.at("id").get<std::string>());
      ObjectRef object{id.value_or(ObjectId()),
                       FileHandle(std::string(handle.begin(), handle.end()))};
      NoteNames(tree, witness);
      if (ChangeTimeOf(tree, object) != witness.at("changed")) checked.agree = false;
      checked.objects.push_back(std::move(object));
    }
  } catch (const Json::exception&) {
    checked.agree = false;
  }
  return checked;
}

}  // namespace tandem::meta
