// Suggests the word that a misspelt one may have meant. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tandem::tools {

// Returns the word nearest to `word`, or an empty string if none is near. The distance is optimal
// string alignment (https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance): the number of
// characters to insert, delete, replace, or swap with their neighbour. Words are near at a distance
// of at most two that is less than the length of `word`.
std::string NearestWord(std::string_view word, const std::vector<std::string>& words);

}  // namespace tandem::tools
