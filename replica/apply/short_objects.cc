#include "replica/apply/short_objects.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>

namespace tandem::replica {
namespace {

constexpr char kCount[] = "SELECT count(*) FROM short";
constexpr char kAny[] = "SELECT 1 FROM short LIMIT 1";
constexpr char kFind[] = "SELECT object, by_name, reason FROM short WHERE object = ?";
constexpr char kList[] = "SELECT object, by_name, reason FROM short ORDER BY object LIMIT ?";
constexpr char kListByName[] = "SELECT object, by_name, reason FROM short WHERE by_name";
constexpr char kNote[] = "INSERT OR REPLACE INTO short VALUES (?, ?, ?)";
constexpr char kClear[] = "DELETE FROM short WHERE object = ?";

constexpr char kProbe[] = ".probe";

ShortObjects::Row RowAt(const Statement& row) {
  return {row.Id<ObjectId>(0), row.Int(1) != 0, std::string(row.Bytes(2))};
}

bool DiskWorks(int directory_fd) {
  const UniqueFd fd = OpenProbe(directory_fd);
  constexpr std::array<char, 4096> kBytes{};
  const bool written = fd.valid() && pwrite(fd.get(), kBytes.data(), kBytes.size(), 0) ==
                                         static_cast<ssize_t>(kBytes.size());
  return written && fdatasync(fd.get()) == 0;
}

}  // namespace

UniqueFd OpenProbe(int directory_fd) {
  UniqueFd fd(openat(directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  fd = UniqueFd(openat(directory_fd, kProbe, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  (void)unlinkat(directory_fd, kProbe, 0);
  return fd;
}

Result<ShortObjects> ShortObjects::Open(Database& database) {
  ShortObjects objects;
  ASSIGN_OR_RETURN(objects.count_, database.Prepare(kCount));
  ASSIGN_OR_RETURN(objects.any_, database.Prepare(kAny));
  ASSIGN_OR_RETURN(objects.find_, database.Prepare(kFind));
  ASSIGN_OR_RETURN(objects.list_, database.Prepare(kList));
  ASSIGN_OR_RETURN(objects.list_by_name_, database.Prepare(kListByName));
  ASSIGN_OR_RETURN(objects.note_, database.Prepare(kNote));
  ASSIGN_OR_RETURN(objects.clear_, database.Prepare(kClear));
  return objects;
}

Result<uint64_t> ShortObjects::Count() {
  ASSIGN_OR_RETURN(const bool found, count_.Step());
  const uint64_t count = found ? static_cast<uint64_t>(count_.Int(0)) : 0;
  count_.Reset();
  return count;
}

Result<bool> ShortObjects::IsEmpty() {
  ASSIGN_OR_RETURN(const bool found, any_.Step());
  any_.Reset();
  return !found;
}

Result<std::optional<ShortObjects::Row>> ShortObjects::Find(ObjectId object) {
  find_.Bind(1, object);
  ASSIGN_OR_RETURN(const bool found, find_.Step());
  if (!found) return std::nullopt;
  Row row = RowAt(find_);
  find_.Reset();
  return row;
}

Result<std::vector<ShortObjects::Row>> ShortObjects::Rows(Statement& rows) {
  std::vector<Row> found;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return found;
    found.push_back(RowAt(rows));
  }
}

Result<std::vector<ShortObjects::Row>> ShortObjects::List(size_t limit) {
  return Rows(list_.Bind(1, static_cast<int64_t>(limit)));
}

Result<std::vector<ShortObjects::Row>> ShortObjects::ListByName() { return Rows(list_by_name_); }

Status ShortObjects::Note(const Row& row) {
  return note_.Bind(1, row.object).Bind(2, int64_t{row.by_name}).BindBlob(3, row.reason).Run();
}

Status ShortObjects::Clear(ObjectId object) { return clear_.Bind(1, object).Run(); }

bool IsErrorOfTheObject(const Error& error, int directory_fd) {
  if (error.kind() != ErrorKind::kSystem) return false;
  // The last three are what a filesystem that is gone (FUSE, network, shut down) answers.
  constexpr std::array kOfTheVolume = {ENOSPC, EDQUOT, EROFS,    ENOMEM,    EMFILE,   ENFILE,
                                       EINTR,  EAGAIN, ENOTCONN, ESHUTDOWN, ECANCELED};
  constexpr std::array kOfEither = {EIO, EUCLEAN, EBADMSG, ESTALE, ENXIO, ENODEV};
  if (std::ranges::count(kOfTheVolume, error.code()) != 0) return false;
  return std::ranges::count(kOfEither, error.code()) == 0 || DiskWorks(directory_fd);
}

uint64_t LargestFileIn(int directory_fd) {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const UniqueFd fd = OpenProbe(directory_fd);
  if (!fd.valid()) return kMost;
  const auto fits = [&fd](uint64_t size) {
    return ftruncate(fd.get(), static_cast<off_t>(size)) == 0;
  };
  if (fits(kMost) || errno != EFBIG) return kMost;
  uint64_t fitting = 0;
  uint64_t too_large = kMost;
  while (too_large - fitting > 1) {
    const uint64_t middle = fitting + (too_large - fitting) / 2;
    (fits(middle) ? fitting : too_large) = middle;
  }
  return fitting > 0 ? fitting : kMost;
}

}  // namespace tandem::replica
