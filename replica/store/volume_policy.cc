#include "replica/store/volume_policy.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>

#include "meta/base/private_files.h"
#include "meta/base/replace_file.h"
#include "meta/base/unique_fd.h"
#include "replica/apply/file_data.h"

namespace tandem::replica {
namespace {

constexpr char kName[] = "rights";
constexpr char kSpecial[] = "special";
constexpr uint64_t kMaxBytes = 4096;

}  // namespace

VolumePolicy ReadPolicy(int volume_fd) {
  const UniqueFd fd(openat(volume_fd, kName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid() && errno == ENOENT) return {};
  VolumePolicy policy{.may_set_special = false};
  const auto text = fd.valid() ? ReadUpTo(fd.get(), 0, kMaxBytes) : std::string();
  const auto json = nlohmann::json::parse(text.value_or(""), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return policy;
  const auto special = json.find(kSpecial);
  policy.may_set_special = special != json.end() && special->is_boolean() && special->get<bool>();
  return policy;
}

Status WritePolicy(int volume_fd, const VolumePolicy& policy) {
  const nlohmann::json json = {{kSpecial, policy.may_set_special}};
  return ReplaceFile(volume_fd, kName, json.dump() + "\n", kPrivateFile, /*durably=*/true);
}

}  // namespace tandem::replica
