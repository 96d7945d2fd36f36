// How a scrub compares what is in the tree with the catalog: names and attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "meta/base/printable.h"
#include "meta/source/attribute_text.h"
#include "meta/source/source_tree.h"
#include "replica/apply/attributes_writer.h"
#include "replica/apply/foreign_edits.h"
#include "replica/apply/own_labels.h"
#include "replica/apply/short_objects.h"
#include "replica/apply/special_attributes.h"
#include "replica/apply/tree_path.h"
#include "replica/store/scrubber.h"

namespace tandem::replica {
namespace {

std::string Versus(const std::string& what, const std::string& here, const std::string& applied) {
  return what + " " + here + ", applied was " + applied;
}

// A name in `lacking`, which are separated by blanks.
bool IsIn(const std::string& lacking, const std::string& name) {
  return (" " + lacking + " ").find(" " + name + " ") != std::string::npos;
}

std::optional<std::string> XattrDifference(const meta::Xattrs& applied, const meta::Xattrs& here,
                                           const std::string& lacking) {
  for (const auto& [name, value] : applied) {
    const auto found = here.find(name);
    if (IsIn(lacking, name) || (found != here.end() && found->second == value)) continue;
    return Printable(name) + (found == here.end() ? " is missing" : " has another value");
  }
  for (const auto& [name, value] : here) {
    if (!applied.contains(name) && !IsIn(lacking, name))
      return Printable(name) + " was not applied";
  }
  return std::nullopt;
}

}  // namespace

Scrubber::Settable Scrubber::WhatCanBeSet(const meta::Attributes& applied) {
  const auto [known, is_new] =
      settable_.try_emplace({applied.uid, applied.gid, applied.permissions});
  Settable& can = known->second;
  if (!is_new) return can;
  const UniqueFd fd = OpenProbe(place_.stage_fd());
  if (!fd.valid()) return can;
  meta::Attributes wanted;
  wanted.kind = meta::Kind::kFile;
  wanted.uid = applied.uid;
  wanted.gid = applied.gid;
  wanted.permissions = applied.permissions;
  Notices ignored;
  if (!WriteAttributes(fd.get(), wanted, ignored)) return can;
  if (const auto got = ReadWithRights(fd.get(), meta::WithXattrs::kNo)) {
    can.owner = got->uid == wanted.uid && got->gid == wanted.gid;
    can.mode = got->permissions == wanted.permissions;
  }
  return can;
}

std::string Scrubber::OtherDifference(const meta::Attributes& applied,
                                      const meta::Attributes& here) {
  const bool is_root = geteuid() == 0;
  const bool other_mode = is_root && here.kind != meta::Kind::kSymlink && here.uid == applied.uid &&
                          here.permissions != applied.permissions;
  if (other_mode && WhatCanBeSet(applied).mode) {
    return Versus("mode", meta::ModeText(here.permissions), meta::ModeText(applied.permissions));
  }
  const bool other_owner = is_root && (here.uid != applied.uid || here.gid != applied.gid);
  if (other_owner && WhatCanBeSet(applied).owner) {
    return Versus("owner", meta::OwnerText(here), meta::OwnerText(applied));
  }
  if (IsDevice(here.kind) && here.device != applied.device) {
    return Versus("device", std::to_string(here.device), std::to_string(applied.device));
  }
  if (here.link_target != applied.link_target) {
    return Versus("target", Printable(here.link_target), Printable(applied.link_target));
  }
  return {};
}

Status Scrubber::PassOver(ObjectId object, const std::string& path, Error error) {
  if (!meta::IsUnreadable(error)) return tl::unexpected<Error>(std::move(error));
  found_.insert(object);
  Report({"unreadable", path, error.ToString()});
  return {};
}

Result<bool> Scrubber::IsThere(Slice& slice, ObjectId object) {
  auto fd = slice.tree.OpenObject(object);
  if (fd) return fd->valid();
  if (meta::IsUnreadable(fd.error())) return false;
  return tl::unexpected<Error>(std::move(fd.error()));
}

Status Scrubber::JudgeEntry(Slice& slice, const std::string& parent, int directory_fd,
                            const CatalogEntry& entry, std::vector<File>& files) {
  const ObjectId object = entry.child;
  ASSIGN_OR_RETURN(const auto row, slice.catalog.Find(object));
  if (!row) {
    return MakeError(ErrorKind::kCorrupt, "find object " + object.ToHex() + " in replica.db");
  }
  ASSIGN_OR_RETURN(const auto short_row, slice.catalog.short_objects().Find(object));
  auto fd = OpenBeneath(directory_fd, entry.name, O_PATH);
  const std::string path = PathIn(parent, entry.name);
  if (!fd && !MeansAbsent(fd.error())) return PassOver(object, path, std::move(fd.error()));
  auto inode = fd ? InodeAt(fd->get(), "") : std::nullopt;
  if (!inode) return PassOver(object, path, std::move(inode.error()));
  if (*inode != row->inode) {
    if (short_row) return {};  // it could not get the name
    const std::string what = fd ? "something else is in its place" : "is missing";
    ASSIGN_OR_RETURN(const bool is_there, IsThere(slice, object));
    NoteDamage({object, /*whole=*/!is_there, {}, what});
    Report({"name", path, what});
    return {};
  }
  if (row->attributes.link_count > 1 && row->attributes.kind != meta::Kind::kDirectory &&
      !judged_.insert(object).second) {
    return {};
  }
  return JudgeObject(slice, object, *row, fd->get(), path, files);
}

Status Scrubber::JudgeObject(Slice& slice, ObjectId object, const CatalogObject& row, int fd,
                             const std::string& path, std::vector<File>& files) {
  {
    MutexLock lock(mutex_);
    ++report_.objects;
  }
  ASSIGN_OR_RETURN(const auto short_row, slice.catalog.short_objects().Find(object));
  if (short_row && !short_row->by_name) return {};  // the source knows that it differs
  auto read = ReadWithRights(fd, meta::WithXattrs::kYes);
  if (!read) {
    if (meta::IsUnreadable(read.error())) {
      NoteDamage({object, /*whole=*/true, {}, read.error().ToString()});
    }
    return PassOver(object, path, std::move(read.error()));
  }
  meta::Attributes& here = *read;
  meta::Attributes applied = row.attributes;
  ASSIGN_OR_RETURN(const auto lacking, slice.catalog.lacking().Find(object));
  if (!lacking.second.empty()) (void)WithholdSpecial(applied);
  LeaveOutOwnLabels(here.xattrs, applied.xattrs);
  // A file stands for a device that could not be made.
  const bool stand_in = IsDevice(applied.kind) && here.kind == meta::Kind::kFile;
  if (here.kind != applied.kind && !stand_in) {
    const std::string what = Versus("kind", meta::NameOf(here.kind), meta::NameOf(applied.kind));
    NoteDamage({object, /*whole=*/true, {}, what});
    Report({"kind", path, what});
    return {};
  }
  const auto differs = [&](const char* kind, const std::string& what, bool whole) {
    NoteDamage({object, whole, {}, what});
    Report({kind, path, what});
  };
  const bool is_file = applied.kind == meta::Kind::kFile;
  const bool other_size = is_file && here.size != applied.size;
  const bool other_time = !stand_in && !MayBeTheSame(applied.modify_time, here.modify_time);
  if (other_size) {
    differs("attribute", Versus("size", std::to_string(here.size), std::to_string(applied.size)),
            true);
  } else if (other_time) {
    differs("attribute",
            Versus("mtime", meta::TimeText(here.modify_time), meta::TimeText(applied.modify_time)),
            is_file);
  }
  if (const std::string what = OtherDifference(applied, here); !what.empty()) {
    differs("attribute", what, false);
  }
  if (const auto what = XattrDifference(applied.xattrs, here.xattrs, lacking.first)) {
    differs("xattr", *what, false);
  }
  if (is_file && !other_size && applied.size > 0) {
    files.push_back({object, row.inode, applied.size, path});
  }
  return {};
}

}  // namespace tandem::replica
