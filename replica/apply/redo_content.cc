#include "replica/apply/redo_content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "meta/base/fault_point.h"
#include "meta/base/log.h"
#include "meta/base/printable.h"
#include "replica/apply/file_data.h"
#include "replica/apply/redo_bulk.h"
#include "replica/apply/removal.h"
#include "replica/apply/spare_objects.h"
#include "replica/apply/special_attributes.h"
#include "replica/apply/tuning.h"

namespace tandem::replica {
namespace {

Error TooLarge(uint64_t size, uint64_t largest) {
  return Error(ErrorKind::kSystem, EFBIG,
               "make a file of " + std::to_string(size) +
                   " bytes (the largest on this filesystem is " + std::to_string(largest) + ")");
}

}  // namespace

Status ContentWriter::Run(const std::vector<std::shared_ptr<Stage>>& stages) {
  ASSIGN_OR_RETURN(const uint64_t damaged, state_.place.catalog.damaged().Count());
  some_are_damaged_ = damaged > 0;
  if (some_are_damaged_) digests_.NoteRenewed();
  BulkMaker bulk(state_, some_are_damaged_,
                 [this](const Record& record, uint64_t at) { return Take(record, at); });
  uint64_t position = 1;
  for (const auto& stage : stages) {
    stage_ = stage.get();
    for (uint64_t sequence = 0; sequence < stage->chunk_count(); ++sequence) {
      ASSIGN_OR_RETURN(std::vector<Record> read, stage->Read(sequence));
      const auto records = std::make_shared<const std::vector<Record>>(std::move(read));
      for (size_t i = 0; i < records->size();) {
        RETURN_IF_ERROR(state_.CheckStopping());
        ASSIGN_OR_RETURN(size_t taken, bulk.Take(records, i, position));
        if (taken == 0) {
          RETURN_IF_ERROR(Take((*records)[i], position));
          taken = 1;
        }
        i += taken;
        position += taken;
      }
    }
  }
  RETURN_IF_ERROR(bulk.Finish());
  for (const auto& [object, planned] : state_.plan.objects()) {
    const bool too_large = planned.shortfall == Plan::Shortfall::kTooLarge;
    if (!too_large || planned.fate == Plan::Fate::kDrop) continue;
    RETURN_IF_ERROR(state_.FallShort(
        object, TooLarge(state_.plan.SizeWanted(object), state_.place.largest_file)));
    if (planned.last == 0) RETURN_IF_ERROR(LeaveShort(object, planned));
  }
  return {};
}

Status ContentWriter::Take(const Record& record, uint64_t position) {
  const auto* about = std::get_if<ObjectRecord>(&record);
  const auto* data = std::get_if<DataRecord>(&record);
  if (about == nullptr && data == nullptr) return {};
  const ObjectId object = about != nullptr ? about->object : data->object;
  const Plan::Object* planned = state_.plan.Find(object);
  if (planned == nullptr || planned->fate == Plan::Fate::kDrop) return {};
  if (state_.plan.Ignores(object, *planned, position)) return {};
  if (state_.IsContentShort(object)) return {};
  auto done = about != nullptr ? Take(*about, *planned, position) : Take(*data, *planned, position);
  if (done && position == planned->last) done = Complete(object);
  if (done) return {};
  if (auto own = state_.FallShort(object, std::move(done.error())); !own) {
    ASSIGN_OR_RETURN(const std::string path, state_.FinalPathOf(object));
    return tl::unexpected<Error>(std::move(own.error()).Within("apply changes of " + path));
  }
  return LeaveShort(object, *planned);
}

// Returns true if the object's data in this stage is in place already.
bool ContentWriter::ComesAsFile(ObjectId object, const Plan::Object& planned) const {
  return state_.plan.ComesAsFile(object, planned, *stage_);
}

Status ContentWriter::Take(const ObjectRecord& record, const Plan::Object& planned,
                           uint64_t position) {
  if (position == planned.whole) {
    RETURN_IF_ERROR(digests_.Begin(record.object, planned.fate == Plan::Fate::kCreate));
  }
  if (position == planned.whole && ComesAsFile(record.object, planned)) {
    RETURN_IF_ERROR(
        MoveIn(record.object, state_.plan.FileOf(record.object).inode, record.attributes));
  } else if (position == planned.whole) {
    ASSIGN_OR_RETURN(const UniqueFd standing, planned.fate == Plan::Fate::kKeep
                                                  ? state_.tree.OpenObject(record.object)
                                                  : Result<UniqueFd>(UniqueFd()));
    if (!standing.valid()) {
      RETURN_IF_ERROR(Make(record.object, record.attributes));
    } else if (record.attributes.kind == meta::Kind::kFile) {
      RETURN_IF_ERROR(Truncate(record.object));
    }
  } else if (record.attributes.kind == meta::Kind::kFile) {
    const uint64_t size = record.attributes.size;
    ASSIGN_OR_RETURN(const uint64_t before, digests_.SizeOf(record.object));
    if (size < before) {
      RETURN_IF_ERROR(digests_.Resize(record.object, size, OpenerOf(record.object)));
    }
    if (!ComesAsFile(record.object, planned)) RETURN_IF_ERROR(Shrink(record.object, size));
  }
  Active& active = active_[record.object];
  active.attributes = record.attributes;
  if (record.with_xattrs) active.xattrs = record.attributes.xattrs;
  return {};
}

// Does not write what a later record cuts off, because an earlier redo may have given its room
// back.
Status ContentWriter::Take(const DataRecord& record, const Plan::Object& planned,
                           uint64_t position) {
  const auto opener = OpenerOf(record.object);
  const bool is_hole = record.encoding == Encoding::kHole || ContentDigests::IsStagedHole(record);
  if (state_.place.written != nullptr && !is_hole) {
    state_.place.written->Note(record.object, record.offset, record.length);
  }
  if (ComesAsFile(record.object, planned))
    return digests_.TakeStaged(record, record.length, -1, opener);
  const uint64_t end = state_.plan.SmallestSizeAfter(record.object, position);
  if (record.offset >= end) return {};
  const uint64_t length = std::min(record.length, end - record.offset);
  ASSIGN_OR_RETURN(const int fd, OpenForWriting(record.object));
  if (record.encoding == Encoding::kStaged) {
    RETURN_IF_ERROR(CopyStaged(record, length, fd));
  } else if (record.encoding == Encoding::kHole) {
    RETURN_IF_ERROR(digests_.PunchHole(record.object, record.offset, length, opener));
    RETURN_IF_ERROR(PunchHole(fd, record.offset, length));
  } else {
    const auto bytes = std::string_view(record.bytes).substr(0, length);
    RETURN_IF_ERROR(digests_.Write(record.object, record.offset, bytes, opener));
    RETURN_IF_ERROR(WriteFully(fd, bytes, record.offset));
  }
  FAULT_POINT("replica.redo.data_written");
  return {};
}

Status ContentWriter::CopyStaged(const DataRecord& record, uint64_t length, int fd) {
  ASSIGN_OR_RETURN(const UniqueFd file, stage_->files().Open(record.object, InodeId{record.basis}));
  if (!file.valid()) {
    NoteLost(record.object);
    return {};
  }
  RETURN_IF_ERROR(digests_.TakeStaged(record, length, file.get(), OpenerOf(record.object)));
  return CopyRange(file.get(), fd, record.offset, length);
}

// ---- Making ------------------------------------------------------------------------------------

// The zeros in a spare object do no harm, because the file gets its size when it is complete.
bool ContentWriter::TakeSpare(const std::string& name) {
  const RedoPlace& place = state_.place;
  if (!place.cramped || place.stage_fd < 0) return false;
  return TakeSpareObject(place.stage_fd, state_.tree.hold_fd(), name);
}

// The inode is that of the descriptor: nobody can have put another file in its place meanwhile.
Result<ContentWriter::Made> ContentWriter::MakeFile(int directory_fd, const std::string& name,
                                                    mode_t mode) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  UniqueFd fd(openat(directory_fd, name.c_str(), kFlags, mode));
  if (!fd.valid()) return ErrnoError("make " + Printable(name));
  ASSIGN_OR_RETURN(const auto inode, InodeAt(fd.get(), ""));
  if (!inode) return ErrnoError(ENOENT, "find " + Printable(name));
  return Made{*inode, std::move(fd)};
}

