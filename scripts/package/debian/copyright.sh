#!/usr/bin/env bash
# copyright.sh LICENSE: prints the copyright file of the packages: our licence, and those of what is
# compiled into the programs (headers, and libfuse in tandemfs), as the packages they come from say.
set -euo pipefail

compiled_in=(libfuse3-dev libcli11-dev nlohmann-json3-dev libflatbuffers-dev libexpected-dev
  libtomlplusplus-dev libspdlog-dev libfmt-dev)

printf 'tandemfs\n\n'
cat "$1"
printf '\nThe programs contain parts of other works. Their sources are those of the Debian packages\n'
printf 'named here; what follows is what these say of their copyright.\n'
for package in "${compiled_in[@]}"; do
  printf '\n---- %s ----\n\n' "$package"
  cat "/usr/share/doc/$package/copyright"
done
