// Sequences of calls as editors, loggers and databases make them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tests/programs/lib/workload_file.h"
#include "tests/programs/lib/workload_ops.h"
#include "tests/programs/lib/workload_pick.h"

namespace tandem::workload {
namespace {

Path Sibling(const Path& path, std::string_view name) {
  return Path{path.bytes.substr(0, path.bytes.rfind('/'))} / name;
}

// The new version is written beside the old one and renamed over it; some
// editors keep the old one as a backup first.
void SaveLikeAnEditor(Actor& actor) {
  const Path path = PickFile(actor);
  const Path temporary = Sibling(path, ".#saving");
  const Path backup = Sibling(path, "backup~");
  actor.Note(path);
  if (actor.random().OneIn(3)) {
    unlink(backup.bytes.c_str());
    actor.Try("link", link(path.bytes.c_str(), backup.bytes.c_str()));
  }
  WithFile(actor, temporary, O_WRONLY | O_CREAT | O_TRUNC, [&](int fd) {
    WriteExtent(actor, fd, {0, RandomLength(actor)});
    if (const auto old = Look(actor, path)) {
      actor.Try("fchmod", fchmod(fd, old->st_mode & 07777));
    }
    actor.Try("fsync", fsync(fd));
  });
  actor.Try("rename", rename(temporary.bytes.c_str(), path.bytes.c_str()));
}

void RotateLog(Actor& actor, const Path& log) {
  const Path old = Sibling(log, "log.1");
  actor.Note("rotate");
  actor.Try("rename", rename(log.bytes.c_str(), old.bytes.c_str()));
}

void AppendToLog(Actor& actor) {
  constexpr off_t kRotateAt = 256 << 10;
  const Path log = PickDirectory(actor) / "log";
  const uint64_t lines = actor.random().Between(1, 30);
  actor.Note(log, "lines", lines);
  bool full = false;
  WithFile(actor, log, O_WRONLY | O_APPEND | O_CREAT, [&](int fd) {
    for (uint64_t i = 0; i < lines; ++i) {
      const auto line = actor.Data(actor.random().Between(20, 400));
      line.back() = '\n';
      if (!actor.TryTransfer("write", write(fd, line.data(), line.size()), line.size())) {
        return;
      }
    }
    if (actor.random().OneIn(4)) actor.Try("fdatasync", fdatasync(fd));
    full = FileSize(actor, fd) > kRotateAt;
  });
  if (full) RotateLog(actor, log);
}

void WritePages(Actor& actor, int fd, uint64_t count) {
  constexpr size_t kPage = 4096;
  constexpr uint64_t kMaxPages = 1024;
  const uint64_t pages = std::min(kMaxPages, actor.config().max_file_bytes / kPage);
  for (uint64_t i = 0; i < count; ++i) {
    const auto offset = static_cast<off_t>(actor.random().Below(pages) * kPage);
    if (!WriteExtent(actor, fd, {offset, kPage})) return;
  }
}

// A rollback journal is written and synced, pages are overwritten in place
// and synced, the journal goes.
void CommitLikeADatabase(Actor& actor) {
  const Path database = PickDirectory(actor) / "database";
  const Path journal = Sibling(database, "database-journal");
  const uint64_t pages = actor.random().Between(1, 12);
  const bool keep_journal = actor.random().OneIn(3);
  actor.Note(database, "pages", pages);
  WithFile(actor, journal, O_RDWR | O_CREAT, [&](int fd) {
    WriteExtent(actor, fd, {0, 512 + pages * (4096 + 8)});
    actor.Try("fsync", fsync(fd));
  });
  WithFile(actor, database, O_RDWR | O_CREAT, [&](int fd) {
    WritePages(actor, fd, pages);
    actor.Try("fdatasync", fdatasync(fd));
  });
  if (keep_journal) {
    actor.Try("truncate", truncate(journal.bytes.c_str(), 0));
  } else {
    actor.Try("unlink", unlink(journal.bytes.c_str()));
  }
}

constexpr Op kPatternOps[] = {
    {"editor_save", 20, SaveLikeAnEditor},
    {"log_append", 20, AppendToLog},
    {"database_commit", 12, CommitLikeADatabase},
};

}  // namespace

std::span<const Op> PatternOps() { return kPatternOps; }

}  // namespace tandem::workload
