// The asking side: one nng REQ socket, one dialer, one context a call.
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "meta/base/mutex.h"
#include "replica/messages.h"
#include "replica/nng_handles.h"
#include "replica/transport.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxReplyBytes = kMaxMessageBytes;
constexpr nng_duration kReconnectFirst = 100;
constexpr nng_duration kReconnectLast = 5000;
// nng sends a request again when its connection ends. This timer is for replies that get lost on a
// living connection, which REP does not do; were it short, a slow link would carry everything
// twice.
constexpr nng_duration kResend = 10 * 60 * 1000;
// A call that times out on a connection that has been silent for so long takes it for dead (a
// pulled cable, a firewall that drops): TCP itself would need a quarter of an hour to notice.
constexpr milliseconds kSilence{5000};

// Connection and traffic of one socket, shared with nng's threads.
struct Link {
  std::atomic<int> pipes{0};
  std::atomic<uint64_t> connections{0};  // ever
  std::atomic<uint32_t> pipe_id{0};
  std::atomic<uint64_t> sent{0};
  std::atomic<uint64_t> received{0};
  std::atomic<int64_t> heard_ms{0};

  static int64_t NowMs() {
    return std::chrono::duration_cast<milliseconds>(Clock::now().time_since_epoch()).count();
  }
  void Heard() { heard_ms = NowMs(); }
  void CloseIfSilent() {
    if (NowMs() - heard_ms < kSilence.count()) return;
    nng_pipe pipe = NNG_PIPE_INITIALIZER;
    pipe.id = pipe_id;
    if (pipe.id != 0) nng_pipe_close(pipe);
  }
};

void OnPipe(nng_pipe pipe, nng_pipe_ev event, void* argument) {
  auto* link = static_cast<Link*>(argument);
  if (event == NNG_PIPE_EV_ADD_POST) {
    link->Heard();
    link->pipe_id = pipe.id;
    ++link->connections;
    ++link->pipes;
  } else if (event == NNG_PIPE_EV_REM_POST) {
    uint32_t mine = pipe.id;
    link->pipe_id.compare_exchange_strong(mine, 0);
    --link->pipes;
  }
}

class NngCall;

// The calls of one socket that are under way, so that they can be ended.
class CallList {
 public:
  // False once Close has been called.
  bool Add(NngCall* call) {
    MutexLock lock(mutex_);
    if (!closed_) calls_.insert(call);
    return !closed_;
  }
  void Remove(NngCall* call) {
    MutexLock lock(mutex_);
    calls_.erase(call);
  }
  void Close();

 private:
  Mutex mutex_;
  bool closed_ GUARDED_BY(mutex_) = false;
  std::unordered_set<NngCall*> calls_ GUARDED_BY(mutex_);
};

// Sends, then receives, on one aio: nng calls OnDone at the end of each.
class NngCall final : public RequestSocket::Call {
 public:
  NngCall(Link& link, CallList& calls, milliseconds timeout)
      : link_(link), calls_(calls), deadline_(Clock::now() + timeout) {}
  ~NngCall() override {
    calls_.Remove(this);
    aio_.Free();
  }

  Status Start(nng_socket socket, NngMessage request) {
    if (!calls_.Add(this)) return NngError(NNG_ECLOSED, "start request");
    if (const int code = context_.Open(socket); code != 0) return NngError(code, "start request");
    if (const int code = aio_.Open(&NngCall::OnDone, this); code != 0) {
      return NngError(code, "start request");
    }
    sent_bytes_ = request.bytes().size();
    nng_aio_set_msg(aio_.handle, request.Release());
    SetTimeout();
    nng_ctx_send(context_.handle, aio_.handle);
    return {};
  }

  // Wait returns at once; what is under way ends with the call.
  void Cancel() { Finish(NNG_ECLOSED, {}); }

  Result<std::string> Wait() override {
    MutexLock lock(mutex_);
    while (!done_) changed_.Wait(mutex_);
    if (code_ != 0) return NngError(code_, "ask peer");
    return std::move(answer_);
  }

 private:
  enum class Phase { kSending, kReceiving };

  static void OnDone(void* argument) { static_cast<NngCall*>(argument)->Advance(); }

