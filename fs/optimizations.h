// The optimizations that can be switched off one by one, to measure what each brings and to find
// out whether it is the cause of a fault (tandemfs --disable). Off, the filesystem behaves the same
// and is slower.
#pragma once

namespace tandem::fs {

struct Optimizations {
  // fs/objects/walk_order.h. Off: each object that a tree walk changes waits for a mark of its own.
  bool walk_order = true;
  // fs/objects/known_names.h. Off: readdirplus looks up every name it returns.
  bool known_names = true;
  // fs/serving/reader_policy.h. Off: two threads wait for requests at all times.
  bool reader_policy = true;
  // fs/serving/reader_spin.h. Off: a thread that waits for a request sleeps at once.
  bool reader_spin = true;
};

}  // namespace tandem::fs
