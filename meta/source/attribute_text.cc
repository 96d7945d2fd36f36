#include "meta/source/attribute_text.h"

#include <cstdio>

namespace tandem::meta {

std::string ModeText(uint32_t permissions) {
  char text[16];
  snprintf(text, sizeof text, "%04o", permissions);
  return text;
}

std::string OwnerText(const Attributes& attributes) {
  return std::to_string(attributes.uid) + ":" + std::to_string(attributes.gid);
}

std::string TimeText(const Timestamp& time) {
  char text[48];
  snprintf(text, sizeof text, "%lld.%09u", static_cast<long long>(time.seconds), time.nanoseconds);
  return text;
}

}  // namespace tandem::meta
