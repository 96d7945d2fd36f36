// Labels that this host's kernel gives files by itself because of its security modules: SELinux's
// context, the digests of IMA and EVM. Every file of the replica has them, whether the source's
// file has them or not. So the source does not remove them, and they are not a difference. Any
// thread may call these functions.
#pragma once

#include <string_view>

#include "meta/source/attributes.h"

namespace tandem::replica {

// `modules` is the list of active security modules, as in /sys/kernel/security/lsm.
bool IsOwnLabel(std::string_view name, std::string_view modules);

// Removes this host's own labels from `xattrs`, except those that the source has as well.
void LeaveOutOwnLabels(meta::Xattrs& xattrs, const meta::Xattrs& of_source);

}  // namespace tandem::replica
