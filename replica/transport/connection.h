// What a request came over; lives as long as somebody holds it. Any thread.
#pragma once

#include <atomic>
#include <memory>

namespace tandem::replica {

class Connection {
 public:
  // False once the other side has closed it, which the end of its process does as well. True proves
  // little: nobody hears of a host that has vanished.
  bool open() const { return open_; }
  void NoteClosed() { open_ = false; }

 private:
  std::atomic<bool> open_{true};
};
using ConnectionRef = std::shared_ptr<const Connection>;

}  // namespace tandem::replica
