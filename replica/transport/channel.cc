#include "replica/transport/channel.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>

#include "replica/transport/tuning.h"

namespace tandem::replica {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr size_t kGreetingBytes = 8;
constexpr std::string_view kRequester("\0SP\0\0\x30\0\0", kGreetingBytes);
constexpr std::string_view kReplier("\0SP\0\0\x31\0\0", kGreetingBytes);
constexpr size_t kLengthBytes = 8;
constexpr char kIpcMessage = 1;  // precedes the length over ipc
constexpr uint32_t kIdBit = 0x8000'0000;
// The most that one record carries.
constexpr size_t kTlsRecordBytes = 16 << 10;
// So much at a time is encrypted and sent.
constexpr size_t kTlsBatchBytes = 512 << 10;
// Received at a time: at least (of a peer that has proved itself a whole record), and at most.
constexpr size_t kLeastCipherBytes = 4096;
constexpr size_t kLeastProvedCipherBytes = kTlsRecordBytes + 512;
constexpr size_t kMostCipherBytes = 512 << 10;
// What TLS itself has to say (its part of a handshake, new keys) and the peer does not take.
constexpr size_t kMostTlsUntaken = 64 << 10;

constexpr milliseconds kForEver{std::numeric_limits<int32_t>::max()};

uint64_t ReadBigEndian(const char* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

void AppendBigEndian(std::string& text, uint64_t value, size_t size) {
  for (size_t i = size; i-- > 0;) text += static_cast<char>(value >> (8 * i));
}

Error Ended(int code) {
  if (code == NNG_ETIMEDOUT) {
    return Error(ErrorKind::kUnreachable, ETIMEDOUT,
                 "the peer is silent in the middle of a message");
  }
  return NngError(code, "carry messages").value();
}

}  // namespace

Channel::Channel(NngStream stream, Options options, Events& events)
    : options_(std::move(options)), events_(events), stream_(std::move(stream)) {}

Status Channel::Start() {
  greeted_by_ = Clock::now() + options_.greeting_timeout;
  if (const int code = receive_.Open(&Channel::OnReceived, this); code != 0) {
    return NngError(code, "begin a connection");
  }
  if (const int code = send_.Open(&Channel::OnSendDone, this); code != 0) {
    return NngError(code, "begin a connection");
  }
  if (options_.tls != nullptr) {
    phase_ = Phase::kHandshake;
    FitCipher();
    MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(tls_, TlsSession::Begin(options_.tls, &raw_));
  } else {
    LearnPeer();
    MutexLock lock(mutex_);
    RETURN_IF_ERROR(Greet());
    BeginSend();
  }
  Receive();
  return {};
}

void Channel::End(const Error& why) {
  {
    MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return;
    // The owner may keep the channel for as long as a request takes. The kernel may still be given
    // the first.
    while (queue_.size() > (sending_ ? 1u : 0u)) queue_.pop_back();
  }
  nng_stream_close(stream_.handle);
  events_.OnEnd(why);
}

// ---- Receiving ---------------------------------------------------------------------------------

void Channel::OnReceived(void* channel) {
  auto& self = *static_cast<Channel*>(channel);
  if (const int code = nng_aio_result(self.receive_.handle); code != 0)
    return self.End(Ended(code));
  const size_t bytes = nng_aio_count(self.receive_.handle);
  if (self.options_.tls == nullptr) {
    self.Take(bytes);
  } else {
    MutexLock lock(self.mutex_);
    self.tls_->Take({self.cipher_.get(), bytes});
  }
  self.Receive();
}

// Receives until bytes have to be awaited, or an event or an error stops it.
void Channel::Receive() {
  for (;;) {
    const Step step = Parse();
    if (step == Step::kStop) return;
    if (step == Step::kMore) continue;
    const Target target = NextTarget();
    if (target.size == 0) {
      return End(Error(ErrorKind::kSystem, ENOMEM, "no memory for a message"));
    }
    if (options_.tls == nullptr) return BeginReceive(target.data, target.size);
    if (!ReceiveTls(target)) return;
  }
}

// Returns false if bytes are awaited, or the connection has ended.
bool Channel::ReceiveTls(Target target) {
  Status failed;
  bool more = false;
  {
    MutexLock lock(mutex_);
    if (phase_ == Phase::kHandshake) {
      const auto done = tls_->Handshake();
      if (!done) failed = tl::unexpected<Error>(done.error());
      if (done && *done) {
        phase_ = Phase::kGreeting;
        more = true;
        failed = Greet();
      }
    } else {
      const auto got = tls_->Read(target.data, target.size);
      if (!got) failed = tl::unexpected<Error>(got.error());
      if (got && *got > 0) {
        Take(*got);
        more = true;
      }
    }
    BeginSend();
    if (raw_.size() > kMostTlsUntaken && failed) {
      failed =
          MakeError(ErrorKind::kProtocol, "the peer takes nothing of what TLS answers", EPROTO);
    }
  }
  if (!failed) return End(failed.error()), false;
  if (more) return true;
  FitCipher();
  BeginReceive(cipher_.get(), cipher_size_);
  return false;
}

// Makes the buffer for what TLS reads twice as large as what has arrived of the frame, within
// limits: a connection on which nothing arrives takes little, and one in a frame no more than is in
// proportion to that frame, whose bytes are counted. If memory is short, the buffer stays as it is.
void Channel::FitCipher() {
  const size_t arrived = in_frame_ ? frame_.filled() : 0;
  const size_t least =
      peer_.kind == PeerIdentity::Kind::kKey ? kLeastProvedCipherBytes : kLeastCipherBytes;
  const size_t wanted = std::max(least, std::min(std::bit_floor(2 * arrived), kMostCipherBytes));
  if (wanted <= cipher_size_ && cipher_size_ <= 2 * wanted) return;
  std::unique_ptr<char[]> buffer(new (std::nothrow) char[wanted]);
  if (buffer == nullptr) return;
  cipher_ = std::move(buffer);
  cipher_size_ = wanted;
}

void Channel::BeginReceive(char* data, size_t size) {
  nng_iov target{data, size};
  nng_aio_set_iov(receive_.handle, 1, &target);
  receive_.SetTimeout(Patience());
  nng_stream_recv(stream_.handle, receive_.handle);
}

// Returns how long the next bytes may take.
milliseconds Channel::Patience() const {
  if (phase_ != Phase::kFrame) {
    return std::chrono::duration_cast<milliseconds>(greeted_by_ - Clock::now());
  }
  const bool waits_for_more = in_frame_ || inbox_end_ != inbox_begin_;
  const bool is_stranger = peer_.kind == PeerIdentity::Kind::kStranger;
  return waits_for_more || is_stranger ? options_.frame_timeout : kForEver;
}

// Large bodies are read where they belong, all else by way of the inbox.
Channel::Target Channel::NextTarget() {
  is_frames_ =
      in_frame_ && inbox_begin_ == inbox_end_ && frame_.size() - frame_.filled() >= kInboxBytes;
  if (is_frames_) {
    const auto [data, size] = frame_.Next();
    return {data, size};
  }
  if (inbox_begin_ == inbox_end_) inbox_begin_ = inbox_end_ = 0;
  if (inbox_begin_ > 0 && kInboxBytes - inbox_end_ < kGreetingBytes + kLengthBytes) {
    std::memmove(inbox_, inbox_ + inbox_begin_, inbox_end_ - inbox_begin_);
    inbox_end_ -= std::exchange(inbox_begin_, 0);
  }
  return {inbox_ + inbox_end_, kInboxBytes - inbox_end_};
}

void Channel::Take(size_t bytes) {
  if (is_frames_) {
    frame_.Filled(bytes);
    bytes_taken_ += bytes;
  } else {
    inbox_end_ += bytes;
  }
}

Channel::Step Channel::Fail(std::string what) {
  End(Error(ErrorKind::kProtocol, EPROTO, std::move(what)));
  return Step::kStop;
}

Channel::Step Channel::Parse() {
  switch (phase_) {
    case Phase::kHandshake:
      return Step::kWait;
    case Phase::kGreeting:
      return ParseGreeting();
    case Phase::kFrame:
      break;
  }
  return ParseFrame();
}

Channel::Step Channel::ParseGreeting() {
  const std::string_view expected = options_.asks ? kReplier : kRequester;
  const std::string_view said(inbox_ + inbox_begin_,
                              std::min(inbox_end_ - inbox_begin_, kGreetingBytes));
  if (!expected.starts_with(said)) return Fail("it speaks another protocol");
  if (said.size() < kGreetingBytes) return Step::kWait;
  inbox_begin_ += kGreetingBytes;
  phase_ = Phase::kFrame;
  if (options_.tls != nullptr) LearnPeer();
  {
    MutexLock lock(mutex_);
    greeted_ = true;
  }
  events_.OnReady();
  MutexLock lock(mutex_);
  BeginSend();
  return ended_ ? Step::kStop : Step::kMore;
}

Channel::Step Channel::ParseFrame() {
  if (!in_frame_) {
    const size_t header = options_.is_ipc ? 1 + kLengthBytes : kLengthBytes;
    if (inbox_end_ - inbox_begin_ < header) return Step::kWait;
    const char* at = inbox_ + inbox_begin_;
    if (options_.is_ipc && *at++ != kIpcMessage) return Fail("it speaks another protocol");
    const uint64_t size = ReadBigEndian(at, kLengthBytes);
    const size_t most = peer_.kind == PeerIdentity::Kind::kStranger
                            ? std::min(kMaxStrangerBytes, options_.max_frame_bytes)
                            : options_.max_frame_bytes;
    if (size < Frame::kIdBytes || size > most) {
      return Fail("a message of " + std::to_string(size) + " bytes (at most " +
                  std::to_string(most) + " are expected)");
    }
    inbox_begin_ += header;
    frame_ = Frame(size);
    in_frame_ = true;
  }
  const size_t waiting = std::min(inbox_end_ - inbox_begin_, frame_.size() - frame_.filled());
  for (size_t left = waiting; left > 0;) {
    const auto [data, room] = frame_.Next();
    const size_t bytes = std::min(left, room);
    if (bytes == 0) return Fail("no memory for a message");
    std::memcpy(data, inbox_ + inbox_begin_, bytes);
    frame_.Filled(bytes);
    inbox_begin_ += bytes;
    left -= bytes;
  }
  bytes_taken_ += waiting;
  if (const size_t bytes = std::exchange(bytes_taken_, 0); bytes > 0 && !events_.OnBytes(bytes)) {
    return Pause();
  }
  return frame_.complete() ? Deliver() : Step::kWait;
}

Channel::Step Channel::Deliver() {
  in_frame_ = false;
  if ((frame_.id() & kIdBit) == 0) return Fail("a message without a number");
  if (!events_.OnFrame(std::exchange(frame_, Frame()))) return Pause();
  MutexLock lock(mutex_);
  return ended_ ? Step::kStop : Step::kMore;
}

// Stops receiving until Resume, which may have come already.
Channel::Step Channel::Pause() {
  MutexLock lock(mutex_);
  if (ended_) return Step::kStop;
  if (std::exchange(resumed_early_, false)) return Step::kMore;
  paused_ = true;
  return Step::kStop;
}

void Channel::Resume() {
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    if (!std::exchange(paused_, false)) {
      resumed_early_ = true;
      return;
    }
  }
  Receive();
}

