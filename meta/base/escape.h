// Text from elsewhere (names of files, what a peer says) made harmless where it is shown: in a log,
// on a terminal. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace tandem {

// One line that no terminal obeys and nobody misreads: of control characters, of those that change
// the direction of the text, and of what is no UTF-8, each byte as \xHH. Everything else stays,
// backslashes too: escaping a text again changes nothing.
std::string EscapeControls(std::string_view text);

}  // namespace tandem
