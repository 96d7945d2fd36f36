// The verifies that run in a tandemfs, one for each replica, and what is stored of one that was
// interrupted: STATE/verify-ID.json, where ID is the replica's name in hexadecimal. It has the
// options, what was found, and what is left, and is removed when a verify of that replica has come
// to its end.
//
// A client polls its job. If it no longer does (it was killed), the job stops.
//
// Any thread. Borrows what it is given, which outlives it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "meta/base/mutex.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "replica/source/replication.h"
#include "replica/source/verifier.h"
#include "tools/control.h"

namespace tandem::tools {

class VerifyJobs {
 public:
  // `ended` is called with an event for each verify that has ended, by its thread.
  VerifyJobs(meta::Tracker& tracker, const meta::SourceTree& tree,
             replica::Replication& replication, std::string state_directory,
             std::function<void(Json)> ended)
      : tracker_(tracker),
        tree_(tree),
        replication_(replication),
        state_directory_(std::move(state_directory)),
        ended_(std::move(ended)) {}
  // Stops all of them.
  ~VerifyJobs();

  // Requests of `tandem verify`. The replies are described where they are made.
  Result<Json> Start(const Json& request) EXCLUDES(mutex_);
  Result<Json> Poll(const Json& request) EXCLUDES(mutex_);
  Result<Json> Stop(const Json& request) EXCLUDES(mutex_);

 private:
  struct Job {
    std::shared_ptr<replica::Sender> sender;
    std::shared_ptr<replica::Verifier> verifier;
    // Of the last poll, in CondVar::Clock's ticks. Shared with the verifier's thread.
    std::shared_ptr<std::atomic<CondVar::Clock::duration::rep>> polled;
    std::thread thread;
  };

  std::string StoredAt(const std::string& replica) const;
  Result<Json> Load(const std::string& replica, const std::string& url) const;
  Result<replica::Verifier::Options> OptionsFor(const Json& request, const std::string& replica,
                                                const std::string& url) const;
  void Begin(replica::Verifier::Options options, const Json& request,
             std::shared_ptr<replica::Sender> sender, Json& started) REQUIRES(mutex_);
  void EndAbandoned() REQUIRES(mutex_);

  meta::Tracker& tracker_;
  const meta::SourceTree& tree_;
  replica::Replication& replication_;
  const std::string state_directory_;
  const std::function<void(Json)> ended_;

  Mutex mutex_;
  int64_t next_ GUARDED_BY(mutex_) = 1;
  std::map<int64_t, Job> jobs_ GUARDED_BY(mutex_);
};

}  // namespace tandem::tools