// ---- Sending -----------------------------------------------------------------------------------

Status Channel::Greet() {
  const std::string_view greeting = options_.asks ? kRequester : kReplier;
  if (options_.tls != nullptr) return tls_->Write(greeting.data(), greeting.size());
  raw_ += greeting;
  return {};
}

void Channel::Send(uint32_t id, std::shared_ptr<const std::string> body) {
  Outgoing frame{{}, std::move(body)};
  if (options_.is_ipc) frame.header += kIpcMessage;
  AppendBigEndian(frame.header, frame.body->size() + Frame::kIdBytes, kLengthBytes);
  AppendBigEndian(frame.header, id, Frame::kIdBytes);
  MutexLock lock(mutex_);
  if (ended_) return;
  unsent_bytes_ += frame.size();
  queue_.push_back(std::move(frame));
  BeginSend();
}

// Encrypts the next of the queue into raw_. Headers and small frames share a record; of a large
// frame only its first record is copied before.
Status Channel::Encrypt() {
  std::string record;
  while (!queue_.empty() && raw_.size() < kTlsBatchBytes) {
    const size_t sent = front_sent_;
    const Outgoing& large = queue_.front();
    if (sent >= large.header.size() && large.size() - sent >= kTlsRecordBytes) {
      const size_t bytes = std::min(large.size() - sent, kTlsBatchBytes - raw_.size());
      RETURN_IF_ERROR(tls_->Write(large.body->data() + (sent - large.header.size()), bytes));
      raw_content_ += FrontSent(bytes);
      continue;
    }
    record.clear();
    while (!queue_.empty() && record.size() < kTlsRecordBytes) {
      const Outgoing& front = queue_.front();
      if (front_sent_ < front.header.size()) {
        record.append(front.header, front_sent_);
        front_sent_ = front.header.size();
      }
      const size_t at = front_sent_ - front.header.size();
      const size_t bytes = std::min(front.body->size() - at,
                                    kTlsRecordBytes - std::min(record.size(), kTlsRecordBytes));
      record.append(*front.body, at, bytes);
      raw_content_ += FrontSent(bytes);
    }
    RETURN_IF_ERROR(tls_->Write(record.data(), record.size()));
  }
  return {};
}