Result<ContentWriter::Made> ContentWriter::MakeNode(int directory_fd, const std::string& name,
                                                    const meta::Attributes& attributes) {
  int result = 0;
  switch (attributes.kind) {
    case meta::Kind::kFile:
      if (attributes.size <= kSpareObjectBytes && TakeSpare(name)) break;
      return MakeFile(directory_fd, name, FirstModeOf(attributes));
    case meta::Kind::kDirectory:
      result = mkdirat(directory_fd, name.c_str(), 0700);
      break;
    case meta::Kind::kSymlink:
      result = symlinkat(attributes.link_target.c_str(), directory_fd, name.c_str());
      break;
    default:
      if (IsDevice(attributes.kind) && !state_.place.may_set_special) {
        return MakeFile(directory_fd, name, 0600);
      }
      result = mknodat(directory_fd, name.c_str(), meta::FormatOf(attributes.kind) | 0600,
                       attributes.device);
      if (result != 0 && errno == EPERM) {
        state_.notices.device = true;
        return MakeFile(directory_fd, name, 0600);
      }
  }
  if (result != 0) return ErrnoError("make " + Printable(name));
  return FindMade(directory_fd, name, attributes.kind);
}

// Another kind of object would never become right: it would stand for this one, and be kept.
Result<ContentWriter::Made> ContentWriter::FindMade(int directory_fd, const std::string& name,
                                                    meta::Kind kind) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenBeneath(directory_fd, name, O_PATH));
  struct stat made;
  if (fstat(fd.get(), &made) != 0) return ErrnoError("stat " + Printable(name));
  ASSIGN_OR_RETURN(const auto inode, InodeAt(fd.get(), ""));
  if (inode && meta::KindOf(made.st_mode) == kind) return Made{*inode, UniqueFd()};
  return ErrnoError(ESTALE,
                    "find " + Printable(name) + " (another program has put something there)");
}

