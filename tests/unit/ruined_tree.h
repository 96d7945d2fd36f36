// What may become of a tree that nobody watches over. For tests of the replica's side.
#pragma once

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace tandem::replica {

// A handful of random things: removed, moved, linked, planted. No two names of the tree lead to a
// directory afterwards that did not before, and nothing outside it is touched.
inline void RuinTree(const std::string& root, std::mt19937& random) {
  namespace stdfs = std::filesystem;
  std::error_code ignored;  // a directory into itself, a name that is taken
  for (int i = 0; i < 12; ++i) {
    std::vector<stdfs::path> all;
    std::vector<stdfs::path> directories = {root};
    for (const auto& entry : stdfs::recursive_directory_iterator(root)) {
      all.push_back(entry.path());
      if (entry.symlink_status().type() == stdfs::file_type::directory) {
        directories.push_back(entry.path());
      }
    }
    const auto place = [&] {
      return directories[random() % directories.size()] /
             ("stranger" + std::to_string(random() % 5));
    };
    if (all.empty()) return;
    const stdfs::path victim = all[random() % all.size()];
    switch (random() % 6) {
      case 0:
        stdfs::remove_all(victim, ignored);
        break;
      case 1:
        stdfs::rename(victim, place(), ignored);
        break;
      case 2:
        stdfs::rename(victim, all[random() % all.size()], ignored);
        break;
      case 3:
        stdfs::create_hard_link(victim, place(), ignored);
        break;
      case 4:
        stdfs::create_directory(place(), ignored);
        break;
      default:
        // A FIFO may have moved there.
        if (const auto name = place(); !stdfs::exists(stdfs::symlink_status(name))) {
          std::ofstream(name) << "stranger";
        }
    }
  }
}

}  // namespace tandem::replica
