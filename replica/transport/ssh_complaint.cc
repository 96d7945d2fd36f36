#include "replica/transport/ssh_complaint.h"

#include <algorithm>
#include <array>
#include <vector>

namespace tandem::replica {
namespace {

constexpr size_t kLongestQuote = 200;
constexpr int kCommandNotFound = 127;

constexpr char kTryByHand[] =
    "run ssh to that host once by hand, as the user that tandemfs runs as, to see why";
constexpr char kNoTandemd[] =
    "is tandemd installed there, in the PATH that ssh gives? If not, write "
    "command=\"/PATH/tandemd relay\" before the key in authorized_keys";

struct Known {
  std::string_view words;
  bool refused;
  std::string_view advice;  // empty if the words say what to do, or it passes by itself
};

// The first that fits a line explains it. Later lines explain more than earlier ones.
constexpr std::array kKnown = {
    Known{"tandemd relay: ", false, ""},
    Known{"Permission denied (", true,
          "tandemfs never gives ssh a password: let a key of the user that tandemfs runs as into "
          "authorized_keys there"},
    Known{"Too many authentication failures", true, kTryByHand},
    Known{"Host key verification failed", true,
          "its key is unknown here or has changed: run ssh to that host once by hand, as the user "
          "that tandemfs runs as, and compare the key; ssh-keygen -R HOST forgets an old one"},
    Known{"Could not resolve hostname", false, "is the name right, and does this host know it?"},
    Known{"Connection refused", false, "is sshd running there, at this port?"},
    Known{"timed out", false,
          "is the host running, and does every firewall on the way let ssh through?"},
    Known{"No route to host", false, "are the host and the network up?"},
    Known{"Network is unreachable", false, "is this host's network up?"},
    Known{"not responding", false, ""},
    Known{"command not found", true, kNoTandemd},
    Known{"tandemd: not found", true, kNoTandemd},
    Known{"account is currently not available", true,
          "that user's shell lets nobody in: give the user one, such as /bin/sh"},
    Known{"Bad configuration option", true, "ssh's configuration on this host is invalid"},
    Known{"Bad owner or permissions", true, kTryByHand},
    Known{"kex_exchange_identification", false, ""},
    Known{"closed by remote host", false, ""},
    Known{"Connection reset", false, ""},
    Known{"Broken pipe", false, ""},
};

// Replaces what is not printable ASCII, and cuts the line.
std::string Quotable(std::string_view line) {
  std::string text;
  for (const char c : line) {
    const bool printable = c >= ' ' && c <= '~';
    if (printable) text += c;
    if (!printable && !text.empty() && text.back() != ' ') text += ' ';
  }
  while (text.ends_with(' ')) text.pop_back();
  if (text.size() > kLongestQuote) text.resize(kLongestQuote);
  return text;
}

std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    if (std::string line = Quotable(text.substr(0, end)); !line.empty()) {
      lines.push_back(std::move(line));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

const Known* FindKnown(std::string_view line) {
  const auto* const found = std::ranges::find_if(
      kKnown, [line](const Known& known) { return line.find(known.words) != line.npos; });
  return found == kKnown.end() ? nullptr : found;
}

SshComplaint Make(const SshUrl& url, const std::string& words, bool refused,
                  std::string_view advice) {
  std::string text = url.ToString() + ": " + words;
  if (!advice.empty()) text += ": " + std::string(advice);
  return {std::move(text), refused};
}

}  // namespace

SshComplaint ExplainSsh(const SshUrl& url, std::string_view stderr_text, int exit_code) {
  const std::vector<std::string> lines = LinesOf(stderr_text);
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (const Known* known = FindKnown(*line))
      return Make(url, *line, known->refused, known->advice);
  }
  if (exit_code == kCommandNotFound) {
    return Make(url, lines.empty() ? "no command tandemd" : lines.back(), true, kNoTandemd);
  }
  if (!lines.empty()) return Make(url, lines.back(), false, kTryByHand);
  if (exit_code == 0) return Make(url, "the connection was ended at the other side", false, "");
  return Make(url, "ssh ended with code " + std::to_string(exit_code) + " and said nothing", false,
              kTryByHand);
}

}  // namespace tandem::replica
