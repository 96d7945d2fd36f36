#include "tools/verify_jobs.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "meta/base/hex.h"
#include "meta/base/log.h"
#include "meta/base/replace_file.h"

namespace tandem::tools {
namespace {

using replica::Difference;
using replica::Verifier;
using replica::VerifyLeft;
using replica::VerifyReport;

constexpr int kFormat = 1;
// A client polls several times a second.
constexpr std::chrono::seconds kAbandonedAfter{30};
// How long a client that stops its verify waits for the end, and one that polls, at most.
constexpr std::chrono::seconds kMostEnding{5};
constexpr std::chrono::milliseconds kMostPollWait{200};
// The options that decide what is compared: an interrupted verify goes on with its own.
constexpr const char* kStoredOptions[] = {"paths",      "full", "drop_caches",
                                          "allocation", "hash", "block_size"};

Result<replica::HashAlgorithm> AlgorithmOf(const std::string& name) {
  if (name == "xxh3") return replica::HashAlgorithm::kXxh3;
  if (name == "blake2b") return replica::HashAlgorithm::kBlake2b;
  if (name == "sha256") return replica::HashAlgorithm::kSha256;
  if (name == "md5") return replica::HashAlgorithm::kMd5;
  return MakeError(ErrorKind::kUsage,
                   "verify with hash " + name + ": use xxh3, blake2b, sha256 or md5");
}

Result<std::string> Bytes(const Json& json, const char* key) {
  auto bytes = FromHex(json.value(key, ""));
  if (!bytes) return MakeError(ErrorKind::kProtocol, "a path that is not in hexadecimal");
  return std::move(*bytes);
}

Json Store(const VerifyReport& report, const std::vector<VerifyLeft>& left, const Json& options) {
  Json differences = Json::array();
  for (const Difference& difference : report.differences) {
    differences.push_back({{"kind", difference.kind},
                           {"path", ToHex(difference.path)},
                           {"what", ToHex(difference.what)},
                           {"cut", difference.cut.number()}});
  }
  Json rest = Json::array();
  for (const VerifyLeft& one : left) {
    rest.push_back({{"is", static_cast<int>(one.what)},
                    {"path", ToHex(one.path)},
                    {"object", one.object.id.ToHex()},
                    {"handle", ToHex(one.object.handle.bytes())},
                    {"name", ToHex(one.name)},
                    {"after", ToHex(one.after)},
                    {"up_to", ToHex(one.up_to)},
                    {"offset", one.offset},
                    {"end", one.end}});
  }
  for (const std::string& path : report.unjudged) {
    using What = replica::VerifyItem::What;
    rest.push_back({{"is", static_cast<int>(What::kObject)}, {"path", ToHex(path)}});
  }
  return {{"format", kFormat},
          {"options", options},
          {"objects", report.objects},
          {"bytes", report.bytes},
          {"total_objects", report.total_objects},
          {"total_bytes", report.total_bytes},
          {"differences", differences},
          {"more_differences", report.more_differences},
          {"left", rest}};
}

// What has to be looked at again to see whether the difference is still there.
VerifyLeft AgainOf(const Difference& difference) {
  using What = replica::VerifyItem::What;
  VerifyLeft left{What::kAttributes, difference.path};
  if (difference.kind == "unreadable") {
    left.what = What::kObject;
  } else if (difference.kind == "content" || difference.kind == "allocation") {
    left.what = What::kContent;
  } else if (difference.kind == "name" || difference.kind == "link") {
    const size_t slash = difference.path.rfind('/');
    const bool in_root = slash == std::string::npos;
    left = {What::kName, in_root ? "." : difference.path.substr(0, slash)};
    left.name = in_root ? difference.path : difference.path.substr(slash + 1);
  }
  return left;
}

// With `again`, what had been found is looked at again instead.
Status Restore(const Json& stored, bool again, Verifier::Options& options) {
  VerifyReport& report = options.found_before;
  report.objects = stored.value("objects", uint64_t{0});
  report.bytes = stored.value("bytes", uint64_t{0});
  report.total_objects = stored.value("total_objects", uint64_t{0});
  report.total_bytes = stored.value("total_bytes", uint64_t{0});
  report.more_differences = stored.value("more_differences", size_t{0});
  std::set<std::tuple<int, std::string, std::string>> met;
  for (const Json& one : stored.value("differences", Json::array())) {
    Difference difference;
    difference.kind = one.value("kind", "");
    ASSIGN_OR_RETURN(difference.path, Bytes(one, "path"));
    ASSIGN_OR_RETURN(difference.what, Bytes(one, "what"));
    difference.cut = Epoch(one.value("cut", uint64_t{0}));
    if (again) {
      VerifyLeft left = AgainOf(difference);
      if (!met.emplace(static_cast<int>(left.what), left.path, left.name).second) continue;
      options.left_before.push_back(std::move(left));
    } else {
      report.differences.push_back(std::move(difference));
    }
  }
  for (const Json& one : stored.value("left", Json::array())) {
    VerifyLeft left;
    const int what = one.value("is", 0);
    if (what < 0 || what > static_cast<int>(replica::VerifyItem::What::kContent)) {
      return MakeError(ErrorKind::kCorrupt, "an item of an unknown kind");
    }
    left.what = static_cast<replica::VerifyItem::What>(what);
    ASSIGN_OR_RETURN(left.path, Bytes(one, "path"));
    left.object.id = ObjectId::FromHex(one.value("object", "")).value_or(ObjectId());
    ASSIGN_OR_RETURN(const std::string handle, Bytes(one, "handle"));
    left.object.handle = FileHandle(handle);
    ASSIGN_OR_RETURN(left.name, Bytes(one, "name"));
    ASSIGN_OR_RETURN(left.after, Bytes(one, "after"));
    ASSIGN_OR_RETURN(left.up_to, Bytes(one, "up_to"));
    left.offset = one.value("offset", uint64_t{0});
    left.end = one.value("end", uint64_t{0});
    options.left_before.push_back(std::move(left));
  }
  return {};
}

CondVar::Clock::duration::rep Now() { return CondVar::Clock::now().time_since_epoch().count(); }

}  // namespace

VerifyJobs::~VerifyJobs() {
  std::map<int64_t, Job> jobs;
  {
    MutexLock lock(mutex_);
    std::swap(jobs, jobs_);
  }
  for (auto& [id, job] : jobs) job.verifier->Stop();
  for (auto& [id, job] : jobs) job.thread.join();
}

std::string VerifyJobs::StoredAt(const std::string& replica) const {
  return state_directory_ + "/verify-" + ToHex(replica) + ".json";
}

Result<Json> VerifyJobs::Load(const std::string& replica, const std::string& url) const {
  const std::string path = StoredAt(replica);
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno != ENOENT) return ErrnoError("open " + path);
    return MakeError(ErrorKind::kUsage, "verify --resume: no verify of replica " + replica +
                                            " was interrupted: begin one without --resume");
  }
  std::ostringstream text;
  text << file.rdbuf();
  Json stored = Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (stored.is_object() && stored.value("format", 0) == kFormat) {
    // Those of older versions do not say where.
    if (stored.value("url", url) == url) return stored;
    return MakeError(ErrorKind::kUsage, "verify --resume: the verify of replica " + replica +
                                            " that was interrupted was of another store, at " +
                                            stored.value("url", "") +
                                            ": begin one without --resume");
  }
  return MakeError(ErrorKind::kUsage,
                   "verify --resume: " + path + " cannot be read: begin a verify without --resume");
}

