// The files of the page, which the build turns into bytes of the program (embed.cmake). Any thread.
#pragma once

#include <span>
#include <string_view>

namespace tandem::tools {

struct PageFile {
  std::string_view path;  // "/style.css"
  std::string_view type;  // for Content-Type
  std::string_view bytes;
};

std::span<const PageFile> PageFiles();

}  // namespace tandem::tools
