#include "replica/source/list_ahead.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <new>
#include <span>
#include <system_error>
#include <utility>

#include "meta/change/file_handle.h"
#include "meta/source/directory_names.h"
#include "replica/source/tuning.h"

namespace tandem::replica {
namespace {

// Returns nullopt if the name may lead to another object by now.
std::optional<meta::Attributes> AttributesAt(int directory_fd, const meta::SourceEntry& entry) {
  struct stat now;
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (fstatat(directory_fd, entry.name.c_str(), &now, kFlags) != 0) return std::nullopt;
  if (!IsPlacedAt(entry.object.id, now.st_ino)) return std::nullopt;
  return meta::AttributesFromStat(now);
}

}  // namespace

ListAhead::~ListAhead() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    work_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void ListAhead::Want(Wanted wanted) {
  MutexLock lock(mutex_);
  slots_.push_back({std::move(wanted), {}});
  if (!uses_threads_) return;
  // A single directory is listed by the walk itself.
  if (slots_.size() > 1 && threads_.size() < kListAheadThreads) {
    try {
      threads_.emplace_back(&ListAhead::Run, this);
    } catch (const std::system_error&) {  // there may be a limit: Take does it
    }
  }
  work_.NotifyOne();
}

ListAhead::Page ListAhead::Take() {
  {
    MutexLock lock(mutex_);
    while (!slots_.front().place.is_first()) {
      while (slots_.front().state == State::kBegun) done_.Wait(mutex_);
      slots_.pop_front();
    }
  }
  return Pop();
}

ListAhead::Page ListAhead::Next() { return Pop(); }

ListAhead::Page ListAhead::Pop() {
  Slots::iterator slot;
  bool is_ours = false;
  {
    MutexLock lock(mutex_);
    slot = slots_.begin();
    is_ours = slot->state == State::kWaiting;
    if (is_ours) slot->state = State::kBegun;
  }
  if (is_ours) Fill(slot, slot->wanted, slot->place);
  MutexLock lock(mutex_);
  while (slot->state != State::kDone) done_.Wait(mutex_);
  Page page = std::move(slot->page);
  slots_.erase(slot);
  work_.NotifyOne();
  return page;
}

ListAhead::Slots::iterator ListAhead::Claimable() {
  size_t pages = 0;
  size_t names = 0;
  const std::vector<std::string>* counted = nullptr;
  for (auto slot = slots_.begin(); slot != slots_.end(); ++slot) {
    if (++pages > kMostPagesAhead || names > kMostNamesAhead) break;
    if (slot->state == State::kWaiting) return slot;
    // Pages of one directory have them in common.
    if (slot->place.names != nullptr && slot->place.names.get() != counted) {
      counted = slot->place.names.get();
      names += counted->size();
    }
  }
  return slots_.end();
}

void ListAhead::Run() {
  while (true) {
    Slots::iterator slot;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && (slot = Claimable()) == slots_.end()) work_.Wait(mutex_);
      if (stopping_) return;
      slot->state = State::kBegun;
    }
    // What is kBegun stays where it is, and only this thread changes it.
    Fill(slot, slot->wanted, slot->place);
  }
}

void ListAhead::Fill(Slots::iterator slot, const Wanted& wanted, Place place) {
  Page page = Read(wanted, place);
  Slots rest;
  try {
    if (page.more) rest.push_back({wanted, std::move(place)});
  } catch (const std::bad_alloc&) {
    page = Page();
    page.failure = Error(ErrorKind::kSystem, ENOMEM, "list a directory");
  }
  MutexLock lock(mutex_);
  slots_.splice(std::next(slot), rest);
  slot->page = std::move(page);
  slot->state = State::kDone;
  done_.NotifyAll();
  work_.NotifyOne();
}

ListAhead::Page ListAhead::Read(const Wanted& wanted, Place& place) const noexcept {
  Page page;
  Status read;
  try {
    if (place.is_first()) read = Open(wanted, place);
    if (read && place.directory != nullptr) read = ReadNames(wanted, place, page);
  } catch (const std::exception&) {
    read = ErrnoError(ENOMEM, "list a directory");
  }
  if (read) {
    page.directory = place.directory;
  } else {
    page = Page();
    // Removed while it was listed: that travels as a change of its own.
    if (!meta::IsGone(read.error())) page.failure = std::move(read.error());
  }
  return page;
}

Status ListAhead::Open(const Wanted& wanted, Place& place) const {
  ASSIGN_OR_RETURN(std::optional<meta::SourceObject> opened, tree_.Open(wanted.directory));
  if (!opened) return {};
  ASSIGN_OR_RETURN(std::vector<std::string> names, meta::ReadNames(opened->path_fd()));
  place.directory = std::make_shared<const meta::SourceObject>(std::move(*opened));
  place.names = std::make_shared<const std::vector<std::string>>(std::move(names));
  return {};
}

Status ListAhead::ReadNames(const Wanted& wanted, Place& place, Page& page) const {
  const auto& names = *place.names;
  const size_t end = std::min(names.size(), place.first + kFindAtATime);
  page.more = end < names.size();
  std::optional<PeerSession::Pending> answer;
  page.asked.directory = wanted.on_replica;
  if (place.first > 0) page.asked.after = names[place.first - 1];
  if (page.more) page.asked.up_to = names[end - 1];
  if (!wanted.on_replica.is_null()) {
    auto pending = session_.Send(page.asked);
    if (pending) {
      answer.emplace(std::move(*pending));
    } else {
      page.theirs = tl::unexpected<Error>(std::move(pending.error()));
    }
  }
  const auto first = std::exchange(place.first, end);
  ASSIGN_OR_RETURN(page.ours,
                   tree_.List(*place.directory, std::span(names).subspan(first, end - first)));
  if (wanted.attributes) {
    for (const meta::SourceEntry& entry : page.ours.entries) {
      page.attributes.push_back(AttributesAt(place.directory->path_fd(), entry));
    }
  }
  if (answer) page.theirs = answer->Wait();
  return {};
}

}  // namespace tandem::replica
