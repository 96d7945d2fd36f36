// The asking side: a thread makes one connection after another, and each carries all calls that are
// under way.
#include <algorithm>
#include <map>
#include <optional>
#include <thread>

#include "meta/base/log.h"
#include "meta/base/mutex.h"
#include "replica/transport/channel.h"
#include "replica/transport/hearing.h"
#include "replica/transport/transport.h"
#include "replica/transport/tuning.h"
#include "replica/transport/url.h"
#include "replica/transport/why_not_connected.h"
#include "replica/wire/messages.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = CondVar::Clock;

constexpr uint32_t kFirstId = 0x8000'0000;

// A request, from Send until its answer has been fetched or is of no interest any more.
struct Request {
  std::shared_ptr<const std::string> body;
  Clock::time_point sent_at{};  // over the present connection
  bool held = false;            // is to be sent again, later
  bool done = false;
  CondVar answered;                 // notified when done
  Result<std::string> answer;       // valid if done
  Clock::time_point answered_at{};  // likewise
};

class StreamRequestSocket;

// One connection of the socket.
class Line final : public Channel::Events {
 public:
  Line(StreamRequestSocket& socket, NngStream stream, Channel::Options options)
      : socket_(socket), channel_(std::move(stream), std::move(options), *this) {}

  Channel& channel() { return channel_; }

 private:
  void OnReady() override;
  bool OnBytes(size_t bytes) override;
  bool OnFrame(Frame frame) override;
  void OnSent() override {}
  void OnEnd(const Error& why) override;

  StreamRequestSocket& socket_;
  Channel channel_;
};

class StreamRequestSocket final : public RequestSocket {
 public:
  StreamRequestSocket(std::string url, StreamUrl target, Options options)
      : url_(std::move(url)), target_(std::move(target)), options_(std::move(options)) {}
  ~StreamRequestSocket() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      wake_.NotifyAll();
    }
    if (dial_.handle != nullptr) nng_aio_cancel(dial_.handle);
    if (thread_.joinable()) thread_.join();
    if (dialer_ != nullptr) nng_stream_dialer_free(dialer_);
  }

  Status Start() {
    if (const int code = nng_stream_dialer_alloc(&dialer_, target_.address.c_str()); code != 0) {
      return NngError(code, "connect to " + url_);
    }
    // Streams other than TCP refuse this option, and do not need it.
    (void)nng_stream_dialer_set_bool(dialer_, NNG_OPT_TCP_KEEPALIVE, true);
    // nng's streams set it to false by themselves, its sockets to true.
    (void)nng_stream_dialer_set_bool(dialer_, NNG_OPT_TCP_NODELAY, true);
    if (const int code = dial_.Open(nullptr, nullptr); code != 0) {
      return NngError(code, "connect to " + url_);
    }
    thread_ = std::thread([this] { Run(); });
    return {};
  }

  Result<std::unique_ptr<Call>> Send(std::string request, milliseconds timeout) override;

  uint64_t connection() const override {
    MutexLock lock(mutex_);
    return ready_ ? connections_.load() : 0;
  }
  uint64_t connections() const override { return connections_; }
  milliseconds silence() override;
  milliseconds unheard() override;
  std::string WhyNotConnected() const override {
    MutexLock lock(mutex_);
    return ready_ ? "" : why_;
  }
  bool IsUntrusted() const override {
    MutexLock lock(mutex_);
    return !ready_ && untrusted_;
  }
  void Reconnect() override { EndLine(Error(ErrorKind::kCancelled, ECANCELED, "connecting anew")); }
  uint64_t sent_bytes() const override { return sent_bytes_; }
  uint64_t received_bytes() const override { return received_bytes_; }
  void Close() override;

  // Of calls.
  Result<std::string> WaitFor(uint32_t id, Clock::time_point deadline, milliseconds patience,
                              Clock::time_point& answered_at);
  void Forget(uint32_t id) {
    MutexLock lock(mutex_);
    requests_.erase(id);
  }

  // Of the line, on threads of nng.
  void Ready(Line& line);
  void Answer(Frame frame);
  void Heard();
  void Ended(Line& line, const Error& why);

 private:
  void Run();
  Result<std::shared_ptr<const TlsContext>> TlsForNext();
  bool Dial();
  Result<NngStream> Connect();
  bool Carry(NngStream stream, std::shared_ptr<const TlsContext> tls);
  std::shared_ptr<Line> MakeLine(NngStream stream, std::shared_ptr<const TlsContext> tls);
  std::shared_ptr<Line> TryAnother(const Line& present);
  // Since when the answer that has been awaited longest is; nullopt: none is.
  std::optional<Clock::time_point> AwaitedSince() REQUIRES(mutex_);
  bool IsSilentFor(milliseconds time) REQUIRES(mutex_);
  void LookAfterLine() REQUIRES(mutex_);
  void AskForSignOfLife() REQUIRES(mutex_);
  void EndLine(const Error& why);
  uint32_t NextId() REQUIRES(mutex_);
  void SendOver(Line& line, uint32_t id, Request& request) REQUIRES(mutex_);
  void SendAgain(Line& line) REQUIRES(mutex_);
  void SendHeld() REQUIRES(mutex_);

  const std::string url_;
  const StreamUrl target_;
  const Options options_;
  nng_stream_dialer* dialer_ = nullptr;
  NngAio dial_;
  std::atomic<uint64_t> connections_{0};
  std::atomic<uint64_t> sent_bytes_{0};
  std::atomic<uint64_t> received_bytes_{0};
  Hearing hearing_;
  std::atomic<bool> is_quiet_{false};  // which has been logged

  mutable Mutex mutex_;  // before the channel's
  CondVar wake_;         // the thread
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool closed_ GUARDED_BY(mutex_) = false;
  std::shared_ptr<Line> line_ GUARDED_BY(mutex_);
  bool ready_ GUARDED_BY(mutex_) = false;           // the line has been greeted
  bool line_ended_ GUARDED_BY(mutex_) = false;      // and waits to be destroyed
  const Line* spare_ GUARDED_BY(mutex_) = nullptr;  // is tried while the line is silent
  bool spare_ready_ GUARDED_BY(mutex_) = false;
  bool spare_ended_ GUARDED_BY(mutex_) = false;
  std::string why_ GUARDED_BY(mutex_);
  bool untrusted_ GUARDED_BY(mutex_) = false;
  uint32_t last_id_ GUARDED_BY(mutex_) = kFirstId;
  uint32_t sign_of_life_ GUARDED_BY(mutex_) = 0;  // the id of the request for one; 0: none
  Clock::time_point sign_asked_at_ GUARDED_BY(mutex_){};
  std::map<uint32_t, Request> requests_ GUARDED_BY(mutex_);
  std::thread thread_;
};

