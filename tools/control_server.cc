#include "tools/control_server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <optional>

#include "meta/base/hex.h"
#include "meta/base/log.h"
#include "meta/base/mount_table.h"
#include "tools/flush_files.h"

namespace tandem::tools {
namespace {

std::optional<std::string> ReplicaOf(const Json& request) {
  const auto found = request.find("replica");
  if (found == request.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

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
      {"error", status.error},
  };
  if (!status.notice.empty()) json["notice"] = status.notice;
  if (status.objects_walked != 0) {
    json["progress"] = {{"objects", status.objects_walked}, {"bytes", status.bytes_walked}};
  }
  return json;
}

Result<replica::HashAlgorithm> AlgorithmOf(const std::string& name) {
  if (name == "xxh3") return replica::HashAlgorithm::kXxh3;
  if (name == "blake2b") return replica::HashAlgorithm::kBlake2b;
  if (name == "sha256") return replica::HashAlgorithm::kSha256;
  if (name == "md5") return replica::HashAlgorithm::kMd5;
  return MakeError(ErrorKind::kUsage,
                   "verify with hash " + name + ": use xxh3, blake2b, sha256 or md5");
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::Start(Served served) {
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(/*create=*/true));
  std::unique_ptr<ControlServer> server(new ControlServer(std::move(served)));
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
  socket_.reset();
  std::map<int64_t, VerifyJob> jobs;
  {
    MutexLock lock(mutex_);
    std::swap(jobs, jobs_);
  }
  for (auto& [id, job] : jobs) job.verifier->Stop();
  for (auto& [id, job] : jobs) job.thread.join();
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
  if (served_.tracker == nullptr) {
    return MakeError(ErrorKind::kUsage, served_.mountpoint + " is mounted with --no-capture");
  }
  if (op == "newest") return Json{{"epoch", served_.tracker->NewestChange().number()}};
  if (op == "sync") return Sync(request);
  if (op == "pause") return SetPaused(request, true);
  if (op == "resume") return SetPaused(request, false);
  if (op == "verify") return StartVerify(request);
  if (op == "verify-poll") return PollVerify(request);
  if (op == "verify-stop") return StopVerify(request);
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
    status["epoch"] = served_.tracker->open_epoch().number();
    status["synced_cut"] = served_.tracker->synced().number();
    status["hot_objects"] = served_.tracker->hot_objects();
    const auto replicas = served_.replication->Statuses();
    if (replicas.empty()) pending = served_.tracker->PendingAfter(Epoch());
    for (const auto& replica : replicas) {
      pending.RaiseTo(replica.pending);
      status["replicas"].push_back(ToJson(replica));
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

Result<Json> ControlServer::Sync(const Json& request) {
  const auto deadline =
      CondVar::Clock::now() + std::chrono::milliseconds(request.value("timeout_ms", 1000));
  RETURN_IF_ERROR(served_.replication->WaitUntilApplied(
      ReplicaOf(request), Epoch(request.value("epoch", uint64_t{0})), deadline));
  return Json{{"ok", true}};
}

Result<Json> ControlServer::SetPaused(const Json& request, bool paused) {
  RETURN_IF_ERROR(served_.replication->SetPaused(ReplicaOf(request), paused));
  return Json{{"ok", true}};
}

Result<Json> ControlServer::StartVerify(const Json& request) {
  ASSIGN_OR_RETURN(const auto senders, served_.replication->Find(ReplicaOf(request)));
  replica::Verifier::Options options;
  for (const std::string& path : request.value("paths", std::vector<std::string>())) {
    auto bytes = FromHex(path);
    if (!bytes) return MakeError(ErrorKind::kProtocol, "a path that is not in hexadecimal");
    options.paths.push_back(std::move(*bytes));
  }
  options.full = request.value("full", false);
  options.repair = request.value("repair", false);
  options.block_size = request.value("block_size", options.block_size);
  ASSIGN_OR_RETURN(options.algorithm, AlgorithmOf(request.value("hash", "xxh3")));
  Json jobs = Json::array();
  MutexLock lock(mutex_);
  for (replica::Sender* sender : senders) {
    VerifyJob job;
    job.verifier =
        std::make_unique<replica::Verifier>(options, *served_.tracker, *served_.tree, *sender);
    job.thread = std::thread([verifier = job.verifier.get()] { verifier->Run(); });
    const int64_t id = next_job_++;
    jobs_.emplace(id, std::move(job));
    jobs.push_back({{"job", id}, {"replica", sender->name()}});
  }
  return Json{{"jobs", jobs}};
}

Result<Json> ControlServer::PollVerify(const Json& request) {
  replica::VerifyReport report;
  {
    MutexLock lock(mutex_);
    const auto job = jobs_.find(request.value("job", int64_t{0}));
    if (job == jobs_.end()) return MakeError(ErrorKind::kProtocol, "no such verify job");
    report = job->second.verifier->report(request.value("skip", size_t{0}),
                                          request.value("limit", size_t{0}));
  }
  Json differences = Json::array();
  for (const replica::Difference& difference : report.differences) {
    differences.push_back({{"kind", difference.kind},
                           {"path", replica::Printable(difference.path)},
                           {"what", difference.what},
                           {"repaired", difference.repaired}});
  }
  Json unjudged = Json::array();
  for (const std::string& path : report.unjudged) unjudged.push_back(replica::Printable(path));
  Json reply = {{"objects", report.objects},   {"bytes", report.bytes},
                {"finished", report.finished}, {"failure", report.error},
                {"differences", differences},  {"unjudged", unjudged}};
  return reply;
}

Result<Json> ControlServer::StopVerify(const Json& request) {
  VerifyJob job;
  {
    MutexLock lock(mutex_);
    auto found = jobs_.extract(request.value("job", int64_t{0}));
    if (found.empty()) return MakeError(ErrorKind::kProtocol, "no such verify job");
    job = std::move(found.mapped());
  }
  job.verifier->Stop();
  job.thread.join();
  return Json{{"ok", true}};
}

}  // namespace tandem::tools
