// What an application sees of our own trouble.
#include <gtest/gtest.h>

#include "fs/serving/request.h"

namespace tandem::fs {
namespace {

TEST(ReplyErrno, ASystemCallsIsItsOwn) {
  for (const int code : {ENOENT, EBUSY, EROFS, ENOSPC, EDQUOT, EACCES}) {
    EXPECT_EQ(ErrnoOf(Error(ErrorKind::kSystem, code, "write")), code);
  }
}

TEST(ReplyErrno, OfTheStateDatabaseItIsNoRoomOrAnIoError) {
  for (const ErrorKind kind : {ErrorKind::kDatabase, ErrorKind::kCorrupt}) {
    for (const int code : {0, EBUSY, EROFS, EACCES, ENOMEM, EIO}) {
      EXPECT_EQ(ErrnoOf(Error(kind, code, "mark")), EIO) << code;
    }
    EXPECT_EQ(ErrnoOf(Error(kind, ENOSPC, "mark")), ENOSPC);
    EXPECT_EQ(ErrnoOf(Error(kind, EDQUOT, "mark")), ENOSPC);
  }
  EXPECT_EQ(ErrnoOf(Error(ErrorKind::kCancelled, 0, "stop")), EIO);
}

}  // namespace
}  // namespace tandem::fs