Result<Verifier::Options> VerifyJobs::OptionsFor(const Json& request, const std::string& replica,
                                                 const std::string& url) const {
  Verifier::Options options;
  Json what = request;
  if (request.value("resume", false)) {
    ASSIGN_OR_RETURN(const Json stored, Load(replica, url));
    what = stored.value("options", Json::object());
    const bool repairs = request.value("repair", false);
    if (const auto restored = Restore(stored, repairs, options); !restored) {
      return MakeError(ErrorKind::kUsage, "verify --resume: " + StoredAt(replica) + ": " +
                                              restored.error().ToString() +
                                              ": begin a verify without --resume");
    }
  }
  for (const std::string& path : what.value("paths", std::vector<std::string>())) {
    auto bytes = FromHex(path);
    if (!bytes) return MakeError(ErrorKind::kProtocol, "a path that is not in hexadecimal");
    options.paths.push_back(std::move(*bytes));
  }
  // A stored verify of an older version has compared all content.
  options.full = what.value("full", true);
  options.drop_caches = what.value("drop_caches", false);
  options.allocation = what.value("allocation", false);
  options.block_size = what.value("block_size", options.block_size);
  ASSIGN_OR_RETURN(options.algorithm, AlgorithmOf(what.value("hash", "xxh3")));
  options.repair = request.value("repair", false);
  options.bytes_a_second = request.value("rate", uint64_t{0});
  options.files_a_second = request.value("file_rate", uint64_t{0});
  return options;
}

