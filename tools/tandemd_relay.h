// tandemd relay [--socket PATH]: connects its standard input and output with tandemd's socket,
// until either ends. ssh runs it for a source on another host (replica/transport/SSH.md). It needs
// no right but that of connecting to the socket.
#pragma once

namespace tandem::tools {

// The socket tandemd listens on unless told otherwise.
inline constexpr char kDefaultSocket[] = "/run/tandemd/tandemd.sock";

// `argv[0]` is "relay". Returns the exit code.
int RunRelay(int argc, char** argv);

}  // namespace tandem::tools
