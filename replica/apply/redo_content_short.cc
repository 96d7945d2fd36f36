// What becomes of an object that falls short while its content or attributes are written.
#include <fcntl.h>
#include <unistd.h>

#include "replica/apply/redo_content.h"
#include "replica/apply/removal.h"

namespace tandem::replica {

// The inode may be damaged. Then it stays as it is.
Status ContentWriter::LeaveShort(ObjectId object, const Plan::Object& planned) {
  auto left = RecordShort(object, planned);
  if (left || !MeansDamaged(left.error())) return left;
  RETURN_IF_ERROR(digests_.Lose(object));
  RETURN_IF_ERROR(digests_.End(object));
  ASSIGN_OR_RETURN(const auto row, state_.place.catalog.Find(object));
  if (row) return {};
  // There is no inode that stands for it.
  meta::Attributes nothing;
  nothing.kind = planned.kind;
  return state_.place.catalog.Put(object, {InodeId{ObjectId::Random()}, nothing}, state_.epoch);
}

Status ContentWriter::RecordShort(ObjectId object, const Plan::Object& planned) {
  if (const auto active = active_.find(object); active != active_.end()) {
    if (active->second.fd.valid()) --open_files_;
    active_.erase(active);
  }
  directories_.erase(object);
  ASSIGN_OR_RETURN(auto row, state_.place.catalog.Find(object));
  const bool is_new = planned.fate != Plan::Fate::kKeep || !row;
  UniqueFd standing;
  if (!is_new || state_.held.contains(object) || planned.made_in_place) {
    ASSIGN_OR_RETURN(standing, state_.tree.OpenObject(object));
  }
  if (standing.valid() && is_new) {
    // No content is better than a part of it.
    const auto file = Reopen(standing.get(), O_WRONLY);
    if (file) (void)!ftruncate(file->get(), 0);
  }
  if (!standing.valid()) {
    RETURN_IF_ERROR(MakePlaceholder(object, planned.kind));
    ASSIGN_OR_RETURN(standing, state_.tree.OpenObject(object));
  }
  // The catalog records what is there now, because a part of the change may have been made.
  ASSIGN_OR_RETURN(const meta::Attributes here,
                   ReadWithRights(standing.get(), meta::WithXattrs::kNo));
  ASSIGN_OR_RETURN(const auto inode, InodeAt(standing.get(), ""));
  if (!inode) return ErrnoError(ENOENT, "find inode");
  meta::Attributes attributes = is_new ? here : row->attributes;
  attributes.size = here.size;
  attributes.modify_time = here.modify_time;
  if (geteuid() == 0) attributes.permissions = here.permissions;
  const bool is_empty_file = here.kind == meta::Kind::kFile && here.size == 0;
  if (here.kind == meta::Kind::kFile) {
    RETURN_IF_ERROR(is_empty_file ? digests_.Begin(object) : digests_.Lose(object));
    RETURN_IF_ERROR(digests_.End(object));
  }
  return state_.place.catalog.Put(object, {*inode, std::move(attributes)}, state_.epoch);
}

Status ContentWriter::MakePlaceholder(ObjectId object, meta::Kind kind) {
  meta::Attributes empty;
  empty.kind = kind == meta::Kind::kDirectory ? kind : meta::Kind::kFile;
  // Removes what is left of an attempt to make it.
  const int hold_fd = state_.tree.hold_fd();
  RETURN_IF_ERROR(RemoveAll(hold_fd, hold_fd, Tree::HoldName(object), {}));
  return Make(object, empty);
}

}  // namespace tandem::replica
