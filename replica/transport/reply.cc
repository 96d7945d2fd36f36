// The answering side: one nng REP socket, and a context and a thread for each worker.
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/ipc/ipc.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <thread>
#include <unordered_map>

#include "meta/base/log.h"
#include "meta/base/mutex.h"
#include "replica/transport/nng_handles.h"
#include "replica/transport/transport.h"
#include "replica/transport/tuning.h"

namespace tandem::replica {
namespace {

// Returns true if the peer is another user than ours, root excepted. The socket's mode admits such
// a user only with CAP_DAC_OVERRIDE.
bool IsOtherUser(nng_pipe pipe) {
  uint64_t user = 0;
  if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &user) != 0) return false;  // not ipc
  return user != 0 && user != geteuid();
}

// The open connections.
class ConnectionTable {
 public:
  // Returns a closed connection if the pipe has ended already.
  ConnectionRef Find(nng_pipe pipe) {
    MutexLock lock(mutex_);
    const auto found = connections_.find(nng_pipe_id(pipe));
    if (found != connections_.end()) return found->second;
    auto gone = std::make_shared<Connection>();
    gone->NoteClosed();
    return gone;
  }

  // Called on a thread of nng.
  static void OnPipe(nng_pipe pipe, nng_pipe_ev event, void* argument) {
    if (event == NNG_PIPE_EV_ADD_PRE && IsOtherUser(pipe)) {
      nng_pipe_close(pipe);
      return;
    }
    auto& table = *static_cast<ConnectionTable*>(argument);
    const int id = nng_pipe_id(pipe);
    MutexLock lock(table.mutex_);
    if (event == NNG_PIPE_EV_ADD_PRE) {  // before the first message
      table.connections_[id] = std::make_shared<Connection>();
    } else if (const auto found = table.connections_.find(id); found != table.connections_.end()) {
      found->second->NoteClosed();
      table.connections_.erase(found);
    }
  }

 private:
  Mutex mutex_;
  std::unordered_map<int, std::shared_ptr<Connection>> connections_ GUARDED_BY(mutex_);
};

class NngReplySocket final : public ReplySocket {
 public:
  NngReplySocket(int workers, size_t max_message_bytes, ConnectionHandler handler)
      : max_workers_(workers),
        max_message_bytes_(max_message_bytes),
        handler_(std::move(handler)) {}

  // The workers end before the socket, and all calls on contexts end with them.
  ~NngReplySocket() override {
    std::vector<std::unique_ptr<Worker>> workers;
    {
      // Workers start other workers with mutex_ held, and only while this is not set.
      MutexLock lock(mutex_);
      closing_ = true;
      workers.swap(workers_);
    }
    for (const auto& worker : workers) nng_aio_stop(worker->aio.handle);
    for (const auto& worker : workers) worker->thread.join();
  }

  Status Start(const std::vector<std::string>& urls) {
    if (const int code = nng_rep0_open(&socket_.handle); code != 0) {
      return NngError(code, "open socket");
    }
    socket_.opened = true;
    socket_.keep = connections_;
    nng_socket_set_size(socket_.handle, NNG_OPT_RECVMAXSZ, max_message_bytes_);
    for (const nng_pipe_ev event : {NNG_PIPE_EV_ADD_PRE, NNG_PIPE_EV_REM_POST}) {
      nng_pipe_notify(socket_.handle, event, ConnectionTable::OnPipe, connections_.get());
    }
    for (const std::string& url : urls) {
      RETURN_IF_ERROR(ListenOn(url));
    }
    MutexLock lock(mutex_);
    for (int i = 0; i < std::min(kFirstWorkers, max_workers_); ++i) {
      RETURN_IF_ERROR(AddWorker());
    }
    return {};
  }

  std::vector<std::string> urls() const override { return urls_; }

