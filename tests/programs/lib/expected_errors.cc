#include "tests/programs/lib/expected_errors.h"

#include <cerrno>

namespace tandem::workload {

bool IsExpectedError(int error) {
  switch (error) {
    case ENOENT:
    case EEXIST:
    case ENOTEMPTY:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case EXDEV:
    case EINVAL:
    case EPERM:
    case EACCES:
    case ENODATA:
    case ETXTBSY:
    case EMLINK:
    case ENAMETOOLONG:
    case EOPNOTSUPP:
    case EFBIG:
      return true;
    default:
      return false;
  }
}

// ECANCELED: of requests that stood in the rings of an io_uring.
bool IsDisconnect(int error) {
  return error == ENOTCONN || error == ECONNABORTED || error == ECANCELED;
}

}  // namespace tandem::workload
