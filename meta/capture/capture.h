// Capture: every operation that changes something passes through here, so that what it may change
// is marked before it runs, and what it has changed is recorded precisely afterwards (DESIGN
// section 4).
//
//   ASSIGN_OR_RETURN(Operation operation, capture.Begin(Intent().Data(file, range)));
//   ssize_t n = pwrite(...);
//   if (n > 0) operation.Wrote(file, ByteRange::Of(offset, n));
//   // ~Operation leaves the gate; reply after that.
//
// Begin may wait for a database commit (on the first change of a region) and for a cut to be taken.
// Between Begin and ~Operation the caller must not wait for another request, the network or a
// commit. A thread has at most one Operation at a time. Calls that may wait for a slow disk go
// through Operation::Alter.
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
#include "meta/capture/straddlers.h"
#include "meta/change/change_set.h"

namespace tandem::meta {

class Tracker;

// Lists everything an operation may change; the operation may change less. Keeps pointers to the
// given ObjectRefs, which must live until Begin returns. Holds at most four touches.
class Intent {
 public:
  enum class Touch : uint8_t { kData, kAttributes, kEntries };
  struct Item {
    const ObjectRef* object;
    Touch touch;
    ByteRange range;
  };

  // The file's content in `range`, and with it its size and times. Shrinking a file to n touches
  // [n, kEndOfFile).
  Intent& Data(const ObjectRef& file, ByteRange range) { return Add({&file, Touch::kData, range}); }
  // Mode, owner, times and extended attributes.
  Intent& Attributes(const ObjectRef& object) { return Add({&object, Touch::kAttributes, {}}); }
  // Names in the directory, and with them its times. To create or remove an object, it suffices to
  // touch the entries of each directory concerned.
  Intent& Entries(const ObjectRef& directory) { return Add({&directory, Touch::kEntries, {}}); }
  // Says that altering the content is likely to take long even on a fast disk.
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
    // Without assertions, drop a fifth touch rather than write past the array.
    if (count_ < kMaxItems) items_[count_++] = item;
    return *this;
  }
  Item items_[kMaxItems];
  int count_ = 0;
  bool long_ = false;
};

// Keeps the marks of one object from cooling. `parity` is the value HotObject::Pin returned.
struct Pin {
  ObjectId object;
  uint8_t parity;
};
// The pins of one operation.
struct Pins {
  Pin items[Intent::kMaxItems];
  int count = 0;
};

// One running operation, inside the gate. A default-constructed Operation records nothing: it is
// used on a mount without capture and for objects outside the volume.
class Operation {
 public:
  Operation() = default;
  Operation(Operation&& other) noexcept;
  Operation& operator=(Operation&& other) noexcept;
  ~Operation() { End(); }

  void Wrote(const ObjectRef& file, ByteRange range);
  void ChangedAttributes(const ObjectRef& object, AttributeMask mask);
  // The name now leads to `child`, or to nothing if `child` is null. It led to `replaced` before,
  // which is null if it led to nothing or the caller does not know.
  void SetEntry(const ObjectRef& directory, std::string_view name, ObjectId child,
                ObjectId replaced);
  // The object has just gained its first name, so no replica knows it.
  void Born(const ObjectRef& object);
  // Everything about the object must be sent again, whatever the replicas are thought to have.
  void ChangedWholly(const ObjectRef& object);
  // Any name in the directory may lead elsewhere now.
  void ChangedNames(const ObjectRef& directory);
  // The object is about to lose what may be its last name (by unlink, rmdir, or a rename over it).
  // Call this before the backing call. `path_fd` is borrowed; a duplicate is kept while a cut being
  // shipped still has to read the object.
  void Unlinking(ObjectId object, int path_fd);

  // Runs `call`, which must alter nothing but the file's content in `range` (and with it size and
  // times). A cut taken while it runs may hold any part of the alteration. If it is likely to take
  // long, it runs outside the gate, so that no cut waits for it (meta/capture/straddlers.h). The
  // caller records the change afterwards as usual.
  template <typename Call>
  auto Alter(const ObjectRef& file, ByteRange range, Call call) {
    const Alteration alteration(*this, file, range);
    return call();
  }

  // Leaves the gate now rather than in the destructor. Nothing can be recorded afterwards.
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
  // The object that is about to lose what is certainly its last name; null if there is none.
  ObjectId losing_last_name_;
  int gate_slot_ = 0;
  bool in_gate_ = false;
  bool may_straddle_ = false;
};

// Predicts which objects will be touched next. Capture asks it when it makes a mark. Any thread.
class TouchPredictor {
 public:
  virtual ~TouchPredictor() = default;
  // Called while the mark for `touched` is being made. Returns objects that are likely to be
  // touched in the same way soon; their marks are made in the same commit.
  virtual std::vector<ObjectRef> LikelyNext(const Intent::Item& touched) = 0;
};

// The interface of capture for the filesystem layer, implemented by Tracker
// (meta/capture/tracker.h). Any thread.
class Capture {
 public:
  virtual ~Capture() = default;

  // Pins and marks what the intent touches, then enters the gate. Fails only if the marks cannot be
  // written (the state directory is full or its disk fails); the operation must then fail with that
  // errno. `predictor` may be null.
  virtual Result<Operation> Begin(const Intent& intent, TouchPredictor* predictor) = 0;
  Result<Operation> Begin(const Intent& intent) { return Begin(intent, nullptr); }

  // Returns whether objects are found by their names. If not, Open and Saw need not be called.
  virtual bool follows_names() const { return false; }
  // Returns an O_PATH descriptor of an object whose handle cannot be opened, or ESTALE if the
  // object is gone. Must not be called inside the gate, because it may have to search the tree.
  virtual Result<UniqueFd> Open(const ObjectRef& /*object*/) { return ErrnoError(ESTALE, "open"); }
  // Reports a name that a lookup or listing has returned. (Operations record the names they give.)
  virtual void Saw(const ObjectRef& /*directory*/, std::string_view /*name*/,
                   const ObjectRef& /*object*/) {}
  // Reports an object that has no name yet.
  virtual void SawNameless(const ObjectRef& /*object*/) {}
  // Reports that a program is about to wait for the source's disk (fsync, O_SYNC).
  virtual void NoteSync() {}
};

}  // namespace tandem::meta