class StreamCall final : public RequestSocket::Call {
 public:
  StreamCall(StreamRequestSocket& socket, uint32_t id, milliseconds timeout)
      : socket_(socket), id_(id), patience_(timeout), sent_at_(Clock::now()) {}
  ~StreamCall() override { socket_.Forget(id_); }
  Result<std::string> Wait() override {
    return socket_.WaitFor(id_, sent_at_ + patience_, patience_, answered_at_);
  }
  Clock::duration took() const override { return answered_at_ - sent_at_; }

 private:
  StreamRequestSocket& socket_;
  const uint32_t id_;
  const milliseconds patience_;
  const Clock::time_point sent_at_;
  Clock::time_point answered_at_;
};

// ---- Calls -------------------------------------------------------------------------------------

Result<std::unique_ptr<RequestSocket::Call>> StreamRequestSocket::Send(std::string request,
                                                                       milliseconds timeout) {
  if (request.size() > kMaxMessageBytes) {
    return MakeError(ErrorKind::kProtocol, "send a request (larger than a message may be)",
                     EMSGSIZE);
  }
  MutexLock lock(mutex_);
  if (closed_) return NngError(NNG_ECLOSED, "start request");
  const uint32_t id = NextId();
  Request& sent = requests_[id];
  sent.body = std::make_shared<const std::string>(std::move(request));
  auto call = std::make_unique<StreamCall>(*this, id, timeout);
  if (ready_) SendOver(*line_, id, sent);
  return call;
}

uint32_t StreamRequestSocket::NextId() {
  do {
    if (++last_id_ == 0) last_id_ = kFirstId;
  } while (requests_.contains(last_id_) || last_id_ == sign_of_life_);
  return last_id_;
}

void StreamRequestSocket::SendOver(Line& line, uint32_t id, Request& request) {
  request.sent_at = Clock::now();
  sent_bytes_ += request.body->size();
  line.channel().Send(id, request.body);
}