// So much more of the front of the queue is sent, or encrypted. Returns the size of the frame if
// that was the rest of it, otherwise 0.
size_t Channel::FrontSent(size_t bytes) {
  front_sent_ += bytes;
  const size_t size = queue_.front().size();
  if (front_sent_ < size) return 0;
  queue_.pop_front();
  front_sent_ = 0;
  return size;
}

void Channel::BeginSend() {
  if (sending_ || ended_) return;
  const bool has_rest = !sending_raw_.empty();  // the kernel took a part
  if (tls_ != nullptr && greeted_ && !has_rest && raw_.empty()) {
    // The end is reported by the operation that is receiving.
    if (!Encrypt()) return nng_stream_close(stream_.handle);
  }
  nng_iov pieces[2];
  unsigned count = 0;
  if (!has_rest && !raw_.empty()) {
    std::swap(sending_raw_, raw_);
    sending_content_ = std::exchange(raw_content_, 0);
    sending_raw_at_ = 0;
  }
  if (!sending_raw_.empty()) {
    pieces[count++] = {sending_raw_.data() + sending_raw_at_,
                       sending_raw_.size() - sending_raw_at_};
  } else if (tls_ == nullptr && greeted_ && !queue_.empty()) {
    Outgoing& front = queue_.front();
    const size_t header = front.header.size();
    if (front_sent_ < header) {
      pieces[count++] = {front.header.data() + front_sent_, header - front_sent_};
    }
    const size_t at = std::max(front_sent_, header) - header;
    // nng does not write to what it sends.
    pieces[count++] = {const_cast<char*>(front.body->data()) + at, front.body->size() - at};
  } else {
    return;
  }
  sending_ = true;
  nng_aio_set_iov(send_.handle, count, pieces);
  send_.SetTimeout(options_.frame_timeout);
  nng_stream_send(stream_.handle, send_.handle);
}

