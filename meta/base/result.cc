#include "meta/base/result.h"

#include <cstring>

namespace tandem {

std::string Error::ToString() const {
  if (kind_ == ErrorKind::kSystem || (kind_ == ErrorKind::kDatabase && code_ != 0)) {
    char buffer[128];
    return context_ + ": " + strerror_r(code(), buffer, sizeof buffer);
  }
  return context_;
}

Error Error::Within(std::string_view outer) && {
  context_.insert(0, ": ");
  context_.insert(0, outer);
  return std::move(*this);
}

bool MeansNoRoom(const Error& error) { return error.code() == ENOSPC || error.code() == EDQUOT; }

}  // namespace tandem
