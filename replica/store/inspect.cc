#include "replica/store/inspect.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "meta/source/source_tree.h"
#include "replica/apply/file_data.h"
#include "replica/apply/own_labels.h"
#include "replica/apply/removal.h"
#include "replica/apply/special_attributes.h"
#include "replica/apply/tree_path.h"
#include "replica/delta.h"
#include "replica/store/listing_builder.h"
#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

meta::WithXattrs Xattrs(bool wanted) {
  return wanted ? meta::WithXattrs::kYes : meta::WithXattrs::kNo;
}

// Reads what is in the tree, without labels that belong to this host (own_labels.h).
Result<meta::Attributes> ReadFromDisk(Catalog& catalog, std::optional<ObjectId> object, int fd,
                                      bool with_xattrs) {
  ASSIGN_OR_RETURN(meta::Attributes attributes, ReadWithRights(fd, Xattrs(with_xattrs)));
  if (attributes.xattrs.empty()) return attributes;
  std::optional<CatalogObject> row;
  if (object) {
    ASSIGN_OR_RETURN(row, catalog.Find(*object));
  }
  LeaveOutOwnLabels(attributes.xattrs, row ? row->attributes.xattrs : meta::Xattrs());
  return attributes;
}

Result<Listing> ListFromDatabase(Catalog& catalog, const List& request) {
  ASSIGN_OR_RETURN(auto entries, catalog.EntriesOf(request.directory, request.after, kMaxListed + 1,
                                                   request.up_to));
  ListingBuilder builder;
  for (CatalogEntry& entry : entries) {
    if (builder.full()) return builder.Take(true);
    ASSIGN_OR_RETURN(auto row, catalog.Find(entry.child));
    if (!row) {
      return MakeError(ErrorKind::kCorrupt,
                       "find object " + entry.child.ToHex() + " in replica.db");
    }
    if (!request.with_xattrs) row->attributes.xattrs.clear();
    builder.Add({std::move(entry.name), entry.child, std::move(row->attributes), row->changed});
  }
  return builder.Take(false);
}

Result<Listed> FindOne(Catalog& catalog, Tree& tree, ObjectId object, const Find& request) {
  ASSIGN_OR_RETURN(auto row, catalog.Find(object));
  if (!row) return Listed();
  Listed listed;
  listed.object = object;
  listed.changed = row->changed;
  ASSIGN_OR_RETURN(const auto names, catalog.NamesOf(object, 1));
  if (!names.empty()) listed.name = names.front().name;
  if (request.origin == Origin::kDatabase) {
    listed.attributes = std::move(row->attributes);
    if (!request.with_xattrs) listed.attributes.xattrs.clear();
    return listed;
  }
  bool is_there = false;
  const Status read = [&]() -> Status {
    ASSIGN_OR_RETURN(const UniqueFd fd, tree.OpenObject(object));
    is_there = fd.valid();
    if (!is_there) return {};
    ASSIGN_OR_RETURN(listed.attributes,
                     ReadFromDisk(catalog, object, fd.get(), request.with_xattrs));
    return {};
  }();
  if (!read && !meta::IsUnreadable(read.error())) return tl::unexpected<Error>(read.error());
  if (read && is_there) return listed;
  Listed nothing;
  if (!read) nothing.unreadable = read.error().ToString();
  return nothing;
}

