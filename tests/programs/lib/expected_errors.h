// Which errors a random operation on a healthy filesystem may meet.
#pragma once

namespace tandem::workload {

// Wrong kind of object, name taken or gone, not supported, not permitted, ...
bool IsExpectedError(int error);

// The filesystem's process is gone.
bool IsDisconnect(int error);

}  // namespace tandem::workload