Result<std::string> StreamRequestSocket::WaitFor(uint32_t id, Clock::time_point deadline,
                                                 milliseconds patience,
                                                 Clock::time_point& answered_at) {
  std::shared_ptr<Line> silent;
  {
    MutexLock lock(mutex_);
    Request& request = requests_[id];
    for (auto look = Clock::now() + kLookAfterLine; !request.done;) {
      if (request.answered.WaitUntil(mutex_, std::min(look, deadline)) || request.done) continue;
      if (look >= deadline) break;
      LookAfterLine();
      look = Clock::now() + kLookAfterLine;
    }
    answered_at = request.answered_at;
    if (request.done) return std::move(request.answer);
    if (patience >= kConnectionSilence && IsSilentFor(kConnectionSilence)) silent = line_;
    requests_.erase(id);
  }
  // The connection counts as dead (a pulled cable, a firewall that drops packets; TCP itself would
  // need a quarter of an hour to notice).
  if (silent != nullptr) {
    silent->channel().End(Error(ErrorKind::kUnreachable, ETIMEDOUT, "the connection is silent"));
  }
  return NngError(NNG_ETIMEDOUT, "ask peer");
}

void StreamRequestSocket::EndLine(const Error& why) {
  std::shared_ptr<Line> line;
  {
    MutexLock lock(mutex_);
    line = line_;
  }
  if (line != nullptr) line->channel().End(why);
}

void StreamRequestSocket::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  for (auto& [id, request] : requests_) {
    if (request.done) continue;
    request.done = true;
    request.answer = NngError(NNG_ECLOSED, "ask peer");
    request.answered.NotifyAll();
  }
}

// ---- Silence -----------------------------------------------------------------------------------

std::optional<Clock::time_point> StreamRequestSocket::AwaitedSince() {
  std::optional<Clock::time_point> since;
  for (const auto& [id, request] : requests_) {
    if (request.done || request.held) continue;
    if (!since || request.sent_at < *since) since = request.sent_at;
  }
  return since;
}

// Where no answer is due, that nothing is heard says nothing.
milliseconds StreamRequestSocket::silence() {
  MutexLock lock(mutex_);
  const auto since = AwaitedSince();
  if (!ready_ || !since) return {};
  const milliseconds unheard = hearing_.Unheard();
  if (unheard >= kAskAfterSilence) AskForSignOfLife();
  return Clock::now() - *since >= kAnswerIsDue ? unheard : milliseconds(0);
}

milliseconds StreamRequestSocket::unheard() {
  MutexLock lock(mutex_);
  return ready_ ? hearing_.Unheard() : milliseconds(0);
}

// Whether nothing has been heard for so long, though an answer was awaited all the time.
bool StreamRequestSocket::IsSilentFor(milliseconds time) {
  const auto since = AwaitedSince();
  return ready_ && since && Clock::now() - *since >= time && hearing_.Unheard() >= time;
}

// Called by a thread that has waited for its answer for a while.
void StreamRequestSocket::LookAfterLine() {
  if (!ready_) return;
  if (hearing_.Unheard() >= kAskAfterSilence) AskForSignOfLife();
  if (IsSilentFor(kLinkQuiet) && !is_quiet_.exchange(true)) {
    LogInfo("nothing heard from {} for {} s", url_, hearing_.Unheard().count() / 1000);
  }
  if (IsSilentFor(kTryAnotherAfter)) wake_.NotifyAll();
}

// One at a time: TCP sends it again until it arrives.
void StreamRequestSocket::AskForSignOfLife() {
  const auto now = Clock::now();
  if (options_.sign_of_life.empty()) return;
  if (sign_of_life_ != 0 && now - sign_asked_at_ < kSignOfLifeIsLost) return;
  sign_of_life_ = NextId();
  sign_asked_at_ = now;
  sent_bytes_ += options_.sign_of_life.size();
  line_->channel().Send(sign_of_life_, std::make_shared<const std::string>(options_.sign_of_life));
}

void StreamRequestSocket::Heard() {
  hearing_.Heard();
  if (is_quiet_ && is_quiet_.exchange(false)) LogInfo("{} is heard again", url_);
}

// ---- Connections -------------------------------------------------------------------------------

void StreamRequestSocket::Run() {
  milliseconds pause = kRedialFirst;
  for (;;) {
    if (Dial()) pause = kRedialFirst;
    MutexLock lock(mutex_);
    const auto until = Clock::now() + pause;
    while (!stopping_ && wake_.WaitUntil(mutex_, until)) {
    }
    if (stopping_) return;
    pause = std::min(2 * pause,
                     target_.scheme == StreamUrl::Scheme::kIpc ? kRedialHereLast : kRedialLast);
  }
}

