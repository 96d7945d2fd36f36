// How the verifier repairs: it marks what differs as changed, so that the next cut carries it.
#include <algorithm>

#include "meta/source/directory_names.h"
#include "replica/source/verifier.h"

namespace tandem::replica {

namespace {

// Marks that are made in one commit.
constexpr size_t kMarksAtATime = 512;

}  // namespace

Status Verifier::RepairAll() {
  while (!(wrong_objects_.empty() && wrong_names_.empty()) && !stopping_) {
    // Names first: they lead to objects, whose marks are then made together.
    if (!wrong_names_.empty() && wrong_objects_.size() < kMarksAtATime) {
      const WrongName wrong = std::move(wrong_names_.front());
      wrong_names_.pop_front();
      RETURN_IF_ERROR(RepairName(wrong));
    } else {
      RETURN_IF_ERROR(RepairObjects());
    }
  }
  return {};
}

meta::Intent Verifier::IntentOf(const WrongObject& wrong) {
  meta::Intent intent;
  if (wrong.whole) {
    intent.Data(wrong.object, ByteRange::Whole());
  } else if (!wrong.blocks.empty()) {
    intent.Data(wrong.object, {wrong.blocks.front().start, wrong.blocks.back().end});
  }
  return intent.Attributes(wrong.object);
}

Status Verifier::RepairObjects() {
  const size_t count = std::min(wrong_objects_.size(), kMarksAtATime);
  std::vector<meta::Intent> intents;
  for (size_t i = 0; i < count; ++i) intents.push_back(IntentOf(wrong_objects_[i]));
  RETURN_IF_ERROR(tracker_.MarkAhead(intents));
  for (size_t i = 0; i < count && !stopping_; ++i) {
    const WrongObject& wrong = wrong_objects_.front();
    ASSIGN_OR_RETURN(meta::Operation operation, tracker_.Begin(IntentOf(wrong)));
    if (wrong.whole) {
      operation.ChangedWholly(wrong.object);
    } else {
      for (const ByteRange& block : wrong.blocks) operation.Wrote(wrong.object, block);
      operation.ChangedAttributes(wrong.object, meta::kAllAttributes);
    }
    operation.End();
    wrong_objects_.pop_front();
  }
  return {};
}

Status Verifier::RepairName(const WrongName& wrong) {
  // Before the gate: the object may have to be searched for.
  ASSIGN_OR_RETURN(const std::optional<UniqueFd> opened, tree_.OpenPath(wrong.directory));
  if (!opened) return {};
  ASSIGN_OR_RETURN(meta::Operation operation,
                   tracker_.Begin(meta::Intent().Entries(wrong.directory)));
  ASSIGN_OR_RETURN(std::optional<meta::ObjectRef> child,
                   tree_.Lookup(opened->get(), wrong.name.c_str()));
  operation.SetEntry(wrong.directory, wrong.name, child ? child->id : ObjectId(), ObjectId());
  operation.End();
  if (!child) return {};
  wrong_objects_.push_back({*child, /*whole=*/true, {}});
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> object, tree_.Open(*child));
  if (!object) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  if (attributes.kind != meta::Kind::kDirectory) return {};
  ASSIGN_OR_RETURN(std::vector<std::string> below, meta::ReadNames(object->path_fd()));
  for (std::string& name : below) wrong_names_.push_front({*child, std::move(name)});
  return {};
}

Status Verifier::RenewIdentity(const Item& directory, const meta::SourceEntry& ours,
                               ObjectId theirs) {
  ASSIGN_OR_RETURN(const std::optional<meta::SourceObject> object, tree_.Open(ours.object));
  if (!object) return {};
  ASSIGN_OR_RETURN(const meta::Attributes attributes,
                   object->ReadAttributes(meta::WithXattrs::kNo));
  const bool is_directory = attributes.kind == meta::Kind::kDirectory;
  {
    ASSIGN_OR_RETURN(meta::Operation operation,
                     tracker_.Begin(meta::Intent().Entries(directory.object)));
    operation.SetEntry(directory.object, ours.name, ours.object.id, theirs);
  }
  meta::Intent intent;
  intent.Data(ours.object, ByteRange::Whole()).Attributes(ours.object);
  if (is_directory) intent.Entries(ours.object);
  ASSIGN_OR_RETURN(meta::Operation operation, tracker_.Begin(intent));
  operation.ChangedWholly(ours.object);
  if (is_directory) operation.ChangedNames(ours.object);
  return {};
}

}  // namespace tandem::replica
