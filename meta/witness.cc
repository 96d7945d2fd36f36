#include "meta/witness.h"

#include <nlohmann/json.hpp>

namespace tandem::meta {
namespace {

using Json = nlohmann::json;

// Null: it cannot be looked at.
Json ChangeTimeOf(const SourceTree& tree, const ObjectRef& object) {
  const auto opened = tree.Open(object);
  if (!opened || !*opened) return nullptr;
  const auto attributes = (*opened)->ReadAttributes(WithXattrs::kNo);
  if (!attributes) return nullptr;
  return {attributes->change_time.seconds, attributes->change_time.nanoseconds};
}

}  // namespace

std::string DescribeWitnesses(const SourceTree& tree, const std::vector<ObjectRef>& objects) {
  Json witnesses = Json::array();
  const auto add = [&](const ObjectRef& object) {
    const Json time = ChangeTimeOf(tree, object);
    if (time.is_null()) return;  // removed since
    const std::string_view handle = object.handle.bytes();
    witnesses.push_back({{"id", object.id.ToHex()},
                         {"handle", std::vector<uint8_t>(handle.begin(), handle.end())},
                         {"changed", time}});
  };
  add(tree.root());
  for (const ObjectRef& object : objects) {
    if (object.id != kRootObject) add(object);
  }
  return witnesses.dump();
}

Result<Witnesses> HearWitnesses(StateDatabase& database, const SourceTree& tree) {
  ASSIGN_OR_RETURN(const auto text, database.Get(kWitnessesKey));
  Witnesses heard;
  if (!text) return heard;
  try {
    for (const Json& witness : Json::parse(*text)) {
      const auto handle = witness.at("handle").get<std::vector<uint8_t>>();
      const auto id = ObjectId::FromHex(witness.at("id").get<std::string>());
      ObjectRef object{id.value_or(ObjectId()),
                       FileHandle(std::string(handle.begin(), handle.end()))};
      if (ChangeTimeOf(tree, object) != witness.at("changed")) heard.agree = false;
      heard.objects.push_back(std::move(object));
    }
  } catch (const Json::exception&) {
    heard.agree = false;
  }
  return heard;
}

}  // namespace tandem::meta
