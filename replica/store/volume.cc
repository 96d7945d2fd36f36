#include "replica/store/volume.h"

#include <sys/stat.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "replica/store/rekey.h"
#include "replica/store/volume_replies.h"
#include "replica/store/volume_start.h"

namespace tandem::replica {

Volume::Volume(std::unique_ptr<VolumePlace> place)
    : place_(std::move(place)),
      report_(*place_),
      session_(place_->name()),
      queue_(*place_, session_, report_),
      catalog_(*place_, queue_, report_),
      finder_(*place_, queue_, catalog_),
      applier_(*place_, report_, queue_, catalog_, finder_),
      reader_(*place_, queue_, catalog_),
      taker_(*place_, report_, queue_, catalog_, reader_) {}

Status Volume::Prepare(int fd, const VolumeIdentity& identity) {
  return VolumePlace::Prepare(fd, identity);
}

Result<std::unique_ptr<Volume>> Volume::Open(UniqueFd fd, const std::string& path,
                                             const VolumeIdentity& identity, VolumeTerms terms) {
  const auto within = [&path](Error error) {
    return tl::unexpected<Error>(std::move(error).Within("open volume " + path));
  };
  auto place = VolumePlace::Open(std::move(fd), path, identity, std::move(terms));
  if (!place) return within(std::move(place.error()));
  std::unique_ptr<Volume> volume(new Volume(std::move(*place)));
  auto started = StartVolume(*volume->place_, volume->report_, volume->queue_, volume->catalog_);
  if (!started) return within(std::move(started.error()));
  volume->taker_.Restore(std::move(*started));
  volume->applier_.Start();
  return volume;
}

Reply Volume::Greet(const Hello& hello, const ConnectionRef& connection, const std::string& peer) {
  if (hello.protocol_oldest > kProtocolNewest || hello.protocol_newest < kProtocolOldest) {
    const bool is_source_older = hello.protocol_newest < kProtocolOldest;
    const auto range = [](uint32_t oldest, uint32_t newest) {
      return std::to_string(oldest) + " to " + std::to_string(newest);
    };
    return Refuse(ReplyCode::kVersion,
                  "this tandemd speaks protocol " + range(kProtocolOldest, kProtocolNewest) +
                      ", the source " + range(hello.protocol_oldest, hello.protocol_newest) +
                      (is_source_older ? ": upgrade tandemfs on the source"
                                       : ": upgrade tandemd on the replica's host"));
  }
  if (hello.volume != identity().volume) {
    return Refuse(ReplyCode::kRefused,
                  "volume " + identity().name +
                      " of this replica belongs to another source (its id is " +
                      identity().volume.ToHex() + "): mount with another --volume NAME, or move " +
                      place_->path() + " away");
  }
  // Before it waits for a commit of the other source, and once more in case that one came back
  // meanwhile.
  if (auto refusal = session_.RefuseSecond(hello, peer)) return *refusal;
  const StageTaker::Turn turn(taker_);
  if (auto refusal = session_.RefuseSecond(hello, peer)) return *refusal;
  taker_.ParkStage();
  Position position = queue_.OpenSession(hello, connection, peer);
  position.protocol = std::min(hello.protocol_newest, kProtocolNewest);
  return Ok(std::move(position));
}

std::unique_ptr<Scrubber> Volume::NewScrub(const ScrubOptions& options) {
  return std::make_unique<Scrubber>(options, *place_, queue_, catalog_);
}

Result<std::optional<int64_t>> Volume::ScrubbedAt() {
  const KeptCatalog::Lock lock(catalog_);
  return catalog_.catalog().damaged().ScrubbedAt();
}

int64_t Volume::MadeAt() const {
  struct stat found = {};
  // Written once. If it is gone, the volume cannot be opened again anyway.
  (void)fstatat(place_->fd(), "volume", &found, 0);
  return found.st_mtim.tv_sec;
}

Reply Volume::Handle(const Request& request, const ConnectionRef& connection) {
  const auto turn = session_.BeginRequest(request.session, connection);
  if (!turn) return RefuseOldSession();
  Reply reply = Dispatch(request);
  session_.EndRequest(*turn);
  return reply;
}

Reply Volume::Dispatch(const Request& request) {
  return std::visit(
      [&](const auto& body) -> Reply {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, Hello> || std::is_same_v<Body, Enrol> ||
                      std::is_same_v<Body, Renew>) {
          return Refuse(ReplyCode::kBadRequest, "a request of no session within one");
        } else if constexpr (std::is_same_v<Body, WaitApplied>) {
          return queue_.WaitApplied(body, request.session);
        } else if constexpr (std::is_same_v<Body, Begin> || std::is_same_v<Body, Commit>) {
          return taker_.Take(body, request.session);
        } else if constexpr (std::is_same_v<Body, Chunk> || std::is_same_v<Body, GetStaged>) {
          return taker_.Take(body);
        } else if constexpr (std::is_same_v<Body, Increment>) {
          return Take(body, request.session);
        } else if constexpr (std::is_same_v<Body, FindContent>) {
          return finder_.Take(body);
        } else if constexpr (std::is_same_v<Body, Rekey>) {
          return TakeRekey(body, *place_, queue_, catalog_);
        } else {
          return reader_.Take(body);
        }
      },
      request.body);
}

// One that comes again, while the first is being answered or afterwards, finds its stage ended or
// its base gone; then the Commit says whether the cut is durable.
Reply Volume::Take(const Increment& increment, SessionId session) {
  const auto commit_knows = [](const Reply& reply) {
    return reply.code == ReplyCode::kUnknownStage || reply.code == ReplyCode::kWrongBase;
  };
  Reply reply = taker_.Take(increment.begin, session);
  if (reply.code == ReplyCode::kOk) reply = taker_.Take(increment.chunk);
  if (reply.code == ReplyCode::kOk || commit_knows(reply)) {
    reply = taker_.Take(increment.commit, session);
  }
  if (reply.code != ReplyCode::kOk) return reply;
  Reply waited = queue_.WaitApplied({increment.commit.cut, increment.timeout_ms}, session);
  return waited.code == ReplyCode::kOk ? waited : reply;
}

}  // namespace tandem::replica
