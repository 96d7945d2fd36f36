// One connection that carries frames: the SP mappings over tcp, ipc and TLS
// (https://nanomsg.org/rfcs/sp-tcp-v1.html, sp-ipc-v1.html, sp-tls-v1.html), as nng's REQ and REP
// sockets speak them, on a byte stream of nng. CONNECTIONS.md describes its states and limits.
//
// Any thread may call the public functions. Events come on threads of nng, or on the one that calls
// Start or Resume, one at a time but for OnSent and OnEnd, and with no lock of the channel held.
// The owner keeps the channel until OnEnd, which comes exactly once, and destroys it later, on a
// thread that is not nng's.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "meta/base/mutex.h"
#include "meta/base/result.h"
#include "replica/transport/frame.h"
#include "replica/transport/nng_stream.h"
#include "replica/transport/peer_identity.h"
#include "replica/transport/tls.h"

namespace tandem::replica {

class Channel {
 public:
  struct Options {
    bool asks = false;  // REQ, which begins; otherwise REP
    bool is_ipc = false;
    size_t max_frame_bytes = 0;
    std::shared_ptr<const TlsContext> tls;  // null: the bytes travel as they are
    // Until the greetings are exchanged, handshake included.
    std::chrono::milliseconds greeting_timeout{};
    // Without a byte in the middle of a frame, in either direction.
    std::chrono::milliseconds frame_timeout{};
  };

  class Events {
   public:
    virtual ~Events() = default;
    // The greetings have been exchanged: peer() is known, and frames may be sent.
    virtual void OnReady() = 0;
    // So many more bytes of a frame have arrived. Returns false if there is no memory for more at
    // present: nothing is received until Resume().
    virtual bool OnBytes(size_t bytes) = 0;
    // A frame that has an id is complete. Returns false if no more can be taken at present: nothing
    // is received until Resume().
    virtual bool OnFrame(Frame frame) = 0;
    // All frames that were to be sent have gone to the kernel.
    virtual void OnSent() = 0;
    // The connection has ended.
    virtual void OnEnd(const Error& why) = 0;
  };

  // `events` must outlive the channel.
  Channel(NngStream stream, Options options, Events& events);
  Channel(const Channel&) = delete;
  ~Channel() = default;

  // Begins. Until it is called there are no events.
  Status Start();
  // Sends a frame; drops it if the connection has ended. `body` is shared until it is sent.
  void Send(uint32_t id, std::shared_ptr<const std::string> body) EXCLUDES(mutex_);
  // Goes on receiving after an event returned false.
  void Resume();
  // Ends the connection. OnEnd comes before this returns, unless it has come already.
  void End(const Error& why) EXCLUDES(mutex_);

  // Bytes of frames that have not gone to the kernel as a whole: they are kept until they have.
  size_t unsent_bytes() const { return unsent_bytes_; }
  // Valid from OnReady on.
  const PeerIdentity& peer() const { return peer_; }
  // Ports of a TCP connection in host byte order, {0, 0} of others: local, remote.
  std::pair<uint16_t, uint16_t> Ports() const;
  // What the peer's address is, for messages.
  std::string Address() const;

 private:
  enum class Phase { kHandshake, kGreeting, kFrame };
  struct Outgoing {
    std::string header;
    std::shared_ptr<const std::string> body;
    size_t size() const { return header.size() + body->size(); }
  };
  struct Target {
    char* data;
    size_t size;
  };
  enum class Step { kMore, kWait, kStop };  // parsed something; needs bytes; paused or ended

  static void OnReceived(void* channel);
  static void OnSendDone(void* channel);

  // ---- Receiving: on one thread at a time ----
  void Receive();
  bool ReceiveTls(Target target) EXCLUDES(mutex_);
  void FitCipher();
  Step Parse();
  Step ParseGreeting();
  Step ParseFrame();
  Step Deliver();
  Step Pause() EXCLUDES(mutex_);
  Step Fail(std::string what);
  void Take(size_t bytes);
  Target NextTarget();
  void BeginReceive(char* data, size_t size);
  std::chrono::milliseconds Patience() const;
  void LearnPeer() EXCLUDES(mutex_);

  // ---- Sending ----
  Status Greet() REQUIRES(mutex_);
  void BeginSend() REQUIRES(mutex_);
  Status Encrypt() REQUIRES(mutex_);
  void Sent(size_t bytes) REQUIRES(mutex_);
  size_t FrontSent(size_t bytes) REQUIRES(mutex_);

  const Options options_;
  Events& events_;
  PeerIdentity peer_;
  std::atomic<size_t> unsent_bytes_{0};

  // Of the receiving thread.
  Phase phase_ = Phase::kGreeting;
  std::chrono::steady_clock::time_point greeted_by_;
  bool in_frame_ = false;   // its header has been parsed
  bool is_frames_ = false;  // the next bytes go into the frame itself
  size_t bytes_taken_ = 0;  // of the frame, not yet told by OnBytes
  Frame frame_;
  std::unique_ptr<char[]> cipher_;  // a buffer for what TLS reads
  size_t cipher_size_ = 0;
  static constexpr size_t kInboxBytes = 4096;
  char inbox_[kInboxBytes];  // headers, and what came with them
  size_t inbox_begin_ = 0;
  size_t inbox_end_ = 0;

  Mutex mutex_;
  bool ended_ GUARDED_BY(mutex_) = false;
  bool paused_ GUARDED_BY(mutex_) = false;
  bool resumed_early_ GUARDED_BY(mutex_) = false;
  bool sending_ GUARDED_BY(mutex_) = false;
  std::string raw_ GUARDED_BY(mutex_);  // goes before the queue: greeting, TLS records
  std::unique_ptr<TlsSession> tls_ GUARDED_BY(mutex_);
  bool greeted_ GUARDED_BY(mutex_) = false;  // OnReady has come: the queue may be sent
  std::deque<Outgoing> queue_ GUARDED_BY(mutex_);
  size_t front_sent_ GUARDED_BY(mutex_) = 0;   // bytes of the front that are sent, or encrypted
  size_t raw_content_ GUARDED_BY(mutex_) = 0;  // bytes of frames that end in raw_
  std::string sending_raw_ GUARDED_BY(mutex_);
  size_t sending_content_ GUARDED_BY(mutex_) = 0;
  size_t sending_raw_at_ GUARDED_BY(mutex_) = 0;

  // Destroyed first: no callback runs after that.
  NngStream stream_;
  NngAio receive_;
  NngAio send_;
};

}  // namespace tandem::replica
