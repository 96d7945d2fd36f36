#include "fs/serving/ring_threads.h"

#include <liburing.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "fs/serving/tuning.h"
#include "fs/serving/uring_abi.h"
#include "fs/serving/wake_signal.h"
#include "meta/base/log.h"
#include "meta/base/mutex.h"

namespace tandem::fs {
namespace {

using uring_abi::Command;
using uring_abi::RingHeader;

constexpr size_t kPage = 4096;

// Returns how many processors the kernel has queues for: those that there may ever be.
size_t PossibleProcessors() {
  // "0-3", or "0": the last number is the highest.
  std::string list;
  std::ifstream("/sys/devices/system/cpu/possible") >> list;
  const size_t last = list.find_last_of("-,");
  const std::string number = last == std::string::npos ? list : list.substr(last + 1);
  const unsigned long highest = std::strtoul(number.c_str(), nullptr, 10);
  return std::min<unsigned long>(highest, CPU_SETSIZE - 1) + 1;
}

}  // namespace

// One entry of a queue: its memory, its io_uring and its thread.
class RingThreads::Entry {
 public:
  Entry(RingThreads& threads, size_t processor)
      : threads_(threads), processor_(static_cast<uint16_t>(processor)) {}
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() {
    if (memory_ != MAP_FAILED) munmap(memory_, MemoryBytes());
  }

  Status Start();
  void Signal() const {
    if (started_) pthread_kill(thread_, WakeSignal());
  }
  void Join() {
    if (std::exchange(started_, false)) pthread_join(thread_, nullptr);
  }
  // The thread's work.
  void Serve();

  uint64_t unique() const { return unique_.load(std::memory_order_acquire); }
  std::span<char> payload() { return {payload_, threads_.options_.payload_bytes}; }
  // Called by the thread that handles the request.
  void AnswerHere(const iovec* reply, int count) {
    Put(reply, count);
    answered_ = true;
  }
  // Called by another thread. Returns false if the request has been answered.
  bool AnswerElsewhere(uint64_t unique, const iovec* reply, int count) EXCLUDES(mutex_);

 private:
  // The header, a page in which a request is put together, and the payload.
  size_t MemoryBytes() const { return 2 * kPage + threads_.options_.payload_bytes; }
  Status OpenRing();
  void Bind() const;
  void Prepare(uint32_t operation);
  // Sends what is prepared and waits. Returns the result of a completion, or -EINTR.
  int Wait();
  void Handle();
  void AwaitAnswer() EXCLUDES(mutex_);
  void Put(const iovec* reply, int count);
  void Refuse(uint64_t unique);

  RingThreads& threads_;
  const uint16_t processor_;
  pthread_t thread_ = {};
  bool started_ = false;
  void* memory_ = MAP_FAILED;
  RingHeader* header_ = nullptr;
  char* payload_ = nullptr;
  iovec buffers_[2] = {};
  io_uring ring_ = {};
  uint32_t operation_ = 0;  // that was sent last
  uint64_t commit_id_ = 0;
  bool answered_ = false;
  bool holds_memory_ = false;  // a large payload has been there