// Replies with a "job" for each "replica".
Result<Json> VerifyJobs::Start(const Json& request) {
  std::optional<std::string> name;
  if (const auto found = request.find("replica"); found != request.end() && found->is_string()) {
    name = found->get<std::string>();
  }
  ASSIGN_OR_RETURN(const auto senders, replication_.Find(name));
  std::vector<Verifier::Options> options;
  for (const auto& sender : senders) {
    ASSIGN_OR_RETURN(options.emplace_back(), OptionsFor(request, sender->name(), sender->url()));
  }
  Json started = Json::array();
  MutexLock lock(mutex_);
  EndAbandoned();
  for (size_t i = 0; i < senders.size(); ++i) {
    Begin(std::move(options[i]), request, senders[i], started);
  }
  return Json{{"jobs", started}};
}

void VerifyJobs::Begin(Verifier::Options options, const Json& request,
                       std::shared_ptr<replica::Sender> sender, Json& started) {
  Job job;
  job.polled = std::make_shared<std::atomic<CondVar::Clock::duration::rep>>(Now());
  Json stored_options = Json::object();
  for (const char* key : kStoredOptions) {
    if (const auto found = request.find(key); found != request.end()) stored_options[key] = *found;
  }
  if (request.value("resume", false)) {
    if (const auto before = Load(sender->name(), sender->url()))
      stored_options = before->value("options", Json::object());
  }
  // The verifier exists before its thread, and so before the first checkpoint.
  auto verifier = std::make_shared<Verifier*>(nullptr);
  // Parts of a volume are verified quickly: what is left of all of it is not forgotten for them.
  const bool is_part = !request.value("resume", false) && !options.paths.empty();
  options.checkpoint = [verifier, is_part, polled = job.polled, path = StoredAt(sender->name()),
                        url = sender->url(), stored_options](const std::vector<VerifyLeft>& left) {
    const auto idle = CondVar::Clock::duration(Now() - polled->load());
    if (idle > kAbandonedAfter) (*verifier)->Stop();
    if (is_part) return;
    if (left.empty()) {
      (void)unlink(path.c_str());
      return;
    }
    const VerifyReport report = (*verifier)->report(0, std::numeric_limits<size_t>::max());
    Json stored = Store(report, left, stored_options);
    stored["url"] = url;
    const auto written = ReplaceFile(path, Dump(stored), 0600, false);
    if (!written) LogWarning("verify: store what is left: {}", written.error().ToString());
  };
  job.verifier = std::make_shared<Verifier>(std::move(options), tracker_, tree_, *sender);
  *verifier = job.verifier.get();
  job.thread = std::thread([this, running = job.verifier.get(), replica = sender->name()] {
    running->Run();
    const replica::VerifyReport report = running->report(0, 0);
    ended_({{"event", "verify"},
            {"replica", replica},
            {"differences", report.difference_count},
            {"failure", report.error}});
  });
  const int64_t id = next_++;
  started.push_back({{"job", id}, {"replica", sender->name()}});
  job.sender = std::move(sender);
  jobs_.emplace(id, std::move(job));
}

