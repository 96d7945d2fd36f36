# Writes OUTPUT, a source with the bytes of FILES in it (declared in page_files.h):
#   cmake -DOUTPUT=FILE -DFILES=PATH=FILE;PATH=FILE... -P embed.cmake
# PATH is the one in URLs. A FILE of uPlot's that is not there becomes an empty one.
set(bytes "")
set(table "")
set(number 0)
foreach(pair IN LISTS FILES)
  string(REGEX MATCH "^([^=]+)=(.*)$" matched "${pair}")
  set(path "${CMAKE_MATCH_1}")
  set(file "${CMAKE_MATCH_2}")
  set(type "text/plain; charset=utf-8")
  if(path MATCHES "\\.html$" OR path STREQUAL "/" OR path STREQUAL "/login")
    set(type "text/html; charset=utf-8")
  elseif(path MATCHES "\\.css$")
    set(type "text/css; charset=utf-8")
  elseif(path MATCHES "\\.js$")
    set(type "text/javascript; charset=utf-8")
  elseif(path MATCHES "\\.svg$")
    set(type "image/svg+xml")
  endif()
  set(hex "")
  if(EXISTS "${file}")
    file(READ "${file}" hex HEX)
  elseif(NOT path MATCHES "^/uplot")
    message(FATAL_ERROR "${file} is missing")
  endif()
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," hex "${hex}")
  string(APPEND bytes "constexpr char kFile${number}[] = {${hex}'\\0'};\n")
  string(APPEND table "    {\"${path}\", \"${type}\", {kFile${number}, ${size}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}.new" "// Made by tools/web/embed.cmake.
#include \"tools/web/page_files.h\"

namespace tandem::tools {
namespace {

${bytes}
constexpr PageFile kFiles[] = {
${table}};

}  // namespace

std::span<const PageFile> PageFiles() { return kFiles; }

}  // namespace tandem::tools
")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
