#include "tools/control_server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "meta/base/log.h"
#include "meta/base/mount_table.h"
#include "tools/control_settings.h"
#include "tools/flush_files.h"

namespace tandem::tools {
namespace {

Json ToJson(const meta::PendingCounts& pending) {
  return {{"bytes", pending.bytes},
          {"ranges", pending.ranges},
          {"entries", pending.entries},
          {"objects", pending.objects}};
}

Json ToJson(const replica::ReplicaStatus& status) {
  Json json = {
      {"name", status.name},
      {"url", status.url},
      {"state", replica::NameOf(status.state)},
      {"durable_cut", status.durable.epoch.number()},
      {"applied_cut", status.applied.epoch.number()},
      {"pending", ToJson(status.pending)},
      {"lag_seconds", status.lag_seconds},
      {"sent_bytes", status.sent_bytes},
      {"received_bytes", status.received_bytes},
      {"content",
       {{"plain", status.content.plain},
        {"delta", status.content.delta},
        {"copied", status.content.copied},
        {"compressed", status.content.compressed}}},
      {"error", status.error},
  };
  if (!status.bandwidth.empty()) json["bwlimit"] = status.bandwidth;
  if (status.paused_until != 0) json["paused_until"] = status.paused_until;
  if (!status.notice.empty()) json["notice"] = status.notice;
  if (status.objects_walked != 0) {
    json["progress"] = {{"objects", status.objects_walked}, {"bytes", status.bytes_walked}};
  }
  return json;
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::Listen(Served served) {
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(/*create=*/true));
  std::unique_ptr<ControlServer> server(new ControlServer(std::move(served)));
  const Served& to_serve = server->served_;
  if (to_serve.tracker != nullptr) {
    replica::Replication& replication = *to_serve.replication;
    server->events_ = std::make_unique<Events>();
    Events& events = *server->events_;
    server->history_ =
        std::make_unique<History>([&replication] { return replication.Glance(); },
                                  [&events](const auto& statuses) { events.Observe(statuses); });
    server->verifies_ = std::make_unique<VerifyJobs>(
        *to_serve.tracker, *to_serve.tree, replication, to_serve.state_directory,
        [&events](Json event) { events.Add(std::move(event)); });
  }
  server->socket_path_ = ControlSocket(directory, server->served_.mountpoint);
  const std::string lock = ControlLock(server->socket_path_);
  server->lock_.Reset(open(lock.c_str(), O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!server->lock_.valid()) return ErrnoError("open " + lock);
  // No other tandemfs has this mountpoint, but a client may be testing the lock.
  if (flock(server->lock_.get(), LOCK_EX) != 0) return ErrnoError("lock " + lock);
  unlink(server->socket_path_.c_str());  // left behind by a killed tandemfs
  ControlServer* self = server.get();
  ASSIGN_OR_RETURN(server->socket_, UnixServer::Listen(server->socket_path_, UnixServer::Limits(),
                                                       [self](std::string_view request) {
                                                         return self->Answer(request);
                                                       }));
  return server;
}

ControlServer::~ControlServer() {
  if (events_ != nullptr) events_->Stop();
  socket_.reset();
  verifies_.reset();
  unlink(socket_path_.c_str());
  unlink(ControlLock(socket_path_).c_str());
}

std::string ControlServer::Answer(std::string_view request) {
  const Json parsed = Json::parse(request, nullptr, /*allow_exceptions=*/false);
  Result<Json> reply = [&]() -> Result<Json> {
    try {
      if (!parsed.is_object())
        return MakeError(ErrorKind::kProtocol, "the request is not an object");
      return Dispatch(parsed);
    } catch (const Json::exception& e) {
      return MakeError(ErrorKind::kProtocol, e.what());
    }
  }();
  if (reply) return Dump(*reply);
  Json error = {{"error", reply.error().ToString()}};
  if (reply.error().kind() == ErrorKind::kUsage) error["kind"] = "usage";
  if (reply.error().kind() == ErrorKind::kGivenUp) error["kind"] = "in vain";
  return Dump(error);
}

Result<Json> ControlServer::Dispatch(const Json& request) {
  const std::string op = request.value("op", "");
  if (op == "status") return Status();
  if (op == "held") return ToJson(served_.writable_files());
  if (op == "end") {
    LogInfo("another tandemfs takes over {}: stopping", served_.mountpoint);
    served_.end();
    return Json{{"ok", true}};
  }
  if (op == "reload") return served_.reload();
  if (served_.tracker == nullptr) {
    return MakeError(ErrorKind::kUsage, served_.mountpoint + " is mounted with --no-capture");
  }
  if (op == "newest") return Json{{"epoch", served_.tracker->NewestChange().number()}};
  if (op == "sync") return Sync(request);
  if (op == "events") return ReadEvents(request);
  if (op == "history") return ReadHistory();
  if (op == "verify") return verifies_->Start(request);
  if (op == "verify-poll") return verifies_->Poll(request);
  if (op == "verify-stop") return verifies_->Stop(request);
  if (auto changed = ChangeSettings(op, request, *served_.replication)) return *std::move(changed);
  return MakeError(ErrorKind::kProtocol, "no such operation: " + op);
}

Json ControlServer::Status() {
  Json status = {
      {"volume", served_.volume},
      {"source", served_.source},
      {"mountpoint", served_.mountpoint},
      {"capture", served_.tracker != nullptr},
      {"makes_room", true},  // can be taken over from: tools/take_over.h
      {"epoch", 0},
      {"hot_objects", 0},
      {"replicas", Json::array()},
  };
  meta::PendingCounts pending;
  if (served_.tracker != nullptr) {
    status["interval_ms"] = served_.replication->interval().count();
    status["epoch"] = served_.tracker->open_epoch().number();
    status["synced_cut"] = served_.tracker->synced().number();
    status["hot_objects"] = served_.tracker->hot_objects();
    const auto replicas = served_.replication->Statuses();
    if (replicas.empty()) pending = served_.tracker->PendingAfter(Epoch());
    for (const auto& replica : replicas) {
      pending.RaiseTo(replica.pending);
      Json json = ToJson(replica);
      const History::Summary summary = history_->Summarize(replica);
      json["rate_bytes"] = static_cast<uint64_t>(summary.rate);
      json["worst_lag_hour"] = summary.worst_lag;
      if (summary.eta >= 0) json["eta_seconds"] = static_cast<uint64_t>(summary.eta);
      status["replicas"].push_back(std::move(json));
    }
  }
  status["io_uring"] = served_.over_io_uring();
  // Best effort: the mount table may change at any time.
  if (const auto below = MountsBelow(served_.source_mount, served_.source)) {
    status["not_replicated"] = *below;
  }
  status["pending"] = ToJson(pending);
  return status;
}

// {"op":"events","from":N,"timeout_ms":N}: replies with the "events" from number "from" on, or, if
// it is missing, with those to come; with the "next" number; and with the applied cut of each
// replica. States are looked at once a second while somebody asks.
Json ControlServer::ReadEvents(const Json& request) {
  constexpr std::chrono::milliseconds kLook{1000};
  constexpr int kMostWaitMs = 30'000;
  const auto now = CondVar::Clock::now();
  const auto deadline =
      now + std::chrono::milliseconds(std::clamp(request.value("timeout_ms", 0), 0, kMostWaitMs));
  const uint64_t from = request.value("from", events_->next());
  Events::Read read;
  do {
    events_->Observe(served_.replication->Glance());
    read = events_->Wait(from, std::min(deadline, CondVar::Clock::now() + kLook));
  } while (read.events.empty() && !read.stopped && CondVar::Clock::now() < deadline);
  Json cuts = Json::object();
  for (const auto& status : served_.replication->Glance()) {
    cuts[status.name] = status.applied.epoch.number();
  }
  return {{"events", read.events}, {"next", read.next}, {"cuts", cuts}};
}

// Replies with what tools/status/history.h keeps of each replica: [time, lag in seconds, bytes sent
// in all, bytes pending].
Json ControlServer::ReadHistory() {
  const auto to_json = [](const std::deque<History::Sample>& samples) {
    Json rows = Json::array();
    for (const History::Sample& sample : samples) {
      rows.push_back({sample.time, sample.lag_seconds, sample.sent_bytes, sample.pending_bytes});
    }
    return rows;
  };
  Json replicas = Json::array();
  for (const meta::ReplicaRecord& record : served_.replication->Records()) {
    const History::OfReplica kept = history_->Of(record.name);
    replicas.push_back(
        {{"name", record.name}, {"hour", to_json(kept.hour)}, {"day", to_json(kept.day)}});
  }
  return {{"replicas", replicas}};
}

Result<Json> ControlServer::Sync(const Json& request) {
  const auto deadline =
      CondVar::Clock::now() + std::chrono::milliseconds(request.value("timeout_ms", 1000));
  RETURN_IF_ERROR(served_.replication->WaitUntilApplied(
      ReplicaOf(request), Epoch(request.value("epoch", uint64_t{0})), deadline));
  return Json{{"ok", true}};
}

}  // namespace tandem::tools
