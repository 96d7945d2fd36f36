// The answering side: listeners, connections and a pool of workers. CONNECTIONS.md states the
// limits that it keeps.
#include <nng/nng.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <thread>
#include <unordered_map>

#include "meta/base/log.h"
#include "meta/base/mutex.h"
#include "replica/transport/frame_memory.h"
#include "replica/transport/guest.h"
#include "replica/transport/transport.h"
#include "replica/transport/tuning.h"
#include "replica/transport/url.h"

namespace tandem::replica {
namespace {

using Clock = CondVar::Clock;

class StreamReplySocket final : public ReplySocket, private Guest::Host {
 public:
  StreamReplySocket(Options options, ConnectionHandler handler)
      : options_(std::move(options)), handler_(std::move(handler)) {}
  ~StreamReplySocket() override;

  Status Start(const std::vector<std::string>& urls);
  std::vector<std::string> urls() const override { return urls_; }

 private:
  struct Listener {
    Listener(StreamReplySocket& its_socket, StreamUrl its_url)
        : socket(its_socket), url(std::move(its_url)) {}
    ~Listener() {
      if (handle == nullptr) return;
      nng_stream_listener_close(handle);
      if (aio.handle != nullptr) nng_aio_stop(aio.handle);
      nng_stream_listener_free(handle);
    }
    StreamReplySocket& socket;
    const StreamUrl url;
    nng_stream_listener* handle = nullptr;
    std::atomic<bool> stalled{false};  // could not accept: begins again at the next sweep
    NngAio aio;
  };

  void Ready(Guest& guest) override EXCLUDES(mutex_);
  bool TakeBytes(Guest& guest, size_t bytes) override EXCLUDES(mutex_);
  bool TakeFrame(Guest& guest, Frame frame) override EXCLUDES(mutex_);
  void Sent(Guest& guest) override EXCLUDES(mutex_);
  void Ended(Guest& guest) override EXCLUDES(mutex_);

  Status ListenOn(const std::string& url);
  static void OnAccepted(void* listener);
  void Accept(Listener& listener);
  void Welcome(Listener& listener, NngStream stream) EXCLUDES(mutex_);

  static bool IsFull(const Guest& guest);
  void CountUnsent(Guest& guest) REQUIRES(mutex_);
  bool OwesMuch(const Guest& guest) REQUIRES(mutex_);
  GuestRef NextGuest() REQUIRES(mutex_);
  void AddWorker() REQUIRES(mutex_);
  void CallWorker() REQUIRES(mutex_);
  void Work() EXCLUDES(mutex_);
  void Answer(Guest& guest, const ConnectionRef& connection, const Frame& frame) EXCLUDES(mutex_);
  void Send(Guest& guest, uint32_t id, std::shared_ptr<const std::string> reply) EXCLUDES(mutex_);
  bool IsAnyStalled() const;
  void WaitForSweep() REQUIRES(mutex_);
  void WakeSweeper() REQUIRES(mutex_);
  void Sweep() EXCLUDES(mutex_);

  const Options options_;
  const ConnectionHandler handler_;
  std::shared_ptr<const TlsContext> tls_;
  std::vector<std::string> urls_;
  std::vector<std::unique_ptr<Listener>> listeners_;