// If it fails, Place tries it and finds out why. What is left of a redo that was interrupted is an
// unknown inode at a name that the stages set, as if it had been placed: it is removed.
Result<bool> ContentWriter::MakeInPlace(ObjectId object, const meta::Attributes& attributes) {
  ASSIGN_OR_RETURN(const auto place, state_.PlaceToMake(object));
  if (!place) return false;
  const EntryKey& key = *place;
  ASSIGN_OR_RETURN(const Tree::Directory parent, state_.tree.OpenDirectory(key.parent));
  if (parent == nullptr) return false;
  auto made = MakeNode(parent->get(), key.name, attributes);
  if (!made) return false;
  state_.plan.NoteMadeInPlace(object);
  state_.touched.insert(key.parent);
  state_.tree.Placed(object, key, made->inode);
  if (made->fd.valid() && attributes.kind == meta::Kind::kFile) {
    KeepOpen(active_[object], std::move(made->fd));
  }
  FAULT_POINT("replica.redo.entry_placed");
  return true;
}

Status ContentWriter::Make(ObjectId object, const meta::Attributes& attributes) {
  ASSIGN_OR_RETURN(const bool made_in_place, MakeInPlace(object, attributes));
  if (!made_in_place) {
    ASSIGN_OR_RETURN(const Made made,
                     MakeNode(state_.tree.hold_fd(), Tree::HoldName(object), attributes));
    state_.Hold(object, made.inode);
  }
  FAULT_POINT("replica.redo.object_made");
  return {};
}

// Another program took the staged file away. That must not block the volume for ever.
void ContentWriter::NoteLost(ObjectId object) {
  if (!state_.lost.insert(object).second) return;
  LogError("content of object {} is missing from its stage", object.ToHex());
}

Status ContentWriter::MoveIn(ObjectId object, InodeId file, const meta::Attributes& attributes) {
  ASSIGN_OR_RETURN(const auto standing, state_.tree.InodeOf(object));
  if (standing == file) return {};
  const std::string name = Tree::HoldName(object);
  ASSIGN_OR_RETURN(const bool moved, stage_->files().MoveTo(object, state_.tree.hold_fd(), name));
  if (!moved) {
    NoteLost(object);
    return Make(object, attributes);
  }
  ASSIGN_OR_RETURN(const auto inode, InodeAt(state_.tree.hold_fd(), name));
  if (inode != file) {  // another program has put another file in its place
    const int hold_fd = state_.tree.hold_fd();
    RETURN_IF_ERROR(RemoveAll(hold_fd, hold_fd, name, {}));
    NoteLost(object);
    return Make(object, attributes);
  }
  state_.Hold(object, file);
  FAULT_POINT("replica.redo.file_moved");
  return {};
}