void Channel::Sent(size_t bytes) {
  sending_ = false;
  if (!sending_raw_.empty()) {
    sending_raw_at_ += bytes;
    if (sending_raw_at_ < sending_raw_.size()) return;
    sending_raw_.clear();
    if (raw_.empty() && queue_.empty()) {  // nothing is kept for what may never come
      sending_raw_ = {};
      raw_ = {};
    }
    unsent_bytes_ -= std::exchange(sending_content_, 0);
    return;
  }
  unsent_bytes_ -= FrontSent(bytes);
}

void Channel::OnSendDone(void* channel) {
  auto& self = *static_cast<Channel*>(channel);
  if (const int code = nng_aio_result(self.send_.handle); code != 0) return self.End(Ended(code));
  bool all = false;
  {
    MutexLock lock(self.mutex_);
    self.Sent(nng_aio_count(self.send_.handle));
    self.BeginSend();
    all = !self.sending_ && self.greeted_;
  }
  if (all) self.events_.OnSent();
}

// ---- The peer ----------------------------------------------------------------------------------

void Channel::LearnPeer() {
  peer_.address = Address();
  if (options_.is_ipc) {
    uint64_t user = 0;
    peer_.kind = PeerIdentity::Kind::kUser;
    if (nng_stream_get_uint64(stream_.handle, NNG_OPT_IPC_PEER_UID, &user) != 0) {
      user = std::numeric_limits<uid_t>::max();  // nobody
    }
    peer_.user = static_cast<uid_t>(user);
    return;
  }
  if (options_.tls == nullptr) return;
  MutexLock lock(mutex_);
  peer_.kind = tls_->is_verified() ? PeerIdentity::Kind::kKey : PeerIdentity::Kind::kStranger;
  peer_.key = tls_->PeerKey();
  if (tls_->is_verified()) peer_.name = tls_->PeerName();
}

std::pair<uint16_t, uint16_t> Channel::Ports() const {
  const auto port = [this](const char* which) -> uint16_t {
    nng_sockaddr address;
    if (nng_stream_get_addr(stream_.handle, which, &address) != 0) return 0;
    if (address.s_family == NNG_AF_INET) return ntohs(address.s_in.sa_port);
    return address.s_family == NNG_AF_INET6 ? ntohs(address.s_in6.sa_port) : 0;
  };
  return {port(NNG_OPT_LOCADDR), port(NNG_OPT_REMADDR)};
}

std::string Channel::Address() const {
  if (options_.is_ipc) {
    uint64_t process = 0;
    const bool known = nng_stream_get_uint64(stream_.handle, NNG_OPT_IPC_PEER_PID, &process) == 0;
    return known ? "process " + std::to_string(process) : "a process of this host";
  }
  nng_sockaddr address;
  char text[INET6_ADDRSTRLEN] = "";
  if (nng_stream_get_addr(stream_.handle, NNG_OPT_REMADDR, &address) != 0) return "";
  if (address.s_family == NNG_AF_INET) {
    inet_ntop(AF_INET, &address.s_in.sa_addr, text, sizeof text);
  } else if (address.s_family == NNG_AF_INET6) {
    inet_ntop(AF_INET6, &address.s_in6.sa_addr, text, sizeof text);
  }
  return text;
}

}  // namespace tandem::replica
