// What serving a filesystem asks of the process as a whole. Call from the thread that will start
// the serving threads: they inherit.
#pragma once

namespace tandem::fs {

// RLIMIT_NOFILE to its hard limit: descriptors stand for inodes and open files. No RLIMIT_FSIZE:
// the callers' limits are checked by the kernel, ours must not cut their writes short. SIGPIPE and
// SIGXFSZ ignored. Root leaves its supplementary groups: the backing filesystem would take them for
// those of callers.
void PrepareProcess();

// The kernel may wait for this process to write back dirty pages; memory that it asks for meanwhile
// must not wait for a filesystem, which may be this one. Does nothing without CAP_SYS_RESOURCE.
// Each thread has it for itself, and inherits it: called before the first thread is started.
void BecomeFlusher();

}  // namespace tandem::fs
