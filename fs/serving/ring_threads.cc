#include "fs/serving/ring_threads.h"

#include <liburing.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
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

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

Status MakeRing(io_uring& ring) {
  constexpr unsigned kEntries = 2;
  io_uring_params parameters = {};
  // Completions are taken in where the ring's thread waits for them, and interrupt no handler.
  parameters.flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  const int error = io_uring_queue_init_params(kEntries, &ring, &parameters);
  return error < 0 ? ErrnoError(-error, "set up an io_uring") : Status();
}

bool IsEnd(int error) {
  // ENOENT: the reply came when the connection was being aborted.
  return error == ENOTCONN || error == ECONNABORTED || error == ENODEV || error == ENOENT;
}

// Returns how many processors there are ("present"), or may ever be ("possible"): the kernel has
// queues for the latter.
size_t CountProcessors(const std::string& which) {
  // "0-3", or "0": the last number is the highest.
  std::string list;
  std::ifstream("/sys/devices/system/cpu/" + which) >> list;
  const size_t last = list.find_last_of("-,");
  const std::string number = last == std::string::npos ? list : list.substr(last + 1);
  const unsigned long highest = std::strtoul(number.c_str(), nullptr, 10);
  return std::min<unsigned long>(highest, CPU_SETSIZE - 1) + 1;
}

}  // namespace

// One entry of a queue: its memory, its io_uring and its thread.
class RingThreads::Entry {
 public:
  // `place`: among the entries.
  Entry(RingThreads& threads, size_t place, size_t processor)
      : threads_(threads), place_(place), processor_(static_cast<uint16_t>(processor)) {}
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

  uint16_t processor() const { return processor_; }
  bool is_open() const { return is_open_; }
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
  int Enter(unsigned least, const __kernel_timespec* timeout);
  void ReleaseMemory();
  // Sends what is prepared and waits. Returns the result of a completion, or -EINTR.
  int Wait();
  void Handle();
  void AwaitAnswer() EXCLUDES(mutex_);
  void Put(const iovec* reply, int count);
  void Refuse(uint64_t unique);

  RingThreads& threads_;
  const size_t place_;
  const uint16_t processor_;
  pthread_t thread_ = {};
  bool started_ = false;
  bool is_open_ = false;  // set before AwaitRegistration
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
  bool elsewhere_ GUARDED_BY(mutex_) = false;  // another thread has answered the request
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
  const size_t possible = CountProcessors("possible");
  const size_t present = std::min(possible, CountProcessors("present"));
  // Each takes a descriptor.
  rlimit descriptors = {};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  const size_t most = std::max<size_t>(descriptors.rlim_cur / kRingDescriptorShare, possible);
  // Every processor has one entry before any has two: a lack of memory leaves each with some. One
  // that may be added later has two.
  for (size_t i = 0; i < std::max(kRingEntries / present, kLeastRingEntries); ++i) {
    for (size_t processor = 0; processor < (i < 2 ? possible : present); ++processor) {
      if (entries_.size() >= most) return;
      entries_.push_back(std::make_unique<Entry>(*this, entries_.size(), processor));
    }
  }
}

Status RingThreads::Probe() {
  io_uring ring = {};
  RETURN_IF_ERROR(MakeRing(ring));
  io_uring_queue_exit(&ring);
  return {};
}

RingThreads::~RingThreads() { Stop(); }

Status RingThreads::Start() {
  size_t started = 0;
  Status status;
  for (; started < entries_.size() && status; started += status ? 1 : 0) {
    status = entries_[started]->Start();
  }
  MutexLock lock(mutex_);
  while (waiting_ + failed_ < started) changed_.Wait(mutex_);
  if (status) status = failure_;
  // Others need threads and descriptors too.
  if (!status) most_registered_ = started / 2;
  std::set<uint16_t> processors;
  std::set<uint16_t> served;
  for (size_t i = 0; i < entries_.size(); ++i) {
    processors.insert(entries_[i]->processor());
    if (i < most_registered_ && entries_[i]->is_open()) served.insert(entries_[i]->processor());
  }
  if (served != processors) return status;
  if (!status) {
    LogWarning("{} of {} requests are handled at a time at most: {}", most_registered_,
               entries_.size(), status.error().ToString());
  }
  return {};
}