void VerifyJobs::EndAbandoned() {
  for (auto job = jobs_.begin(); job != jobs_.end();) {
    const auto idle = CondVar::Clock::duration(Now() - job->second.polled->load());
    if (idle <= kAbandonedAfter) {
      ++job;
      continue;
    }
    job->second.verifier->Stop();
    if (!job->second.verifier->report(0, 0).finished) {  // it may wait for its replica
      ++job;
      continue;
    }
    job->second.thread.join();
    job = jobs_.erase(job);
  }
}

// Replies with the counts, and "limit" of the "differences" from "skip" on. "jobs" are all that the
// client has begun. If there is none to reply with, waits up to "wait_ms" for the end of the
// verify.
Result<Json> VerifyJobs::Poll(const Json& request) {
  std::shared_ptr<Verifier> verifier;
  {
    MutexLock lock(mutex_);
    const auto job = jobs_.find(request.value("job", int64_t{0}));
    if (job == jobs_.end()) return MakeError(ErrorKind::kProtocol, "no such verify job");
    // A client awaits one after the other.
    for (const int64_t id : request.value("jobs", std::vector<int64_t>())) {
      if (const auto one = jobs_.find(id); one != jobs_.end()) one->second.polled->store(Now());
    }
    job->second.polled->store(Now());
    verifier = job->second.verifier;
  }
  const auto skip = request.value("skip", size_t{0});
  const auto limit = request.value("limit", size_t{0});
  const std::chrono::milliseconds wait(request.value("wait_ms", uint16_t{0}));
  if (limit == 0 || verifier->report(skip, 0).difference_count <= skip) {
    verifier->WaitUntilFinished(CondVar::Clock::now() + std::min(wait, kMostPollWait));
  }
  const VerifyReport report = verifier->report(skip, limit);
  Json differences = Json::array();
  for (const Difference& difference : report.differences) {
    Json one = {{"kind", difference.kind},
                {"path", replica::Printable(difference.path)},
                {"what", difference.what},
                {"repaired", difference.repaired}};
    if (difference.cut != Epoch()) one["cut"] = difference.cut.number();
    differences.push_back(std::move(one));
  }
  Json unjudged = Json::array();
  for (const std::string& path : report.unjudged) unjudged.push_back(replica::Printable(path));
  return Json{{"objects", report.objects},
              {"bytes", report.bytes},
              {"total_objects", report.total_objects},
              {"total_bytes", report.total_bytes},
              {"full", verifier->full()},
              {"finished", report.finished},
              {"failure", report.error},
              {"difference_count", report.difference_count},
              {"more_differences", report.more_differences},
              {"differences", differences},
              {"unjudged", unjudged}};
}

// Ends the job, if it is not at its end, and forgets it. One that waits for an answer of its
// replica ends later.
Result<Json> VerifyJobs::Stop(const Json& request) {
  const int64_t id = request.value("job", int64_t{0});
  std::shared_ptr<Verifier> verifier;
  {
    MutexLock lock(mutex_);
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) return MakeError(ErrorKind::kProtocol, "no such verify job");
    verifier = found->second.verifier;
    found->second.polled->store(0);  // nobody asks for it any more
  }
  verifier->Stop();
  if (!verifier->WaitUntilFinished(CondVar::Clock::now() + kMostEnding)) return Json{{"ok", true}};
  MutexLock lock(mutex_);
  const auto found = jobs_.find(id);
  if (found != jobs_.end()) {  // another client may have stopped it
    found->second.thread.join();
    jobs_.erase(found);
  }
  return Json{{"ok", true}};
}

}  // namespace tandem::tools
