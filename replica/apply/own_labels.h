// Labels that this host's kernel gives files by itself, as security modules make it: SELinux's
// context, the digests of IMA and EVM. Every file of the replica has them, whether the source's has
// or not, so they are not the source's to remove, and no difference.
// Any thread.
#pragma once

#include <string_view>

#include "meta/attributes.h"

namespace tandem::replica {

// `modules`: the security modules that run, as /sys/kernel/security/lsm lists them.
bool IsOwnLabel(std::string_view name, std::string_view modules);

// Takes the labels of this host's own out of `xattrs`, but for those the source has as well.
void LeaveOutOwnLabels(meta::Xattrs& xattrs, const meta::Xattrs& of_source);

}  // namespace tandem::replica
