// The asking side: each call uses a context of its own on a DialedSocket.
#include <nng/nng.h>

#include <algorithm>
#include <limits>
#include <unordered_set>

#include "meta/base/mutex.h"
#include "replica/transport/dial.h"
#include "replica/transport/transport.h"
#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Bytes of messages exchanged with one peer.
struct Traffic {
  std::atomic<uint64_t> sent{0};
  std::atomic<uint64_t> received{0};
};

class NngCall;

// The calls to one peer that are under way, kept so that they can be ended.
class CallList {
 public:
  // Returns false once Close has been called.
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
  // Ends the calls on this socket; their Wait returns kUnreachable.
  void GiveUp(const DialedSocket* socket);

 private:
  Mutex mutex_;
  bool closed_ GUARDED_BY(mutex_) = false;
  std::unordered_set<NngCall*> calls_ GUARDED_BY(mutex_);
};

// Sends, then receives, on one aio. nng calls OnDone when each of the two has ended.
class NngCall final : public RequestSocket::Call {
 public:
  NngCall(std::shared_ptr<DialedSocket> socket, Traffic& traffic, CallList& calls,
          milliseconds timeout)
      : socket_(std::move(socket)),
        traffic_(traffic),
        calls_(calls),
        patience_(timeout),
        deadline_(Clock::now() + timeout) {}
  ~NngCall() override {
    calls_.Remove(this);
    aio_.Free();
  }

  Status Start(NngMessage request) {
    if (!calls_.Add(this)) return NngError(NNG_ECLOSED, "start request");
    if (const int code = context_.Open(socket_->handle()); code != 0) {
      return NngError(code, "start request");
    }
    if (const int code = aio_.Open(&NngCall::OnDone, this); code != 0) {
      return NngError(code, "start request");
    }
    sent_bytes_ = request.bytes().size();
    nng_aio_set_msg(aio_.handle, request.Release());
    SetTimeout();
    nng_ctx_send(context_.handle, aio_.handle);
    return {};
  }

  // Makes Wait return at once. The operation under way ends when the call is destroyed.
  void Cancel() { Finish(NNG_ECLOSED, {}); }
  void GiveUp() { Finish(NNG_ECONNRESET, {}); }
  bool IsOn(const DialedSocket* socket) const { return socket_.get() == socket; }

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
    if (code == NNG_ETIMEDOUT) socket_->TimedOut(patience_);
    if (phase_ == Phase::kSending) {
      if (code != 0) {
        // The message was not sent, so it is still ours to free.
        const NngMessage unsent(nng_aio_get_msg(aio_.handle));
        return Finish(code, {});
      }
      traffic_.sent += sent_bytes_;
      phase_ = Phase::kReceiving;
      SetTimeout();
      return nng_ctx_recv(context_.handle, aio_.handle);
    }
    if (code != 0) return Finish(code, {});
    NngMessage reply(nng_aio_get_msg(aio_.handle));
    socket_->Heard();
    traffic_.received += reply.bytes().size();
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
    // At least 1: to nng 0 means "poll", and negative numbers have special meanings.
    nng_aio_set_timeout(aio_.handle, static_cast<nng_duration>(std::clamp<int64_t>(
                                         left, 1, std::numeric_limits<int32_t>::max())));
  }

  const std::shared_ptr<DialedSocket> socket_;
  Traffic& traffic_;
  CallList& calls_;
  const milliseconds patience_;
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

void CallList::GiveUp(const DialedSocket* socket) {
  MutexLock lock(mutex_);
  for (NngCall* call : calls_) {
    if (call->IsOn(socket)) call->GiveUp();
  }
}

class NngRequestSocket final : public RequestSocket {
 public:
  explicit NngRequestSocket(const std::string& url) : url_(url) {}

  Status Start() {
    MutexLock lock(mutex_);
    return Dial();
  }

  Result<std::unique_ptr<Call>> Send(std::string request, milliseconds timeout) override {
    if (request.size() > kMaxMessageBytes) {
      return MakeError(ErrorKind::kProtocol, "send a request (larger than a message may be)",
                       EMSGSIZE);
    }
    ASSIGN_OR_RETURN(NngMessage message, NngMessage::From(request));
    ASSIGN_OR_RETURN(std::shared_ptr<DialedSocket> socket, LiveSocket());
    auto call = std::make_unique<NngCall>(std::move(socket), traffic_, calls_, timeout);
    RETURN_IF_ERROR(call->Start(std::move(message)));
    return call;
  }

  uint64_t connection() const override {
    MutexLock lock(mutex_);
    return socket_->connected() ? connections_->load() : 0;
  }
  uint64_t connections() const override { return *connections_; }
  milliseconds silence() override { return Present()->silence(); }
  void DialAnew() override {
    const std::shared_ptr<DialedSocket> socket = Present();
    socket->GiveUp();
    calls_.GiveUp(socket.get());
  }
  uint64_t sent_bytes() const override { return traffic_.sent; }
  uint64_t received_bytes() const override { return traffic_.received; }
  // Only ends the calls. The destructor closes the socket, when no call is left.
  void Close() override { calls_.Close(); }

 private:
  Result<std::shared_ptr<DialedSocket>> LiveSocket() {
    std::shared_ptr<DialedSocket>
        given_up;  // destroyed after mutex_ is released, or with its last call
    MutexLock lock(mutex_);
    if (socket_->given_up()) {
      given_up = socket_;
      RETURN_IF_ERROR(Dial());
    }
    return socket_;
  }
  std::shared_ptr<DialedSocket> Present() {
    MutexLock lock(mutex_);
    return socket_;
  }
  Status Dial() REQUIRES(mutex_) {
    auto socket = std::make_shared<DialedSocket>(connections_);
    RETURN_IF_ERROR(socket->Start(url_));
    socket_ = std::move(socket);
    return {};
  }

  const std::string url_;
  const std::shared_ptr<std::atomic<uint64_t>> connections_ =
      std::make_shared<std::atomic<uint64_t>>(0);
  Traffic traffic_;
  CallList calls_;
  mutable Mutex mutex_;
  std::shared_ptr<DialedSocket> socket_ GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<RequestSocket>> RequestSocket::Dial(const std::string& url) {
  auto socket = std::make_unique<NngRequestSocket>(url);
  RETURN_IF_ERROR(socket->Start());
  return socket;
}

Result<std::string> RequestSocket::Ask(std::string request, milliseconds timeout) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Call> call, Send(std::move(request), timeout));
  return call->Wait();
}

}  // namespace tandem::replica
