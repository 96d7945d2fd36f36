#include "meta/base/printable.h"

namespace tandem {

std::string Printable(std::string_view path) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string printable;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '\\') {
      printable += c;
    } else {
      printable += "\\x";
      printable += kDigits[byte >> 4];
      printable += kDigits[byte & 15];
    }
  }
  return printable;
}

}  // namespace tandem
