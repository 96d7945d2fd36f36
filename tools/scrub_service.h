// Answers requests about scrubs of a store. They are those of tools/control.h: JSON objects with
// "op". In a running tandemd they come over STORE/.control.sock, which only the store's
// owner and root may use; `tandemd scrub` on a store that no daemon has asks itself.
//
//   {"op": "volumes"}                                 -> {"volumes": [NAME, ...]}
//   {"op": "scrub", "volume": NAME, "rate": BYTES, "unknown": BOOL} -> {"job": ID}
//   {"op": "scrub-poll", "job": ID, "skip": N, "limit": N} -> the report so far
//   {"op": "scrub-stop", "job": ID}                   -> {"ok": true}
// NAME is VOLUME, or ACCOUNT/VOLUME.
//
// Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "meta/base/result.h"
#include "replica/store/scrub_jobs.h"
#include "replica/store/store.h"
#include "tools/control.h"
#include "tools/unix_server.h"

namespace tandem::tools {

class ScrubService {
 public:
  // Both are borrowed, and outlive it.
  ScrubService(replica::Store& store, replica::ScrubJobs& jobs) : store_(store), jobs_(jobs) {}

  Result<Json> Answer(const Json& request);
  // Returns a server that answers at the store's socket.
  Result<std::unique_ptr<UnixServer>> Listen(const std::string& store_path);

 private:
  Result<Json> Volumes();
  Result<Json> Start(const Json& request);
  Result<Json> Poll(const Json& request);
  std::string AnswerText(std::string_view request);

  replica::Store& store_;
  replica::ScrubJobs& jobs_;
};

// Asks the tandemd that has this store. Fails with kUnreachable if none answers, and with the
// reply's "error" if it has one.
Result<Json> AskStore(const std::string& store_path, const Json& request,
                      std::chrono::milliseconds patience);

}  // namespace tandem::tools
