// Limits of this process that a daemon sets at its start.
#pragma once

namespace tandem::tools {

// Allows as many open files as the hard limit does: a volume takes about ten while it is in use.
void RaiseOpenFiles();
// Lets all threads share a few heaps, so that what a burst has taken can be returned.
void LimitHeaps();
// Has the heaps keep blocks of the size of a chunk: without it each such block that is allocated is
// pages that the kernel has to map and to clear.
void KeepLargeBlocks();

}  // namespace tandem::tools