 private:
  Status ListenOn(const std::string& url) {
    const std::string what = "listen on " + url;
    nng_listener listener;
    int code = nng_listener_create(&listener, socket_.handle, url.c_str());
    if (code != 0) return NngError(code, what);
    (void)nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
    // Transports other than ipc refuse this option.
    (void)nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, 0600);
    code = nng_listener_start(listener, 0);
    if (code != 0) return NngError(code, what);
    char* actual = nullptr;
    if (nng_listener_get_string(listener, NNG_OPT_URL, &actual) == 0) {
      urls_.emplace_back(actual);
      nng_strfree(actual);
    } else {
      urls_.push_back(url);
    }
    return {};
  }

  struct Worker {
    NngContext context;
    NngAio aio;  // used for everything the worker does, so stopping it stops the worker
    std::thread thread;
  };

  Status AddWorker() REQUIRES(mutex_) {
    auto worker = std::make_unique<Worker>();
    if (const int code = worker->context.Open(socket_.handle); code != 0) {
      return NngError(code, "add a worker");
    }
    if (const int code = worker->aio.Open(nullptr, nullptr); code != 0) {
      return NngError(code, "add a worker");
    }
    ++idle_;
    worker->thread = std::thread(&NngReplySocket::Serve, this, std::ref(*worker));
    workers_.push_back(std::move(worker));
    return {};
  }

  // Adds a worker when the last idle one takes a request. So requests that wait (WaitApplied) never
  // keep others from being served, up to the limit on workers.
  void BecomeBusy() {
    MutexLock lock(mutex_);
    if (--idle_ > 0 || closing_ || static_cast<int>(workers_.size()) >= max_workers_) return;
    if (const auto added = AddWorker(); !added) LogWarning("{}", added.error().ToString());
  }

  bool closing() {
    MutexLock lock(mutex_);
    return closing_;
  }

  void Serve(Worker& worker) {
    nng_aio* const aio = worker.aio.handle;
    while (!closing()) {
      nng_aio_set_timeout(aio, NNG_DURATION_INFINITE);
      nng_ctx_recv(worker.context.handle, aio);
      nng_aio_wait(aio);
      // The aio was stopped, or a connection broke. A stopped aio has no valid result, so closing()
      // is checked first.
      if (closing()) return;
      if (nng_aio_result(aio) != 0) continue;
      NngMessage request(nng_aio_get_msg(aio));
      nng_aio_set_msg(aio, nullptr);
      BecomeBusy();
      const ConnectionRef connection = connections_->Find(nng_msg_get_pipe(request.get()));
      NngMessage reply = Handle(request.bytes(), connection);
      if (reply.get() != nullptr && !closing()) SendReply(worker, std::move(reply));
      MutexLock lock(mutex_);
      ++idle_;
    }
  }

  NngMessage Handle(std::string_view request, const ConnectionRef& connection) {
    try {
      auto message = NngMessage::From(handler_(request, connection));
      if (message && message->bytes().size() <= max_message_bytes_) return std::move(*message);
      LogError("drop a reply: it is larger than a message may be");
    } catch (const std::exception& e) {
      LogError("drop a request: the handler threw: {}", e.what());
    }
    return NngMessage();
  }

  void SendReply(Worker& worker, NngMessage reply) {
    nng_aio* const aio = worker.aio.handle;
    nng_aio_set_msg(aio, reply.get());
    nng_aio_set_timeout(aio, kReplyTimeoutMs);
    nng_ctx_send(worker.context.handle, aio);
    nng_aio_wait(aio);
    // nng owns the message unless sending failed; a peer that has gone asks again. If the aio was
    // stopped, nng may not have taken the message at all, whatever the result.
    const bool sent = nng_aio_result(aio) == 0 && nng_aio_get_msg(aio) == nullptr;
    if (sent) (void)reply.Release();
    nng_aio_set_msg(aio, nullptr);
  }

  const int max_workers_;
  const size_t max_message_bytes_;
  const ConnectionHandler handler_;
  const std::shared_ptr<ConnectionTable> connections_ = std::make_shared<ConnectionTable>();
  std::vector<std::string> urls_;
  NngSocket socket_;
  Mutex mutex_;
  int idle_ GUARDED_BY(mutex_) = 0;
  bool closing_ GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Worker>> workers_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<ReplySocket>> ReplySocket::Listen(const std::vector<std::string>& urls,
                                                         int workers, size_t max_message_bytes,
                                                         ConnectionHandler handler) {
  auto socket = std::make_unique<NngReplySocket>(workers, max_message_bytes, std::move(handler));
  RETURN_IF_ERROR(socket->Start(urls));
  return socket;
}

Result<std::unique_ptr<ReplySocket>> ReplySocket::Listen(const std::vector<std::string>& urls,
                                                         int workers, size_t max_message_bytes,
                                                         Handler handler) {
  return Listen(urls, workers, max_message_bytes,
                ConnectionHandler([handler = std::move(handler)](std::string_view request,
                                                                 const ConnectionRef& connection) {
                  (void)connection;
                  return handler(request);
                }));
}

}  // namespace tandem::replica