  Mutex mutex_;  // before a channel's, but never held when a channel calls
  CondVar sweep_;
  bool closing_ GUARDED_BY(mutex_) = false;
  bool sweeper_rests_ GUARDED_BY(mutex_) = false;  // until it is woken
  Guests guests_ GUARDED_BY(mutex_);
  size_t unproved_ GUARDED_BY(mutex_) = 0;  // of them
  FrameMemory memory_ GUARDED_BY(mutex_);
  std::deque<GuestRef> queue_ GUARDED_BY(mutex_);  // those with requests waiting, once each
  std::unordered_map<std::string, int> running_ GUARDED_BY(mutex_);  // requests of each identity
  std::unordered_map<std::string, size_t> owed_ GUARDED_BY(mutex_);  // bytes of answers, likewise
  struct Worker {
    CondVar woken;
    bool called = false;
  };
  // Those that wait for a request. The last one is called first: its memory is still warm.
  std::vector<Worker*> resting_ GUARDED_BY(mutex_);
  int idle_ GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> workers_ GUARDED_BY(mutex_);
  std::thread sweeper_;
};

// ---- Listening ---------------------------------------------------------------------------------

Status StreamReplySocket::Start(const std::vector<std::string>& urls) {
  for (const std::string& url : urls) RETURN_IF_ERROR(ListenOn(url));
  {
    MutexLock lock(mutex_);
    for (int i = 0; i < std::min(kFirstWorkers, options_.workers); ++i) AddWorker();
  }
  sweeper_ = std::thread([this] { Sweep(); });
  for (const auto& listener : listeners_) Accept(*listener);
  return {};
}

Status StreamReplySocket::ListenOn(const std::string& url) {
  ASSIGN_OR_RETURN(StreamUrl parsed, StreamUrl::Parse(url));
  if (parsed.scheme == StreamUrl::Scheme::kTls && tls_ == nullptr) {
    ASSIGN_OR_RETURN(tls_, TlsContext::Make(TlsSide::kAnswering, options_.credentials));
  }
  auto listener = std::make_unique<Listener>(*this, std::move(parsed));
  const std::string what = "listen on " + url;
  int code = nng_stream_listener_alloc(&listener->handle, listener->url.address.c_str());
  if (code != 0) return NngError(code, what);
  // Streams of another kind refuse the option.
  (void)nng_stream_listener_set_bool(listener->handle, NNG_OPT_TCP_KEEPALIVE, true);
  (void)nng_stream_listener_set_bool(listener->handle, NNG_OPT_TCP_NODELAY, true);
  (void)nng_stream_listener_set_int(listener->handle, NNG_OPT_IPC_PERMISSIONS,
                                    static_cast<int>(options_.ipc_mode));
  code = nng_stream_listener_listen(listener->handle);
  if (code != 0) return NngError(code, what);
  code = listener->aio.Open(&StreamReplySocket::OnAccepted, listener.get());
  if (code != 0) return NngError(code, what);
  int port = 0;
  const bool has_port =
      listener->url.scheme != StreamUrl::Scheme::kIpc &&
      nng_stream_listener_get_int(listener->handle, NNG_OPT_TCP_BOUND_PORT, &port) == 0;
  urls_.push_back(has_port ? listener->url.WithPort(port) : url);
  listeners_.push_back(std::move(listener));
  return {};
}

void StreamReplySocket::Accept(Listener& listener) {
  nng_stream_listener_accept(listener.handle, listener.aio.handle);
}

void StreamReplySocket::OnAccepted(void* pointer) {
  auto& listener = *static_cast<Listener*>(pointer);
  const int code = nng_aio_result(listener.aio.handle);
  if (code == NNG_ECLOSED || code == NNG_ECANCELED) return;
  if (code != 0) {  // no descriptors, no memory: not at once again
    MutexLock lock(listener.socket.mutex_);
    listener.stalled = true;
    // Otherwise it looks soon, and must not be made to look at once.
    if (listener.socket.sweeper_rests_) listener.socket.WakeSweeper();
    return;
  }
  listener.socket.Welcome(listener, NngStream(nng_aio_get_output(listener.aio.handle, 0)));
  listener.socket.Accept(listener);
}

void StreamReplySocket::Welcome(Listener& listener, NngStream stream) {
  Channel::Options options;
  options.is_ipc = listener.url.scheme == StreamUrl::Scheme::kIpc;
  options.max_frame_bytes = options_.max_message_bytes + Frame::kIdBytes;
  if (listener.url.scheme == StreamUrl::Scheme::kTls) options.tls = tls_;
  options.greeting_timeout = kGreetingTimeout;
  options.frame_timeout = kFrameTimeout;
  const auto guest = std::make_shared<Guest>(static_cast<Guest::Host&>(*this), std::move(stream),
                                             std::move(options));
  guest->address = guest->channel().Address();
  GuestRef goes;
  {
    MutexLock lock(mutex_);
    if (closing_) return;
    if (unproved_ >= kMaxUnproved) {
      goes = ChooseToEnd(guests_, /*proved_too=*/false);
    } else if (guests_.size() >= kMaxConnections) {
      goes = ChooseToEnd(guests_, /*proved_too=*/unproved_ == 0);
    }
    guests_.emplace(guest.get(), guest);
    ++unproved_;
  }
  if (goes != nullptr) {
    goes->channel().End(Error(ErrorKind::kRefused, EBUSY, "too many connections"));
  }
  if (const auto started = guest->channel().Start(); !started) {
    guest->channel().End(started.error());
  }
}

// ---- Connections -------------------------------------------------------------------------------

void StreamReplySocket::Ready(Guest& guest) {
  MutexLock lock(mutex_);
  if (guest.ended) return;
  const PeerIdentity& peer = guest.channel().peer();
  guest.connection = std::make_shared<Connection>(peer);
  guest.identity = peer.kind == PeerIdentity::Kind::kKey    ? peer.key
                   : peer.kind == PeerIdentity::Kind::kUser ? std::to_string(peer.user)
                                                            : peer.address;
  guest.proved = peer.kind != PeerIdentity::Kind::kStranger;
  if (guest.proved) --unproved_;
}

bool StreamReplySocket::TakeBytes(Guest& guest, size_t bytes) {
  MutexLock lock(mutex_);
  if (guest.ended) return true;
  guest.last_bytes = Clock::now();
  if (memory_.Take(guest, bytes)) return true;
  WakeSweeper();
  return false;
}

// Returns true if nothing more of it may be received now.
bool StreamReplySocket::IsFull(const Guest& guest) {
  return static_cast<int>(guest.waiting.size()) + guest.running >= kMaxRequestsOfOne ||
         guest.unsent_bytes() > kMaxUnsentOfOne;
}

// Counts answers that the guest has not taken among its peer's. If they kept requests waiting,
// these are looked at again.
void StreamReplySocket::CountUnsent(Guest& guest) {
  const size_t now = guest.ended ? 0 : guest.unsent_bytes();
  if (now == guest.owed) return;
  const bool owed_much = OwesMuch(guest);
  const auto owed = owed_.try_emplace(guest.identity).first;
  owed->second = owed->second - std::exchange(guest.owed, now) + now;
  if (owed->second == 0) owed_.erase(owed);
  while (owed_much && !queue_.empty() && !resting_.empty()) CallWorker();
  if (!owed_much && OwesMuch(guest)) WakeSweeper();
}

// Returns true if it, or its peer on all its connections, has so many answers to take that it gets
// no more.
bool StreamReplySocket::OwesMuch(const Guest& guest) {
  if (guest.owed > kMaxUnsentOfOne) return true;
  const auto owed = owed_.find(guest.identity);
  return owed != owed_.end() && owed->second > kMaxUnsentOfPeer;
}

bool StreamReplySocket::TakeFrame(Guest& guest, Frame frame) {
  MutexLock lock(mutex_);
  if (guest.ended || closing_) return true;
  guest.may_exceed = false;
  if (guest.waiting.empty()) queue_.push_back(guest.shared_from_this());
  guest.waiting.push_back(std::move(frame));
  guest.paused = IsFull(guest);
  CallWorker();
  return !guest.paused;
}

void StreamReplySocket::Sent(Guest& guest) {
  {
    MutexLock lock(mutex_);
    CountUnsent(guest);
    if (!guest.paused || IsFull(guest)) return;
    guest.paused = false;
  }
  guest.channel().Resume();
}

void StreamReplySocket::Ended(Guest& guest) {
  MutexLock lock(mutex_);
  guest.ended = true;
  if (guest.connection != nullptr) guest.connection->NoteClosed();
  if (!guest.proved) --unproved_;
  CountUnsent(guest);
  std::erase_if(queue_, [&guest](const GuestRef& queued) { return queued.get() == &guest; });
  guest.waiting.clear();
  if (guest.running == 0) memory_.Release(guest, guest.frame_bytes);
  WakeSweeper();
}

bool StreamReplySocket::IsAnyStalled() const {
  return std::ranges::any_of(listeners_,
                             [](const auto& listener) { return listener->stalled.load(); });
}

// Waits until there may be something to sweep. What is told of by sweep_ is looked at at once;
// memory that becomes free and answers that are taken are looked for, and a listener that could not
// accept is tried again after a pause.
void StreamReplySocket::WaitForSweep() {
  bool must_look = IsAnyStalled();
  for (const auto& [key, guest] : guests_) {
    must_look |= guest->wants_memory || guest->ended || OwesMuch(*guest);
  }
  if (!must_look) {
    sweeper_rests_ = true;
    while (sweeper_rests_) sweep_.Wait(mutex_);
    if (!IsAnyStalled()) return;
  }
  sweep_.WaitFor(mutex_, kSweepEvery);
}

// Has the sweeper look. Called with mutex_ held.
void StreamReplySocket::WakeSweeper() {
  sweeper_rests_ = false;
  sweep_.NotifyAll();
}

// Clears ended connections away, lets those go on that waited for memory, and takes memory from
// frames that do not get on.
void StreamReplySocket::Sweep() {
  for (;;) {
    std::vector<GuestRef> gone;
    std::vector<GuestRef> resumed;
    std::vector<GuestRef> stale;
    {
      MutexLock lock(mutex_);
      if (!closing_) WaitForSweep();
      if (closing_) return;
      for (auto at = guests_.begin(); at != guests_.end();) {
        const GuestRef guest = at->second;
        ++at;
        CountUnsent(*guest);
        if (guest->ended && guest->running == 0) {
          gone.push_back(guest);
          guests_.erase(guest.get());
        }
      }
      // In this order: one that has waited is not stale for it.
      stale = memory_.ChooseToEnd(guests_, Clock::now());
      resumed = memory_.ChooseToResume(guests_);
    }
    for (const auto& listener : listeners_) {
      if (listener->stalled.exchange(false)) Accept(*listener);
    }
    for (const GuestRef& guest : resumed) guest->channel().Resume();
    for (const GuestRef& guest : stale) {
      guest->channel().End(
          Error(ErrorKind::kRefused, ENOMEM, "no memory is left for a message that does not come"));
    }
  }
}

// ---- Answering ---------------------------------------------------------------------------------

// Adds a worker when the last idle one takes a request. So requests that wait (WaitApplied) never
// keep others from being served, up to the limit on workers.
void StreamReplySocket::AddWorker() {
  try {
    workers_.emplace_back([this] { Work(); });
    ++idle_;
  } catch (const std::system_error& e) {
    LogWarning("no further thread for requests: {}", e.what());
  }
}

// Has one of the workers that rest look for a request.
void StreamReplySocket::CallWorker() {
  if (resting_.empty()) return;
  Worker& worker = *resting_.back();
  resting_.pop_back();
  worker.called = true;
  worker.woken.NotifyOne();
}

// Returns the next connection with a request that may be answered now, or null.
GuestRef StreamReplySocket::NextGuest() {
  // Of few workers none can be kept for others.
  const int share =
      options_.workers - (options_.workers >= kWorkersToShare ? options_.workers / 4 : 0);
  for (auto at = queue_.begin(); at != queue_.end(); ++at) {
    const auto running = running_.find((*at)->identity);
    if (running != running_.end() && running->second >= share) continue;
    if (OwesMuch(**at)) continue;
    GuestRef guest = std::move(*at);
    queue_.erase(at);
    return guest;
  }
  return nullptr;
}

void StreamReplySocket::Work() {
  Worker self;
  for (;;) {
    GuestRef guest;
    ConnectionRef connection;
    Frame frame;
    {
      MutexLock lock(mutex_);
      while (!closing_ && (guest = NextGuest()) == nullptr) {
        self.called = false;
        resting_.push_back(&self);
        while (!self.called) self.woken.Wait(mutex_);
      }
      if (closing_) return;
      connection = guest->connection;
      frame = std::move(guest->waiting.front());
      guest->waiting.pop_front();
      ++guest->running;
      ++running_[guest->identity];
      if (!guest->waiting.empty()) queue_.push_back(guest);  // the others come first
      if (--idle_ == 0 && static_cast<int>(workers_.size()) < options_.workers) AddWorker();
    }
    Answer(*guest, connection, frame);
    const size_t bytes = frame.size();
    frame = Frame();
    bool resume = false;
    {
      MutexLock lock(mutex_);
      ++idle_;
      --guest->running;
      // Some may wait for this one of their identity.
      if (--running_[guest->identity] == 0) running_.erase(guest->identity);
      if (!queue_.empty()) CallWorker();
      CountUnsent(*guest);
      memory_.Release(*guest, guest->ended && guest->running == 0 ? guest->frame_bytes : bytes);
      resume = guest->paused && !guest->ended && !IsFull(*guest);
      if (resume) guest->paused = false;
    }
    if (resume) guest->channel().Resume();
  }
}

void StreamReplySocket::Answer(Guest& guest, const ConnectionRef& connection, const Frame& frame) {
  try {
    auto reply = std::make_shared<const std::string>(handler_(frame.body(), connection));
    if (reply->size() <= options_.max_message_bytes) {
      return Send(guest, frame.id(), std::move(reply));
    }
    LogError("drop a reply: it is larger than a message may be");
  } catch (const std::exception& e) {
    LogError("drop a request: the handler threw: {}", e.what());
  }
}

void StreamReplySocket::Send(Guest& guest, uint32_t id, std::shared_ptr<const std::string> reply) {
  bool too_much = false;
  {
    MutexLock lock(mutex_);
    const auto owed = owed_.find(guest.identity);
    too_much = owed != owed_.end() && owed->second + reply->size() > kMostUnsentOfPeer;
  }
  if (too_much) {
    return guest.channel().End(Error(ErrorKind::kRefused, EBUSY, "the peer takes no answers"));
  }
  guest.channel().Send(id, std::move(reply));
}

StreamReplySocket::~StreamReplySocket() {
  std::vector<std::thread> workers;
  Guests guests;
  {
    // Workers start other workers with mutex_ held, and only while this is not set.
    MutexLock lock(mutex_);
    closing_ = true;
    workers.swap(workers_);
    guests = guests_;
    while (!resting_.empty()) CallWorker();
    WakeSweeper();
  }
  if (sweeper_.joinable()) sweeper_.join();  // it looks at the listeners
  listeners_.clear();  // waits for one that is being welcomed, which finds closing_ set
  // Before the workers end: what they still answer is asked again elsewhere.
  for (const auto& [key, guest] : guests) {
    guest->channel().End(Error(ErrorKind::kCancelled, ECANCELED, "stopping"));
  }
  for (std::thread& worker : workers) worker.join();
  guests.clear();
  // The connections are destroyed without the lock: their last events take it.
  {
    MutexLock lock(mutex_);
    queue_.clear();
    guests.swap(guests_);
  }
}

}  // namespace

Result<std::unique_ptr<ReplySocket>> ReplySocket::Listen(const std::vector<std::string>& urls,
                                                         const Options& options,
                                                         ConnectionHandler handler) {
  auto socket = std::make_unique<StreamReplySocket>(options, std::move(handler));
  RETURN_IF_ERROR(socket->Start(urls));
  return socket;
}

Result<std::unique_ptr<ReplySocket>> ReplySocket::Listen(const std::vector<std::string>& urls,
                                                         int workers, size_t max_message_bytes,
                                                         ConnectionHandler handler) {
  Options options;
  options.workers = workers;
  options.max_message_bytes = max_message_bytes;
  return Listen(urls, options, std::move(handler));
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
