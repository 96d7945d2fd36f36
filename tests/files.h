// Small things tests do to files. What does not work is a failure of the test.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace tandem::test {

inline constexpr uint64_t kMiB = 1 << 20;

void Write(const std::string& path, std::string_view content);  // the file is then this, alone
void WriteAt(const std::string& path, uint64_t offset, std::string_view bytes);
std::string Read(const std::string& path);
std::string ReadAt(const std::string& path, uint64_t offset, size_t length);
// Does not compress; the same for the same seed.
std::string RandomBytes(size_t size, uint64_t seed = 1);

struct stat Lstat(const std::string& path);
void SetTimes(const std::string& path, timespec access, timespec modification);

// A file, directory, symlink, hard link, FIFO, socket and device, with owners, modes, times,
// extended attributes, ACLs and holes.
void MakeEveryKind(const std::string& directory);
// Changes every one of those, in every way: also moves, replaces and removes.
void ChangeEveryKind(const std::string& directory);

}  // namespace tandem::test
