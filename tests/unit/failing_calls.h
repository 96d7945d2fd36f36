// Lets a call of the C library fail once, with EIO, as a disk would make it: the unit tests'
// program defines these functions itself, so that the code under test is linked to them.
//
// One test at a time; the code under test may call from any thread.
#pragma once

namespace tandem::test {

// The nth syncfs(2) from now on.
void FailSync(int nth);
// The nth renameat(2) to the name `applied` from now on.
void FailMarker(int nth);
// What was asked for has happened.
bool HasFailed();

}  // namespace tandem::test
