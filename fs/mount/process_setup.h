// What serving a filesystem needs of the process. Called by the thread that will start the serving
// threads, which inherit it.
#pragma once

namespace tandem::fs {

// Raises RLIMIT_NOFILE to its hard limit, since inodes and open files take descriptors, and
// RLIMIT_FSIZE, since the kernel checks the caller's limit and ours must not cut its writes short.
// Ignores SIGPIPE and SIGXFSZ. As root, drops the supplementary groups: the backing filesystem
// would apply them to callers.
void PrepareProcess();

// Sets PR_SET_IO_FLUSHER. The kernel may wait for this process to write back dirty pages. When the
// process allocates memory meanwhile, it must not wait for a filesystem, which may be this one.
// Does nothing without CAP_SYS_RESOURCE. The setting belongs to a thread and is inherited, so this
// is called before the first thread is started.
void BecomeFlusher();

}  // namespace tandem::fs
