// Escapes untrusted text (file names, messages from a peer) before it is written to a log or a
// terminal. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace tandem {

// Returns `text` as one line that neither controls a terminal nor can be misread. Writes each byte
// of a control character, of a character that changes the direction of text, and of invalid UTF-8
// as \xHH. Everything else is unchanged, backslashes included, so escaping a text twice changes
// nothing.
std::string EscapeControls(std::string_view text);

}  // namespace tandem