// Makes one connection and waits until it has ended. Returns true if it was greeted.
bool StreamRequestSocket::Dial() {
  auto tls = TlsForNext();
  if (!tls) {
    MutexLock lock(mutex_);
    why_ = tls.error().ToString();
    untrusted_ = true;
    return false;
  }
  auto stream = Connect();
  if (!stream) {
    MutexLock lock(mutex_);
    why_ = stream.error().context();
    untrusted_ = false;
    return false;
  }
  return Carry(std::move(*stream), std::move(*tls));
}

// The error's context says why for people.
Result<NngStream> StreamRequestSocket::Connect() {
  dial_.SetTimeout(kDialTimeout);
  nng_stream_dialer_dial(dialer_, dial_.handle);
  nng_aio_wait(dial_.handle);
  const int code = nng_aio_result(dial_.handle);
  if (code == 0) return NngStream(nng_aio_get_output(dial_.handle, 0));
  return MakeError(KindOfNng(code), WhyNotDialed(code, url_, target_));
}

// Returns null unless the URL is tls://.
Result<std::shared_ptr<const TlsContext>> StreamRequestSocket::TlsForNext() {
  if (target_.scheme != StreamUrl::Scheme::kTls) return nullptr;
  ASSIGN_OR_RETURN(const Credentials credentials, options_.find_credentials(url_));
  return TlsContext::Make(TlsSide::kAsking, credentials);
}

std::shared_ptr<Line> StreamRequestSocket::MakeLine(NngStream stream,
                                                    std::shared_ptr<const TlsContext> tls) {
  Channel::Options options;
  options.asks = true;
  options.is_ipc = target_.scheme == StreamUrl::Scheme::kIpc;
  options.max_frame_bytes = kMaxMessageBytes + Frame::kIdBytes;
  options.tls = std::move(tls);
  options.greeting_timeout = options.is_ipc ? kAskingHereGreetingTimeout : kAskingGreetingTimeout;
  options.frame_timeout = kFrameTimeout;
  return std::make_shared<Line>(*this, std::move(stream), std::move(options));
}

// Carries calls over a connection until it ends, or over another that takes its place while it is
// silent. Returns true if it was greeted.
bool StreamRequestSocket::Carry(NngStream stream, std::shared_ptr<const TlsContext> tls) {
  std::shared_ptr<Line> line = MakeLine(std::move(stream), std::move(tls));
  {
    MutexLock lock(mutex_);
    line_ = line;
    ready_ = line_ended_ = false;
  }
  const uint64_t before = connections_;
  Clock::time_point next_try{};
  if (const auto started = line->channel().Start(); !started) {
    line->channel().End(started.error());
  }
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (!line_ended_ && !stopping_) wake_.Wait(mutex_);
      if (line_ended_ || stopping_) break;
      if (target_.scheme == StreamUrl::Scheme::kIpc || Clock::now() < next_try ||
          !IsSilentFor(kTryAnotherAfter)) {
        continue;
      }
    }
    std::shared_ptr<Line> another = TryAnother(*line);
    next_try = Clock::now() + kTryAnotherPause;
    if (another == nullptr) continue;
    line->channel().End(Error(ErrorKind::kUnreachable, ETIMEDOUT, "another connection is used"));
    line = std::move(another);
  }
  line->channel().End(Error(ErrorKind::kCancelled, ECANCELED, "stopping"));
  MutexLock lock(mutex_);
  line_.reset();
  ready_ = false;
  return connections_ != before;
}

// Makes another connection. Puts it in place of the present one, and returns it, if it is greeted
// while the present one is still silent.
std::shared_ptr<Line> StreamRequestSocket::TryAnother(const Line& present) {
  auto tls = TlsForNext();
  if (!tls) return nullptr;
  auto stream = Connect();
  if (!stream) return nullptr;
  std::shared_ptr<Line> spare = MakeLine(std::move(*stream), std::move(*tls));
  {
    MutexLock lock(mutex_);
    spare_ = spare.get();
    spare_ready_ = spare_ended_ = false;
  }
  if (const auto started = spare->channel().Start(); !started) {
    spare->channel().End(started.error());
  }
  bool taken = false;
  {
    MutexLock lock(mutex_);
    while (!spare_ready_ && !spare_ended_ && !line_ended_ && !stopping_) wake_.Wait(mutex_);
    spare_ = nullptr;
    taken = spare_ready_ && !spare_ended_ && !line_ended_ && !stopping_ && line_.get() == &present;
    if (taken) {
      line_ = spare;
      ready_ = false;
    }
  }
  if (!taken) {
    spare->channel().End(Error(ErrorKind::kCancelled, ECANCELED, "not needed"));
    return nullptr;
  }
  LogInfo("{} was silent; another connection takes its place", url_);
  Ready(*spare);
  return spare;
}