bool RingThreads::AwaitRegistration(size_t place, Status opened) {
  MutexLock lock(mutex_);
  const bool is_open = opened.has_value();
  if (!is_open && failure_) failure_ = std::move(opened);
  ++(is_open ? waiting_ : failed_);
  changed_.NotifyAll();
  while (is_open && !registering_ && !stopping_) changed_.Wait(mutex_);
  return is_open && !stopping_ && place < most_registered_;
}

void RingThreads::Register() {
  MutexLock lock(mutex_);
  registering_ = true;
  changed_.NotifyAll();
}

void RingThreads::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  // Repeated: a thread that was about to wait when the signal came would wait for ever.
  while (serving_ > 0) {
    for (const auto& entry : entries_) {
      if (entry->unique() == 0) entry->Signal();  // a handler is not to be interrupted
    }
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
  RETURN_IF_ERROR(MakeRing(ring_));
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

// io_uring_submit_and_wait, but so that the kernel does not count the wait as one for a disk: a
// machine with a mount that idles would look as if its disks were busy all the time.
int RingThreads::Entry::Enter(unsigned least, const __kernel_timespec* timeout) {
  io_uring_sq& queue = ring_.sq;
  unsigned tail = *queue.ktail;
  for (; queue.sqe_head != queue.sqe_tail; ++queue.sqe_head, ++tail) {
    // Null where liburing asks for none (2.6 and later).
    if (queue.array != nullptr) {
      queue.array[tail & *queue.kring_mask] = queue.sqe_head & *queue.kring_mask;
    }
  }
  __atomic_store_n(queue.ktail, tail, __ATOMIC_RELEASE);
  const unsigned to_submit = tail - __atomic_load_n(queue.khead, __ATOMIC_ACQUIRE);
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if ((ring_.features & uring_abi::kFeatNoIoWait) != 0) flags |= uring_abi::kEnterNoIoWait;
  io_uring_getevents_arg argument = {};
  argument.ts = reinterpret_cast<uint64_t>(timeout);
  return io_uring_enter2(ring_.ring_fd, to_submit, least, flags,
                         reinterpret_cast<sigset_t*>(&argument), sizeof argument);
}

int RingThreads::Entry::Wait() {
  const __kernel_timespec linger = {.tv_sec = kRingMemoryLinger.count(), .tv_nsec = 0};
  const int entered = Enter(1, holds_memory_ ? &linger : nullptr);
  io_uring_cqe* cqe = nullptr;
  if (io_uring_peek_cqe(&ring_, &cqe) != 0) {
    if (holds_memory_) ReleaseMemory();
    // Out of memory, say: what is prepared is sent next time.
    const bool failed = entered < 0 && entered != -EINTR && entered != -ETIME;
    if (failed) std::this_thread::sleep_for(kNoMemoryPause);
    return -EINTR;  // or ETIME
  }
  const int result = cqe->res;
  io_uring_cqe_seen(&ring_, cqe);
  return result;
}

void RingThreads::Entry::ReleaseMemory() {
  madvise(payload_ + kRingMemoryKept, threads_.options_.payload_bytes - kRingMemoryKept,
          MADV_DONTNEED);
  holds_memory_ = false;
}

void RingThreads::Entry::Serve() {
  pthread_setname_np(pthread_self(), ("ring-" + std::to_string(processor_)).c_str());
  Bind();
  Status opened = OpenRing();
  is_open_ = opened.has_value();
  if (!threads_.AwaitRegistration(place_, std::move(opened))) {
    if (is_open_) io_uring_queue_exit(&ring_);
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
      // If the kernel refuses one entry it uses /dev/fuse, or the others.
      if (!IsEnd(-result)) {
        LogWarning("an entry of processor {} is not used any more: io_uring of FUSE: {}",
                   processor_, strerror(-result));
      }
      break;
    }
  }
  // What was answered last.
  if (operation_ == uring_abi::kCommitAndFetch && !waiting) {
    Prepare(operation_);
    (void)Enter(0, nullptr);
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
  unique_.store(0, std::memory_order_release);  // too late for another
  elsewhere_ = false;
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