// Returns false if the object has to be sent whole. A directory need not be because names in it
// were changed: verify finds those, and repairs them if it is asked to. Nor need be what cannot be
// read: a redo could not replace it.
Result<bool> IsAsItWas(ObjectId object, const meta::Attributes& left, Catalog& catalog, Tree& tree,
                       ForeignEdits* edits) {
  const bool is_directory = left.kind == meta::Kind::kDirectory;
  Tree::Directory directory;
  UniqueFd file;
  const Status opened = [&]() -> Status {
    if (is_directory) {
      ASSIGN_OR_RETURN(directory, tree.OpenDirectory(object));
    } else {
      ASSIGN_OR_RETURN(file, tree.OpenObject(object));
    }
    return {};
  }();
  if (!opened && MeansDamaged(opened.error())) return true;
  RETURN_IF_ERROR(opened);
  const int fd = directory != nullptr ? directory->get() : file.get();
  if (edits == nullptr) return fd >= 0;
  ForeignEdit edit{"it is gone, or something else is in its place", true};
  if (fd >= 0) {
    struct stat now;
    if (fstatat(fd, "", &now, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
    ASSIGN_OR_RETURN(const bool withheld, catalog.lacking().IsWithheld(object));
    meta::Attributes permitted = left;
    if (withheld) (void)WithholdSpecial(permitted);
    edit = FindForeignEdit(withheld ? permitted : left, now);
  }
  if (edit.what.empty()) return true;
  ASSIGN_OR_RETURN(const std::string path, PathOf(catalog, object));
  edits->Note(path, edit.what);
  return fd >= 0 && (is_directory || !edit.content);
}

}  // namespace

Result<std::optional<Listing>> ListNames(Catalog& catalog, const List& request) {
  if (request.directory != kRootObject) {
    ASSIGN_OR_RETURN(const auto kind, catalog.FindKind(request.directory));
    if (kind != meta::Kind::kDirectory) return std::nullopt;
  }
  return ListFromDatabase(catalog, request);
}

Result<Found> FindObjects(Catalog& catalog, Tree& tree, const Find& request) {
  Found found;
  for (const ObjectId object : request.objects) {
    ASSIGN_OR_RETURN(Listed listed, FindOne(catalog, tree, object, request));
    found.objects.push_back(std::move(listed));
    if (object != kRootObject) continue;
    ASSIGN_OR_RETURN(const CatalogTotals totals, catalog.Totals());
    found.total_objects = totals.objects;
    found.total_bytes = totals.bytes;
  }
  return found;
}

Result<UniqueFd> OpenFile(Tree& tree, ObjectId object) {
  ASSIGN_OR_RETURN(const UniqueFd path_fd, tree.OpenObject(object));
  if (!path_fd.valid()) return UniqueFd();
  struct stat stat_buffer;
  if (fstatat(path_fd.get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if (!S_ISREG(stat_buffer.st_mode)) return UniqueFd();
  return Reopen(path_fd.get(), O_RDONLY);
}

Result<Signature> SignatureOf(int fd, const GetSignature& request) {
  struct stat stat_buffer;
  if (fstat(fd, &stat_buffer) != 0) return ErrnoError("stat");
  Signature signature;
  signature.file_size = static_cast<uint64_t>(stat_buffer.st_size);
  if (request.offset >= signature.file_size) return signature;
  const uint64_t length = std::min(request.length, signature.file_size - request.offset);
  ASSIGN_OR_RETURN(const std::string basis, ReadUpTo(fd, request.offset, length));
  if (!basis.empty()) {
    ASSIGN_OR_RETURN(signature.bytes, MakeSignature(basis));
  }
  return signature;
}

Result<std::vector<ObjectId>> FindAbsent(Plan& plan, Catalog& catalog, Tree& tree,
                                         ForeignEdits* edits) {
  std::unordered_set<ObjectId> needed;
  for (const auto& [object, planned] : plan.objects()) {
    // Sending it whole would not help.
    if (planned.shortfall != Plan::Shortfall::kNone) continue;
    if (planned.fate == Plan::Fate::kKeep && planned.whole == 0) needed.insert(object);
  }
  for (const auto& [key, child] : plan.entries()) {
    for (const ObjectId object : {key.parent, child}) {
      if (object.is_null() || needed.contains(object)) continue;
      const Plan::Object* planned = plan.Find(object);
      if (planned == nullptr || planned->whole == 0) needed.insert(object);
    }
  }
  // By directory, so that each path is walked once.
  std::vector<std::pair<ObjectId, ObjectId>> by_parent;
  by_parent.reserve(needed.size());
  for (const ObjectId object : needed) {
    ASSIGN_OR_RETURN(const auto names, catalog.NamesOf(object, 1));
    by_parent.emplace_back(names.empty() ? ObjectId() : names.front().parent, object);
  }
  std::ranges::sort(by_parent);
  std::vector<ObjectId> absent;
  for (const auto& [parent, object] : by_parent) {
    ASSIGN_OR_RETURN(const auto row, catalog.Find(object));
    if (!row) continue;  // the root, before its first record
    ASSIGN_OR_RETURN(const bool as_it_was,
                     IsAsItWas(object, row->attributes, catalog, tree, edits));
    if (!as_it_was) absent.push_back(object);
  }
  return absent;
}

}  // namespace tandem::replica
