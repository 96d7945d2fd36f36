// Lets a call of the C library fail once, with EIO, as a disk would make it, or wait: the unit
// tests' program defines these functions itself, so that the code under test is linked to them.
//
// One test at a time; the code under test may call from any thread.
#pragma once

namespace tandem::test {

// The nth syncfs(2) from now on.
void FailSync(int nth);
// The nth renameat2(2) to the name `applied` from now on.
void FailMarker(int nth);
// The next utimensat(2) of a file of that name; the name is borrowed.
void FailTimesOf(const char* name);
// From now on no object can be moved to a name that begins with this (EILSEQ); "": any can.
void ForbidNames(const char* beginning);
// From now on no object gets another link (EMLINK), or again any does.
void ForbidLinks(bool forbidden);
// Each renameat2(2) to the name `applied` from now on, with this error; 0: none any more.
void RefuseMarkers(int error);
// What was asked for has happened.
bool HasFailed();

enum class Held {
  kStageSync,  // fdatasync(2) of a stage
  kMarker,     // renameat2(2) to the name `applied`
  kSync,       // syncfs(2)
};
// The next such call from now on waits until it is released.
void Hold(Held call);
bool IsHeld(Held call);
void Release(Held call);

}  // namespace tandem::test