  void Advance() {
    const int code = nng_aio_result(aio_.handle);
    if (phase_ == Phase::kSending) {
      if (code != 0) {
        // Not sent: the message is still ours.
        const NngMessage unsent(nng_aio_get_msg(aio_.handle));
        return Finish(code, {});
      }
      link_.sent += sent_bytes_;
      phase_ = Phase::kReceiving;
      SetTimeout();
      return nng_ctx_recv(context_.handle, aio_.handle);
    }
    if (code != 0) {
      if (code == NNG_ETIMEDOUT) link_.CloseIfSilent();
      return Finish(code, {});
    }
    NngMessage reply(nng_aio_get_msg(aio_.handle));
    link_.Heard();
    link_.received += reply.bytes().size();
    Finish(0, std::string(reply.bytes()));
  }

  void Finish(int code, std::string answer) {
    MutexLock lock(mutex_);
    if (done_) return;
    code_ = code;
    answer_ = std::move(answer);
    done_ = true;
    changed_.NotifyAll();
  }

  void SetTimeout() {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now()).count();
    // 0 would mean "poll", negative numbers have meanings of their own.
    nng_aio_set_timeout(aio_.handle, static_cast<nng_duration>(std::clamp<int64_t>(
                                         left, 1, std::numeric_limits<int32_t>::max())));
  }

  Link& link_;
  CallList& calls_;
  const Clock::time_point deadline_;
  size_t sent_bytes_ = 0;
  Phase phase_ = Phase::kSending;
  Mutex mutex_;
  CondVar changed_;
  bool done_ GUARDED_BY(mutex_) = false;
  int code_ GUARDED_BY(mutex_) = 0;
  std::string answer_ GUARDED_BY(mutex_);
  NngContext context_;
  NngAio aio_;
};

void CallList::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  for (NngCall* call : calls_) call->Cancel();
}

class NngRequestSocket final : public RequestSocket {
 public:
  Status Start(const std::string& url) {
    const std::string what = "connect to " + url;
    if (const int code = nng_req0_open(&socket_.handle); code != 0) return NngError(code, what);
    socket_.opened = true;
    socket_.keep = link_;
    nng_socket_set_ms(socket_.handle, NNG_OPT_REQ_RESENDTIME, kResend);
    nng_socket_set_size(socket_.handle, NNG_OPT_RECVMAXSZ, kMaxReplyBytes);
    nng_pipe_notify(socket_.handle, NNG_PIPE_EV_ADD_POST, OnPipe, link_.get());
    nng_pipe_notify(socket_.handle, NNG_PIPE_EV_REM_POST, OnPipe, link_.get());
    nng_dialer dialer;
    int code = nng_dialer_create(&dialer, socket_.handle, url.c_str());
    if (code != 0) return BadUrl(code, url);
    nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, kReconnectFirst);
    nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, kReconnectLast);
    // Transports that have no such option refuse it, and need none.
    (void)nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    code = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    if (code != 0) return BadUrl(code, url);
    return {};
  }

  Result<std::unique_ptr<Call>> Send(std::string request, milliseconds timeout) override {
    if (request.size() > kMaxMessageBytes) {
      return MakeError(ErrorKind::kProtocol, "send a request beyond the limit", EMSGSIZE);
    }
    ASSIGN_OR_RETURN(NngMessage message, NngMessage::From(request));
    auto call = std::make_unique<NngCall>(*link_, calls_, timeout);
    RETURN_IF_ERROR(call->Start(socket_.handle, std::move(message)));
    return call;
  }

  uint64_t connection() const override { return link_->pipes > 0 ? link_->connections.load() : 0; }
  uint64_t sent_bytes() const override { return link_->sent; }
  uint64_t received_bytes() const override { return link_->received; }
  // nng_close itself waits for the destructor, when no call is left.
  void Close() override { calls_.Close(); }

 private:
  static tl::unexpected<Error> BadUrl(int code, const std::string& url) {
    return MakeError(ErrorKind::kUsage,
                     "connect to \"" + url + "\" (" + nng_strerror(code) +
                         "; a replica's URL is tcp://HOST:PORT or ipc:///PATH)",
                     EINVAL);
  }

  CallList calls_;
  const std::shared_ptr<Link> link_ = std::make_shared<Link>();
  NngSocket socket_;
};

}  // namespace

Result<std::unique_ptr<RequestSocket>> RequestSocket::Dial(const std::string& url) {
  auto socket = std::make_unique<NngRequestSocket>();
  RETURN_IF_ERROR(socket->Start(url));
  return socket;
}

Result<std::string> RequestSocket::Ask(std::string request, milliseconds timeout) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Call> call, Send(std::move(request), timeout));
  return call->Wait();
}

}  // namespace tandem::replica