  std::atomic<uint64_t> unique_{0};  // of the request being handled; 0: none
  Mutex mutex_;
  CondVar answered_elsewhere_;
  bool elsewhere_ GUARDED_BY(mutex_) = false;
};

struct RingThreads::Current {
  uint64_t unique = 0;
  Entry* entry = nullptr;
};

RingThreads::Current& RingThreads::current() {
  thread_local Current current;
  return current;
}

std::span<char> RingThreads::ReplySpace() {
  Entry* const entry = current().entry;
  return entry == nullptr ? std::span<char>() : entry->payload();
}

bool RingThreads::Answer(uint64_t unique, const iovec* reply, int count) {
  const Current& here = current();
  if (here.entry != nullptr && here.unique == unique) {
    here.entry->AnswerHere(reply, count);
    return true;
  }
  return used() && std::ranges::any_of(entries_, [&](const auto& entry) {
           return entry->unique() == unique && entry->AnswerElsewhere(unique, reply, count);
         });
}

RingThreads::RingThreads(const Options& options) : options_(options) {
  const size_t processors = PossibleProcessors();
  // Every processor has one entry before any has two: a lack of memory leaves each with some.
  for (size_t i = 0; i < std::max(kRingEntries / processors, kLeastRingEntries); ++i) {
    for (size_t processor = 0; processor < processors; ++processor) {
      entries_.push_back(std::make_unique<Entry>(*this, processor));
    }
  }
}

RingThreads::~RingThreads() { Stop(); }

Status RingThreads::Start() {
  for (const auto& entry : entries_) RETURN_IF_ERROR(entry->Start());
  return {};
}

void RingThreads::Stop() {
  stopping_ = true;
  // Repeated: a thread that was about to wait when the signal came would wait for ever.
  while (serving_ > 0) {
    for (const auto& entry : entries_) entry->Signal();
    std::this_thread::sleep_for(kInterruptRepeat);
  }
  for (const auto& entry : entries_) entry->Join();
}

void* RingThreads::ThreadEntry(void* entry) {
  static_cast<Entry*>(entry)->Serve();
  return nullptr;
}

Status RingThreads::Entry::Start() {
  // The pages of the payload take memory when they are used.
  memory_ = mmap(nullptr, MemoryBytes(), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory_ == MAP_FAILED) return ErrnoError("memory of a ring's entry");
  header_ = static_cast<RingHeader*>(memory_);
  payload_ = static_cast<char*>(memory_) + 2 * kPage;
  buffers_[0] = {header_, sizeof *header_};
  buffers_[1] = {payload_, threads_.options_.payload_bytes};
  ++threads_.serving_;
  if (const int error = pthread_create(&thread_, nullptr, &RingThreads::ThreadEntry, this);
      error != 0) {
    --threads_.serving_;
    return ErrnoError(error, "start a ring's thread");
  }
  started_ = true;
  return {};
}

void RingThreads::Entry::Bind() const {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor_, &set);
  // Fails for one that is not there, or not allowed: any other serves it.
  (void)sched_setaffinity(0, sizeof set, &set);
}

Status RingThreads::Entry::OpenRing() {
  io_uring_params parameters = {};
  // Completions are taken in where this thread waits for them, and interrupt no handler.
  parameters.flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  if (const int error = io_uring_queue_init_params(2, &ring_, &parameters); error < 0) {
    return ErrnoError(-error, "set up an io_uring");
  }
  if (const int error = io_uring_register_files(&ring_, &threads_.options_.device, 1); error < 0) {
    io_uring_queue_exit(&ring_);
    return ErrnoError(-error, "register /dev/fuse with an io_uring");
  }
  return {};
}

void RingThreads::Entry::Prepare(uint32_t operation) {
  operation_ = operation;
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);  // there is one: none is under way
  *sqe = {};
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->flags = IOSQE_FIXED_FILE;
  sqe->fd = 0;
  sqe->cmd_op = operation;
  if (operation == uring_abi::kRegister) {
    sqe->addr = reinterpret_cast<uint64_t>(buffers_);
    sqe->len = 2;
  }
  const Command command = {.flags = 0, .commit_id = commit_id_, .queue = processor_, .padding = {}};
  std::memset(sqe->cmd, 0, 80);
  std::memcpy(sqe->cmd, &command, sizeof command);
}

int RingThreads::Entry::Wait() {
  io_uring_cqe* cqe = nullptr;
  if (!holds_memory_) {
    (void)io_uring_submit_and_wait(&ring_, 1);
  } else {
    __kernel_timespec linger = {.tv_sec = kRingMemoryLinger.count(), .tv_nsec = 0};
    const int done = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &linger, nullptr);
    if (done == -ETIME) {
      madvise(payload_ + kRingMemoryKept, threads_.options_.payload_bytes - kRingMemoryKept,
              MADV_DONTNEED);
      holds_memory_ = false;
    }
  }
  if (io_uring_peek_cqe(&ring_, &cqe) != 0) return -EINTR;
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  return result;
}