Status ContentWriter::MakeLost(ObjectId object) {
  ASSIGN_OR_RETURN(const auto row, state_.place.catalog.Find(object));
  if (!row)
    return MakeError(ErrorKind::kCorrupt, "find object " + object.ToHex() + " in replica.db");
  ASSIGN_OR_RETURN(const auto short_row, state_.place.catalog.short_objects().Find(object));
  // What falls short is sent whole, a directory with all below it.
  if (!state_.IsContentShort(object) && (!short_row || short_row->by_name)) {
    LogError("object {} ({}) is missing from the tree", object.ToHex(),
             meta::NameOf(row->attributes.kind));
    state_.lost.insert(object);
  }
  RETURN_IF_ERROR(Make(object, row->attributes));
  RETURN_IF_ERROR(digests_.Begin(object));
  ASSIGN_OR_RETURN(const auto inode, state_.tree.InodeOf(object));
  ASSIGN_OR_RETURN(const UniqueFd fd, state_.tree.OpenObject(object));
  if (row->attributes.kind == meta::Kind::kFile) {
    RETURN_IF_ERROR(SetSize(object, fd.get(), row->attributes.size));
  }
  RETURN_IF_ERROR(state_.WriteAttributes(object, fd.get(), row->attributes));
  RETURN_IF_ERROR(digests_.End(object));
  return state_.place.catalog.Put(object, {*inode, row->attributes}, state_.epoch);
}

