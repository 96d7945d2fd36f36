#include "replica/store/scrubber.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <exception>

#include "meta/base/io_priority.h"
#include "meta/base/log.h"
#include "meta/base/printable.h"
#include "meta/source/source_tree.h"
#include "replica/apply/removal.h"
#include "replica/apply/tree_path.h"
#include "replica/store/redo_pause.h"
#include "replica/store/tuning.h"

namespace tandem::replica {
namespace {

// For what others wait for: a redo may want what is locked meanwhile.
class UsualPriority {
 public:
  UsualPriority() { SetIoPriority(IoPriority::kUsual); }
  ~UsualPriority() { SetIoPriority(IoPriority::kIdle); }
  UsualPriority(const UsualPriority&) = delete;
};

tl::unexpected<Error> Stopped() {
  return MakeError(ErrorKind::kCancelled, "scrub (stopping)", ECANCELED);
}

}  // namespace

// ---- Report ------------------------------------------------------------------------------------

ScrubReport Scrubber::report(size_t skip, size_t limit) {
  MutexLock lock(mutex_);
  ScrubReport copy;
  copy.objects = report_.objects;
  copy.bytes = report_.bytes;
  copy.unknown_bytes = report_.unknown_bytes;
  copy.unknown_files = report_.unknown_files;
  copy.difference_count = report_.difference_count;
  copy.finished = report_.finished;
  copy.error = report_.error;
  const auto& all = report_.differences;
  const size_t first = std::min(skip, all.size());
  const size_t count = std::min(limit, all.size() - first);
  copy.differences.assign(all.begin() + static_cast<ptrdiff_t>(first),
                          all.begin() + static_cast<ptrdiff_t>(first + count));
  return copy;
}

void Scrubber::Report(ScrubDifference difference) {
  MutexLock lock(mutex_);
  if (++report_.difference_count <= kMostScrubLogged) {
    LogWarning("volume {}: scrub: {}: {}: {}", place_.name(), difference.kind,
               Printable(difference.path), difference.what);
  }
  if (report_.differences.size() < kMostScrubDifferences) {
    report_.differences.push_back(std::move(difference));
  }
}

void Scrubber::NoteDamage(DamagedObjects::Row row) {
  const ObjectId object = row.object;
  const auto [known, is_new] = damage_.try_emplace(object, row);
  if (is_new) return;
  known->second.whole |= row.whole;
  known->second.ranges.AddAll(row.ranges);
  // An object may have thousands of names.
  if (known->second.what.size() < kMostSaidOfDamage) known->second.what += "; " + row.what;
}

// ---- Run ---------------------------------------------------------------------------------------

void Scrubber::Run() {
  SetIoPriority(IoPriority::kIdle);
  Status done;
  try {
    done = ScrubAll();
    // What was found counts, even if the rest could not be looked at.
    if (auto kept = KeepDamage(done.has_value(), /*now=*/true); done && !kept)
      done = std::move(kept);
  } catch (const std::exception& e) {
    done = ErrnoError(ENOMEM, e.what());
  }
  MutexLock lock(mutex_);
  if (!done) report_.error = done.error().ToString();
  report_.finished = true;
}

Status Scrubber::InSlice(const std::function<Status(Slice&)>& work) {
  while (true) {
    do {
      if (stopping_ || queue_.stopping()) return Stopped();
      if (kept_.IsWanted()) queue_.Sleep(kScrubYield);
    } while (kept_.IsWanted());
    std::optional<Reply> refusal;
    {
      const RedoPause pause(queue_);
      refusal = pause.refusal();
      if (!refusal) {
        const KeptCatalog::Lock lock(kept_);
        refusal = kept_.RefuseUnlessCurrent();
        if (!refusal) {
          Catalog& catalog = kept_.catalog();
          catalog.digests().Drop();
          Tree tree(place_.root_fd(), place_.hold_fd(), catalog);
          Slice slice{catalog, tree, CondVar::Clock::now() + kScrubSlice};
          const UsualPriority priority;
          return work(slice);
        }
      }
    }
    if (refusal->code != ReplyCode::kBusy) {
      return MakeError(ErrorKind::kRefused, "scrub (" + refusal->message + ")");
    }
    queue_.Sleep(kScrubPause);
  }
}

Status Scrubber::ScrubAll() {
  bool is_empty = false;
  RETURN_IF_ERROR(InSlice([&](Slice& slice) -> Status {
    ASSIGN_OR_RETURN(is_empty, slice.catalog.IsEmpty());
    ASSIGN_OR_RETURN(const AppliedCut applied, slice.catalog.Applied());
    if (!is_empty && applied.IsNowhere()) {
      return MakeError(ErrorKind::kRefused,
                       "scrub (the tree is at no cut: wait until the source has brought it to one)",
                       EAGAIN);
    }
    return {};
  }));
  RETURN_IF_ERROR(ScrubRoot());
  ObjectId after;
  while (true) {
    std::vector<std::pair<ObjectId, meta::Kind>> objects;
    RETURN_IF_ERROR(InSlice([&](Slice& slice) -> Status {
      ASSIGN_OR_RETURN(objects, slice.catalog.ObjectsAfter(after, kScrubbedAtATime));
      return {};
    }));
    if (objects.empty()) return {};
    after = objects.back().first;
    for (const auto& [object, kind] : objects) {
      if (kind == meta::Kind::kDirectory) RETURN_IF_ERROR(ScrubDirectory(object));
    }
  }
}

Status Scrubber::ScrubRoot() {
  return InSlice([&](Slice& slice) -> Status {
    ASSIGN_OR_RETURN(const auto row, slice.catalog.Find(kRootObject));
    if (!row) return {};
    std::vector<File> files;
    return JudgeObject(slice, kRootObject, *row, place_.root_fd(), ".", files);
  });
}

// ---- A directory -------------------------------------------------------------------------------

Status Scrubber::ScrubDirectory(ObjectId directory) {
  std::string after;
  UniqueFd opened;  // for listing
  for (bool more = true; more;) {
    std::vector<File> files;
    RETURN_IF_ERROR(InSlice([&](Slice& slice) -> Status {
      more = false;
      const auto entered = slice.tree.OpenDirectory(directory);
      if (!entered) {
        if (!meta::IsUnreadable(entered.error())) return tl::unexpected<Error>(entered.error());
        // Its own name shows it, or that of a directory above.
        unread_.insert(directory);
        return {};
      }
      const Tree::Directory& fd = *entered;
      // It has been removed meanwhile, or is missing, which its own name shows.
      if (fd == nullptr) return {};
      ASSIGN_OR_RETURN(const std::string path, PathOf(slice.catalog, directory));
      if (!opened.valid()) {
        auto listed = Reopen(fd->get(), O_RDONLY | O_DIRECTORY);
        if (!listed) {
          unread_.insert(directory);
          return PassOver(directory, path, std::move(listed.error()));
        }
        opened = std::move(*listed);
      }
      ASSIGN_OR_RETURN(const auto entries,
                       slice.catalog.EntriesOf(directory, after, kScrubbedAtATime));
      for (const CatalogEntry& entry : entries) {
        RETURN_IF_ERROR(JudgeEntry(slice, path, fd->get(), entry, files));
        after = entry.name;
        if (slice.IsOver()) break;
      }
      more = !entries.empty();
      return {};
    }));
    for (File& file : files) RETURN_IF_ERROR(ScrubContent(std::move(file)));
    RETURN_IF_ERROR(KeepDamage(/*at_end=*/false, /*now=*/false));
  }
  return opened.valid() ? FindStrangers(directory, opened.get()) : Status();
}

Status Scrubber::FindStrangers(ObjectId directory, int directory_fd) {
  // Not in a slice, because a directory may have a million names.
  auto names = NamesIn(directory_fd);
  if (!names) {
    return InSlice([&](Slice& slice) -> Status {
      ASSIGN_OR_RETURN(const std::string path, PathOf(slice.catalog, directory));
      return PassOver(directory, path, std::move(names.error()));
    });
  }
  for (size_t next = 0; next < names->size();) {
    RETURN_IF_ERROR(InSlice([&](Slice& slice) -> Status {
      ASSIGN_OR_RETURN(const std::string path, PathOf(slice.catalog, directory));
      auto entered = slice.tree.OpenDirectory(directory);
      if (!entered || *entered == nullptr) {
        next = names->size();
        return entered ? Status() : PassOver(directory, path, std::move(entered.error()));
      }
      const Tree::Directory& fd = *entered;
      for (; next < names->size() && !slice.IsOver(); ++next) {
        const std::string& name = (*names)[next];
        ASSIGN_OR_RETURN(const ObjectId known, slice.catalog.ChildOf({directory, name}));
        if (!known.is_null()) continue;
        // A redo may have removed it since it was listed.
        const auto inode = InodeAt(fd->get(), name);
        if (!inode && !meta::IsUnreadable(inode.error()))
          return tl::unexpected<Error>(inode.error());
        if (inode && !*inode) continue;
        Report({"name", PathIn(path, name), "is not the replica's"});
      }
      return {};
    }));
  }
  return {};
}

// ---- What was found ----------------------------------------------------------------------------

Status Scrubber::KeepDamage(bool at_end, bool now) {
  if (!now && damage_.size() < kScrubbedAtATime) return {};
  const UsualPriority priority;
  RETURN_IF_ERROR(kept_.SyncTree());
  const KeptCatalog::Lock lock(kept_);
  RETURN_IF_ERROR(kept_.ReturnLostCuts());
  Catalog& catalog = kept_.catalog();
  {
    ASSIGN_OR_RETURN(Savepoint part, catalog.Begin());
    RETURN_IF_ERROR(WriteDamage(catalog));
    if (at_end) {
      RETURN_IF_ERROR(ClearOldDamage(catalog));
      RETURN_IF_ERROR(catalog.damaged().NoteScrubbed(std::time(nullptr)));
    }
    RETURN_IF_ERROR(part.Release());
  }
  RETURN_IF_ERROR(kept_.Keep());
  damage_.clear();
  return kept_.ReportShortObjects();
}

Status Scrubber::WriteDamage(Catalog& catalog) {
  for (const auto& [object, row] : damage_) {
    // It may have been removed since it was judged.
    ASSIGN_OR_RETURN(const auto kind, catalog.FindKind(object));
    // What an earlier scrub found may be unknown by now, and is known from there alone.
    ASSIGN_OR_RETURN(const auto noted, catalog.damaged().Find(object));
    DamagedObjects::Row all = row;
    if (noted) {
      all.whole |= noted->whole;
      all.ranges.AddAll(noted->ranges);
    }
    if (kind) RETURN_IF_ERROR(catalog.damaged().Note(all));
    found_.insert(object);
  }
  return {};
}

// What an earlier scrub found, and this one did not, is right again.
Status Scrubber::ClearOldDamage(Catalog& catalog) {
  ObjectId after;
  while (true) {
    ASSIGN_OR_RETURN(const auto rows, catalog.damaged().List(kScrubbedAtATime, after));
    if (rows.empty()) return {};
    after = rows.back().object;
    for (const DamagedObjects::Row& row : rows) {
      if (found_.contains(row.object)) continue;
      ASSIGN_OR_RETURN(const bool is_in_unread, IsInUnread(catalog, row.object));
      if (!is_in_unread) RETURN_IF_ERROR(catalog.damaged().Clear(row.object));
    }
  }
}

Result<bool> Scrubber::IsInUnread(Catalog& catalog, ObjectId object) {
  if (unread_.empty()) return false;
  ASSIGN_OR_RETURN(const auto names, catalog.NamesOf(object));
  return std::ranges::any_of(names, [&](const auto& key) { return unread_.contains(key.parent); });
}

}  // namespace tandem::replica
