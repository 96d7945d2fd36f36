#include "replica/wire/xattr_codec.h"

#include <endian.h>

#include <cstring>
#include <optional>

namespace tandem::replica {
namespace {

void Append(std::string& bytes, std::string_view part) {
  const uint32_t length = htole32(static_cast<uint32_t>(part.size()));
  bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
  bytes.append(part);
}

std::optional<std::string> Take(std::string_view& bytes) {
  uint32_t length = 0;
  if (bytes.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, bytes.data(), sizeof length);
  length = le32toh(length);
  bytes.remove_prefix(sizeof length);
  if (bytes.size() < length) return std::nullopt;
  std::string part(bytes.substr(0, length));
  bytes.remove_prefix(length);
  return part;
}

}  // namespace

std::string PackXattrs(const meta::Xattrs& xattrs) {
  std::string bytes;
  for (const auto& [name, value] : xattrs) {
    Append(bytes, name);
    Append(bytes, value);
  }
  return bytes;
}

Result<meta::Xattrs> UnpackXattrs(std::string_view bytes) {
  meta::Xattrs xattrs;
  while (!bytes.empty()) {
    auto name = Take(bytes);
    auto value = name ? Take(bytes) : std::nullopt;
    if (!value) return MakeError(ErrorKind::kCorrupt, "read extended attributes in replica.db");
    xattrs.emplace(std::move(*name), std::move(*value));
  }
  return xattrs;
}

}  // namespace tandem::replica