void StreamRequestSocket::Ready(Line& line) {
  const auto [local, remote] = line.channel().Ports();
  {
    MutexLock lock(mutex_);
    if (&line == spare_) {
      spare_ready_ = true;
      wake_.NotifyAll();
      return;
    }
    if (&line != line_.get() || line_ended_) return;
    hearing_.Begin(local, remote);
    ++connections_;
    ready_ = true;
    sign_of_life_ = 0;
    why_.clear();
    untrusted_ = false;
    SendAgain(line);
  }
  if (options_.on_connection) options_.on_connection();
}

// What was under way is sent again. The peer may be another process that refuses it, so of what is
// large only one goes ahead; the others follow with the answers, while somebody waits for them.
void StreamRequestSocket::SendAgain(Line& line) {
  bool one_is_large = false;
  for (auto& [id, request] : requests_) {
    if (request.done) continue;
    request.held = one_is_large && request.body->size() > kSentAgainAtOnce;
    if (request.held) continue;
    one_is_large |= request.body->size() > kSentAgainAtOnce;
    SendOver(line, id, request);
  }
}

void StreamRequestSocket::SendHeld() {
  if (!ready_) return;
  for (auto& [id, request] : requests_) {
    if (!request.held) continue;
    request.held = false;
    return SendOver(*line_, id, request);
  }
}

void StreamRequestSocket::Answer(Frame frame) {
  Heard();
  received_bytes_ += frame.body().size();
  MutexLock lock(mutex_);
  SendHeld();
  if (frame.id() == sign_of_life_) sign_of_life_ = 0;
  const auto found = requests_.find(frame.id());
  if (found == requests_.end() || found->second.done) return;  // of a call that has been given up
  Request& request = found->second;
  request.answer = std::string(frame.body());
  request.done = true;
  request.answered_at = Clock::now();
  request.answered.NotifyAll();
}

void StreamRequestSocket::Ended(Line& line, const Error& why) {
  {
    MutexLock lock(mutex_);
    if (&line == spare_) spare_ended_ = true;
    wake_.NotifyAll();
    if (&line != line_.get()) return;
    if (why.kind() != ErrorKind::kCancelled) {
      why_ = ready_ ? WhyEnded(why, url_) : WhyNotGreeted(why, url_);
      untrusted_ = !ready_ && why.kind() == ErrorKind::kRefused;
    }
    ready_ = false;
    line_ended_ = true;
    hearing_.End();
  }
  if (options_.on_connection) options_.on_connection();
}

void Line::OnReady() { socket_.Ready(*this); }

bool Line::OnBytes(size_t) {
  socket_.Heard();
  return true;
}

bool Line::OnFrame(Frame frame) {
  socket_.Answer(std::move(frame));
  return true;
}

void Line::OnEnd(const Error& why) {
  LogDebug("{}", why.ToString());
  socket_.Ended(*this, why);
}

}  // namespace

Result<std::unique_ptr<RequestSocket>> RequestSocket::Dial(const std::string& url,
                                                           Options options) {
  ASSIGN_OR_RETURN(StreamUrl target, StreamUrl::Parse(url));
  auto socket = std::make_unique<StreamRequestSocket>(url, std::move(target), std::move(options));
  RETURN_IF_ERROR(socket->Start());
  return socket;
}

Result<std::unique_ptr<RequestSocket>> RequestSocket::Dial(const std::string& url,
                                                           const Credentials& credentials) {
  Options options;
  options.find_credentials = [credentials](const std::string&) { return credentials; };
  return Dial(url, std::move(options));
}

Result<std::string> RequestSocket::Ask(std::string request, milliseconds timeout) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Call> call, Send(std::move(request), timeout));
  return call->Wait();
}

}  // namespace tandem::replica
