// What somebody who misspelt a word may have meant. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tandem::tools {

// The word nearest to `word`; empty if none is near. Nearness counts the characters that are to be
// added, left out, exchanged, or swapped with their neighbour (optimal string alignment,
// https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance): at most two, and fewer than there
// are.
std::string NearestWord(std::string_view word, const std::vector<std::string>& words);

}  // namespace tandem::tools
