// The server side of tools/control.h in a running tandemfs: answers status, sync, verify, reload,
// events, history and those of tools/control_settings.h, and ends this tandemfs if another one
// takes over. Requests are answered on the server's own threads. Everything in Served must outlive
// it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fs/writable_files.h"
#include "meta/base/unique_fd.h"
#include "meta/capture/tracker.h"
#include "meta/source/source_tree.h"
#include "replica/source/replication.h"
#include "tools/control.h"
#include "tools/status/events.h"
#include "tools/status/history.h"
#include "tools/unix_server.h"
#include "tools/verify_jobs.h"

namespace tandem::tools {

class ControlServer {
 public:
  struct Served {
    std::string volume;
    std::string source;
    std::string mountpoint;
    int source_mount = 0;  // its id in the mount table
    // Null without capture: then status says so, and other requests are refused.
    meta::Tracker* tracker = nullptr;
    const meta::SourceTree* tree = nullptr;
    replica::Replication* replication = nullptr;
    std::string state_directory;
    std::function<bool()> over_io_uring;
    std::function<fs::WritableFiles()> writable_files;
    // Starts a clean end of this tandemfs. Returns at once.
    std::function<void()> end;
    // Reads the configuration file again (tools/config/reload.h).
    std::function<Result<Json>()> reload;
  };

  // Makes the socket. Clients wait until Serve is called.
  static Result<std::unique_ptr<ControlServer>> Listen(Served served);
  // Starts to answer. Called once, when the mount is in its place: a client that was answered finds
  // the mount, and not what it covers.
  void Serve() { socket_->Serve(); }
  ~ControlServer();

 private:
  explicit ControlServer(Served served) : served_(std::move(served)) {}
  std::string Answer(std::string_view request);
  Result<Json> Dispatch(const Json& request);
  Json Status();
  Result<Json> Sync(const Json& request);
  Json ReadEvents(const Json& request);
  Json ReadHistory();

  const Served served_;
  std::string socket_path_;
  UniqueFd lock_;
  std::unique_ptr<Events> events_;  // null without capture, as these
  std::unique_ptr<History> history_;
  std::unique_ptr<VerifyJobs> verifies_;
  std::unique_ptr<UnixServer> socket_;
};

}  // namespace tandem::tools
