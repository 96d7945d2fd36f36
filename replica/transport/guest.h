// One connection of a ReplySocket, and what the socket notes about it.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "meta/base/mutex.h"
#include "replica/transport/channel.h"
#include "replica/transport/transport.h"

namespace tandem::replica {

class Guest final : public Channel::Events, public std::enable_shared_from_this<Guest> {
 public:
  using Clock = CondVar::Clock;

  // What the connection reports, on threads of nng or of workers: see Channel::Events.
  class Host {
   public:
    virtual ~Host() = default;
    virtual void Ready(Guest& guest) = 0;
    virtual bool TakeBytes(Guest& guest, size_t bytes) = 0;
    virtual bool TakeFrame(Guest& guest, Frame frame) = 0;
    virtual void Sent(Guest& guest) = 0;
    virtual void Ended(Guest& guest) = 0;
  };

  // `host` must outlive the guest.
  Guest(Host& host, NngStream stream, Channel::Options options)
      : host_(host), channel_(std::move(stream), std::move(options), *this) {}

  Channel& channel() { return channel_; }
  size_t unsent_bytes() const { return channel_.unsent_bytes(); }

  // The rest is guarded by the host's mutex.
  std::shared_ptr<Connection> connection;  // null before the greeting
  bool proved = false;                     // has been greeted, and its peer is no stranger
  std::string address;
  std::string identity;  // one peer's: its connections share memory and workers
  std::deque<Frame> waiting;
  int running = 0;
  size_t owed = 0;      // of unsent_bytes(), what is counted among its peer's
  bool paused = false;  // too many requests, or answers that the peer does not take
  bool ended = false;
  Clock::time_point last_bytes = Clock::now();  // of a frame

  // Of FrameMemory.
  size_t frame_bytes = 0;  // that arrive, wait or are being answered
  bool wants_memory = false;
  bool may_exceed = false;  // its frame is received though memory is short, so that one is complete

 private:
  void OnReady() override { host_.Ready(*this); }
  bool OnBytes(size_t bytes) override { return host_.TakeBytes(*this, bytes); }
  bool OnFrame(Frame frame) override { return host_.TakeFrame(*this, std::move(frame)); }
  void OnSent() override { host_.Sent(*this); }
  void OnEnd(const Error& why) override;

  Host& host_;
  Channel channel_;
};

using GuestRef = std::shared_ptr<Guest>;
using Guests = std::unordered_map<Guest*, GuestRef>;

// Chooses a connection to end where there are too many: one that has proved nothing yet, or with
// `proved_too` any that does nothing. Of the address that has most of them, the one that has been
// silent for longest. Returns null if there is none. Called with the host's mutex held.
GuestRef ChooseToEnd(const Guests& guests, bool proved_too);

}  // namespace tandem::replica
