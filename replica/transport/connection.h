// The connection over which a request came. Any thread may use it; the last ConnectionRef frees it.
#pragma once

#include <atomic>
#include <memory>

namespace tandem::replica {

class Connection {
 public:
  // Returns false once the peer has closed the connection, which the end of the peer's process also
  // does. If it returns true, the peer's host may still be gone: that closes nothing.
  bool open() const { return open_; }
  void NoteClosed() { open_ = false; }

 private:
  std::atomic<bool> open_{true};
};
using ConnectionRef = std::shared_ptr<const Connection>;

}  // namespace tandem::replica
