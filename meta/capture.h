// Capture: every operation that changes something passes through here, so that it is marked before
// it happens and known precisely afterwards (DESIGN section 4).
//
//   ASSIGN_OR_RETURN(Operation operation, capture.Begin(Intent().Data(file, range)));
//   ssize_t n = pwrite(...);
//   if (n > 0) operation.Wrote(file, ByteRange::Of(offset, n));
//   // ~Operation leaves the gate; reply after that.
//
// Begin may wait for a database commit (the first change of a region) and for the instant of a cut;
// between Begin and ~Operation nothing may wait for another request, for the network or for a
// commit. A thread has at most one Operation at a time. What a slow disk may make wait goes through
// Operation::Alter.
#pragma once

#include <cassert>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "meta/base/ids.h"
#include "meta/base/range_set.h"
#include "meta/base/result.h"
#include "meta/base/unique_fd.h"
#include "meta/change_set.h"
#include "meta/straddlers.h"

namespace tandem::meta {

class Tracker;

// What an operation may change, at most: it may turn out to change less. Refers to the ObjectRefs
// given; they must live until Begin returns. At most four touches.
class Intent {
 public:
  enum class Touch : uint8_t { kData, kAttributes, kEntries };
  struct Item {
    const ObjectRef* object;
    Touch touch;
    ByteRange range;
  };

  // Content in `range`, and with it size and times. Shrinking to n touches [n, end).
  Intent& Data(const ObjectRef& file, ByteRange range) { return Add({&file, Touch::kData, range}); }
  // Mode, owner, times, extended attributes.
  Intent& Attributes(const ObjectRef& object) { return Add({&object, Touch::kAttributes, {}}); }
  // Names in the directory, and with them its times. Creating and removing objects needs no more
  // than this, for each directory concerned.
  Intent& Entries(const ObjectRef& directory) { return Add({&directory, Touch::kEntries, {}}); }
  // The alteration of content is likely to take long, whatever the disk.
  Intent& Long(bool is_long) {
    long_ = is_long;
    return *this;
  }

  const Item* begin() const { return items_; }
  const Item* end() const { return items_ + count_; }
  bool is_long() const { return long_; }

  static constexpr int kMaxItems = 4;

 private:
  Intent& Add(Item item) {
    assert(count_ < kMaxItems);
    // Without assertions rather a touch too few than memory that is not its own.
    if (count_ < kMaxItems) items_[count_++] = item;
    return *this;
  }
  Item items_[kMaxItems];
  int count_ = 0;
  bool long_ = false;
};

// Keeps the marks of one object from cooling. `parity` is what HotObject::Pin has returned.
struct Pin {
  ObjectId object;
  uint8_t parity;
};
// Those of one operation.
struct Pins {
  Pin items[Intent::kMaxItems];
  int count = 0;
};

// One running operation, inside the gate. The default-constructed one records nothing (a mount
// without capture, an object outside the volume).
class Operation {
 public:
  Operation() = default;
  Operation(Operation&& other) noexcept;
  Operation& operator=(Operation&& other) noexcept;
  ~Operation() { End(); }

  void Wrote(const ObjectRef& file, ByteRange range);
  void ChangedAttributes(const ObjectRef& object, AttributeMask mask);
  // The name now leads to `child` (null: to nothing); before, it led to `replaced` (null if to
  // nothing, or if the caller does not know).
  void SetEntry(const ObjectRef& directory, std::string_view name, ObjectId child,
                ObjectId replaced);
  // The object has just gained its first name: a replica has never heard of it.
  void Born(const ObjectRef& object);
  // Everything about the object must travel again, whatever a replica is thought to have.
  void ChangedWholly(const ObjectRef& object);
  // Any name in the directory may lead elsewhere.
  void ChangedNames(const ObjectRef& directory);
  // The object is about to lose what may be its last name (unlink, rmdir, renamed over): to be
  // called before the backing call. `path_fd` is borrowed; a duplicate of it is kept while a cut
  // being shipped still has to read the object.
  void Unlinking(ObjectId object, int path_fd);

  // Runs `call`, which alters the file's content in `range` (and with it size and times) and
  // nothing else, and of which any part may be in a cut taken meanwhile. Where it is likely to take
  // long, that is outside the gate, so that no cut waits for it (meta/straddlers.h). It is to be
  // recorded afterwards like any other.
  template <typename Call>
  auto Alter(const ObjectRef& file, ByteRange range, Call call) {
    const Alteration alteration(*this, file, range);
    return call();
  }

  // Leaves the gate now rather than at destruction; nothing can be recorded any more.
  void End();

 private:
  friend class Tracker;
  class Alteration {
   public:
    Alteration(Operation& operation, const ObjectRef& file, ByteRange range);
    Alteration(const Alteration&) = delete;
    Alteration& operator=(const Alteration&) = delete;
    ~Alteration();

   private:
    Operation& operation_;
    Straddlers::Entry entry_;
    std::chrono::steady_clock::time_point begun_;
    bool outside_ = false;
  };

  explicit Operation(Tracker* tracker) : tracker_(tracker) {}
  void Leave();

  Tracker* tracker_ = nullptr;
  Pins pins_;
  // About to lose what is certainly its last name.
  ObjectId losing_last_name_;
  int gate_slot_ = 0;
  bool in_gate_ = false;
  bool may_straddle_ = false;
};

// Knows better than capture what is likely to be touched next. Any thread.
class TouchPredictor {
 public:
  virtual ~TouchPredictor() = default;
  // Objects that will be touched in the same way as this one, if any, for which a mark is just
  // being made: theirs are made with it.
  virtual std::vector<ObjectRef> LikelyNext(const Intent::Item& touched) = 0;
};

// The part of capture that the filesystem layer sees. Any thread. Implemented by meta/tracker.h.
class Capture {
 public:
  virtual ~Capture() = default;

  // Pins and marks what the intent touches, then enters the gate. Fails only when the marks cannot
  // be written (state directory full or failing): the operation must then fail with that errno.
  // `predictor` may be null.
  virtual Result<Operation> Begin(const Intent& intent, TouchPredictor* predictor) = 0;
  Result<Operation> Begin(const Intent& intent) { return Begin(intent, nullptr); }

  // Whether objects are found by their names, so that Saw and Open are of use.
  virtual bool follows_names() const { return false; }
  // O_PATH, of an object whose handle cannot be opened; ESTALE if it is gone. Not inside the gate:
  // it may have to be searched for.
  virtual Result<UniqueFd> Open(const ObjectRef& /*object*/) { return ErrnoError(ESTALE, "open"); }
  // Names that lookups and listings have met. (Those that operations give are recorded by them.)
  virtual void Saw(const ObjectRef& /*directory*/, std::string_view /*name*/,
                   const ObjectRef& /*object*/) {}
  // An object that has no name yet.
  virtual void SawNameless(const ObjectRef& /*object*/) {}
};

}  // namespace tandem::meta