// Content ended here at one time, even if later records let the file grow again: the bytes beyond
// must not come back.
Status ContentWriter::Shrink(ObjectId object, uint64_t size) {
  ASSIGN_OR_RETURN(const UniqueFd path_fd, OpenPath(object));
  struct stat stat_buffer;
  if (fstatat(path_fd.get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if (!S_ISREG(stat_buffer.st_mode) || static_cast<uint64_t>(stat_buffer.st_size) <= size) {
    return {};
  }
  return SetSize(object, path_fd.get(), size);
}

Status ContentWriter::Truncate(ObjectId object) {
  ASSIGN_OR_RETURN(const int fd, OpenForWriting(object));
  if (ftruncate(fd, 0) != 0) return ErrnoError("truncate");
  return {};
}

// ---- Opening -----------------------------------------------------------------------------------

Result<UniqueFd> ContentWriter::OpenPath(ObjectId object) {
  ASSIGN_OR_RETURN(UniqueFd fd, state_.tree.OpenObject(object));
  if (fd.valid()) return fd;
  RETURN_IF_ERROR(MakeLost(object));
  return state_.tree.OpenObject(object);
}

Result<int> ContentWriter::OpenForWriting(ObjectId object) {
  Active& active = active_[object];
  if (active.fd.valid()) return active.fd.get();
  ASSIGN_OR_RETURN(const UniqueFd path_fd, OpenPath(object));
  struct stat stat_buffer;
  if (fstatat(path_fd.get(), "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if (!S_ISREG(stat_buffer.st_mode)) {
    return MakeError(ErrorKind::kProtocol, "write data (the object is not a regular file)", EINVAL);
  }
  ASSIGN_OR_RETURN(UniqueFd fd, Reopen(path_fd.get(), O_RDWR));
  KeepOpen(active, std::move(fd));
  return active.fd.get();
}

void ContentWriter::KeepOpen(Active& active, UniqueFd fd) {
  if (open_files_ >= kMaxOpenFiles) {
    for (auto& [other, unfinished] : active_) unfinished.fd.Reset();
    open_files_ = 0;
  }
  active.fd = std::move(fd);
  ++open_files_;
}

// ---- Completing --------------------------------------------------------------------------------

Result<meta::Attributes> ContentWriter::FinalAttributes(ObjectId object, Active& active) {
  std::optional<CatalogObject> row;
  if (!active.attributes || !active.xattrs) {
    ASSIGN_OR_RETURN(row, state_.place.catalog.Find(object));
  }
  meta::Attributes attributes;
  if (active.attributes) {
    attributes = std::move(*active.attributes);
  } else if (row) {
    // There was data alone. The attributes are as before, except that the file may be longer.
    attributes = row->attributes;
    if (attributes.kind == meta::Kind::kFile) {
      ASSIGN_OR_RETURN(attributes.size, digests_.SizeOf(object));
    }
  }
  if (active.xattrs) {
    attributes.xattrs = std::move(*active.xattrs);
  } else {
    attributes.xattrs = row ? row->attributes.xattrs : meta::Xattrs();
  }
  return attributes;
}

Status ContentWriter::SetSize(ObjectId object, int path_fd, uint64_t size) {
  RETURN_IF_ERROR(digests_.Resize(object, size, OpenerOf(object)));
  struct stat stat_buffer;
  if (fstatat(path_fd, "", &stat_buffer, AT_EMPTY_PATH) != 0) return ErrnoError("stat");
  if (!S_ISREG(stat_buffer.st_mode) || static_cast<uint64_t>(stat_buffer.st_size) == size) {
    return {};
  }
  ASSIGN_OR_RETURN(const int fd, OpenForWriting(object));
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) return ErrnoError("set size");
  return {};
}

Status ContentWriter::Complete(ObjectId object) {
  Active& active = active_[object];
  ASSIGN_OR_RETURN(meta::Attributes attributes, FinalAttributes(object, active));
  UniqueFd path_fd;
  if (!active.fd.valid()) {
    ASSIGN_OR_RETURN(path_fd, OpenPath(object));
  }
  const int fd = active.fd.valid() ? active.fd.get() : path_fd.get();
  ASSIGN_OR_RETURN(const auto inode, object == kRootObject ? InodeAt(state_.place.root_fd, "")
                                                           : state_.tree.InodeOf(object));
  if (!inode) return ErrnoError(ENOENT, "find inode");
  RETURN_IF_ERROR(state_.place.catalog.Put(object, {*inode, attributes}, state_.epoch));
  if (attributes.kind == meta::Kind::kDirectory) {
    directories_[object] = std::move(attributes);
  } else {
    if (attributes.kind == meta::Kind::kFile) {
      RETURN_IF_ERROR(SetSize(object, fd, attributes.size));
    }
    RETURN_IF_ERROR(state_.WriteAttributes(object, fd, attributes));
    if (state_.plan.Find(object)->made_in_place) state_.tree.Forget(object);
    FAULT_POINT("replica.redo.attributes_set");
  }
  if (active.fd.valid()) --open_files_;
  active_.erase(object);
  if (some_are_damaged_) RETURN_IF_ERROR(SettleDamage(object));
  RETURN_IF_ERROR(NoteMismatch(object));
  return digests_.End(object);
}

// What an earlier, interrupted redo has written looks the same as damage. So does what was cut off
// to make room, and, in content that came as a file, what a later record of its stage has written
// over. The blocks are unknown from now on, and a scrub says so.
Status ContentWriter::NoteMismatch(ObjectId object) {
  ASSIGN_OR_RETURN(RangeSet mismatched, digests_.TakeMismatched(object));
  if (state_.place.edits == nullptr || state_.place.cramped) return {};
  const Plan::Object* planned = state_.plan.Find(object);
  if (planned != nullptr && planned->in_file) return {};
  ASSIGN_OR_RETURN(const uint64_t size, digests_.SizeOf(object));
  mismatched.Remove(ByteRange::From(size));
  if (mismatched.empty()) return {};
  ASSIGN_OR_RETURN(const std::string path, state_.FinalPathOf(object));
  LogWarning("{}: content was not what was applied before when a part of it was written",
             Printable(path));
  return {};
}

// Its attributes are right now, and its names will be (Gatherer).
Status ContentWriter::SettleDamage(ObjectId object) {
  DamagedObjects& damaged = state_.place.catalog.damaged();
  ASSIGN_OR_RETURN(auto row, damaged.Find(object));
  if (!row) return {};
  const Plan::Object* planned = state_.plan.Find(object);
  const bool made_anew = planned != nullptr && planned->whole != 0;
  if (row->whole && !made_anew) return {};
  ASSIGN_OR_RETURN(const RangeSet renewed, digests_.TakeRenewed(object));
  for (const ByteRange& range : renewed.ToVector()) row->ranges.Remove(range);
  ASSIGN_OR_RETURN(const uint64_t size, digests_.SizeOf(object));
  row->ranges.Remove(ByteRange::From(size));
  if (made_anew || row->ranges.empty()) return damaged.Clear(object);
  return damaged.Note(*row);
}

}  // namespace tandem::replica