void RingThreads::Entry::Serve() {
  pthread_setname_np(pthread_self(), ("ring-" + std::to_string(processor_)).c_str());
  Bind();
  if (const Status opened = OpenRing(); !opened) {
    LogWarning("requests come over /dev/fuse: {}", opened.error().ToString());
    --threads_.serving_;
    return;
  }
  bool waiting = false;  // the kernel has the entry
  while (!threads_.stopping_) {
    if (!waiting) Prepare(operation_ == 0 ? uring_abi::kRegister : operation_);
    const int result = Wait();
    waiting = result == -EINTR;
    if (waiting) continue;
    if (result == 0) {
      Handle();
      operation_ = uring_abi::kCommitAndFetch;
    } else if (result == -EAGAIN) {  // the same once more
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } else {
      if (result != -ENOTCONN && result != -ECONNABORTED && result != -ENODEV) {
        LogWarning("a ring of processor {} has ended: {}", processor_, strerror(-result));
      }
      break;
    }
  }
  // What was answered last.
  if (operation_ == uring_abi::kCommitAndFetch && !waiting) {
    Prepare(operation_);
    (void)io_uring_submit(&ring_);
  }
  io_uring_queue_exit(&ring_);
  --threads_.serving_;
}

void RingThreads::Entry::Handle() {
  threads_.used_.store(true, std::memory_order_relaxed);
  fuse_in_header in;
  std::memcpy(&in, header_->in_out, sizeof in);
  commit_id_ = header_->entry.commit_id;
  const size_t payload = header_->entry.payload_bytes;
  holds_memory_ = holds_memory_ || payload > kRingMemoryKept;
  answered_ = false;
  if (in.len < sizeof in + payload || in.len - sizeof in - payload > sizeof header_->operation ||
      payload > threads_.options_.payload_bytes) {
    LogError("a request over io_uring has an impossible length");
    Refuse(in.unique);
    return;
  }
  // As it would have been read from /dev/fuse: in front of the payload.
  const size_t operation = in.len - sizeof in - payload;
  char* const start = payload_ - operation - sizeof in;
  std::memcpy(start, &in, sizeof in);
  std::memcpy(start + sizeof in, header_->operation, operation);
  fuse_buf buffer = {};
  buffer.mem = start;
  buffer.size = in.len;
  {
    MutexLock lock(mutex_);
    elsewhere_ = false;
  }
  unique_.store(in.unique, std::memory_order_release);
  current() = {in.unique, this};
  fuse_session_process_buf(threads_.options_.session, &buffer);
  current() = {};
  if (!answered_) AwaitAnswer();
  unique_.store(0, std::memory_order_release);
}

void RingThreads::Entry::AwaitAnswer() {
  MutexLock lock(mutex_);
  while (!elsewhere_ && !threads_.stopping_) {
    answered_elsewhere_.WaitFor(mutex_, kRingAnswerLook);
  }
  if (!elsewhere_) Refuse(unique());
  elsewhere_ = true;  // too late for another
}

void RingThreads::Entry::Refuse(uint64_t unique) {
  fuse_out_header out = {.len = sizeof out, .error = -EIO, .unique = unique};
  const iovec reply = {&out, sizeof out};
  Put(&reply, 1);
}

bool RingThreads::Entry::AnswerElsewhere(uint64_t unique, const iovec* reply, int count) {
  MutexLock lock(mutex_);
  if (elsewhere_ || this->unique() != unique) return false;
  Put(reply, count);
  elsewhere_ = true;
  answered_elsewhere_.NotifyAll();
  return true;
}

void RingThreads::Entry::Put(const iovec* reply, int count) {
  fuse_out_header out;
  std::memcpy(&out, reply[0].iov_base, sizeof out);
  size_t length = 0;
  for (int i = 1; i < count; ++i) {
    const iovec& part = reply[i];
    if (part.iov_len > threads_.options_.payload_bytes - length) {
      LogError("a reply is larger than was agreed");
      out.error = -EIO;
      length = 0;
      break;
    }
    if (part.iov_base != payload_ + length && part.iov_len > 0) {
      std::memcpy(payload_ + length, part.iov_base, part.iov_len);
    }
    length += part.iov_len;
  }
  holds_memory_ = holds_memory_ || length > kRingMemoryKept;
  header_->entry.payload_bytes = static_cast<uint32_t>(length);
  std::memcpy(header_->in_out, &out, sizeof out);
}

}  // namespace tandem::fs
