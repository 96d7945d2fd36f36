#!/usr/bin/env bash
# man_page.sh PAGE SECTION VERSION: prints a manual page, gzipped: what the program says with --help,
# its subcommands too, and the prose of man/PAGE.h2m. Fails if man(1) finds fault with it.
# The programs are found in PATH.
set -euo pipefail
# shellcheck source=scripts/package/help.sh
source "$(dirname "$0")/help.sh"

# tidy: help as CLI11 prints it -> help as help2man expects it. Examples stand in man/PAGE.h2m.
tidy() {
  sed -E '
    /^Example/,/^[^ ]/ { /^Example/d; /^ /d }
    s/^Positionals:/Arguments:/
    s/^  (-[a-zA-Z]),--/  \1, --/
    s/\{true\},--/, --/; s/\{false\}//
    /^  [^ ]/ { s/ REQUIRED//; s/^(  [^ ]+) TEXT/\1/; s/^(  [A-Z\/]+) \.\.\./\1.../
                s/ Excludes: ([^ ]+( [^ ]+)*)/ (not with \1)/
                s/:\{([^}]*)\}/ (\1)/; s/:(SIZE|INT)[^(]*\[[^]]*\]//; s/=([0-9]+[a-z])/ (\1)/ }'
}

# joined: a name that is too long for its column, and its text, in one line. Arguments of which
# nothing is said are left out.
joined() {
  awk '/^  [A-Z]+ TEXT( REQUIRED)? +$/ { next }
    name != "" { sub(/^ +/, ""); print name "  " $0; name = ""; next }
    /^  [^ ]/ && !/[^ ]  +[^ ]/ { name = $0; next }
    { print }'
}

# subcommand COMMAND...: a heading (see below), its text, and what it takes.
subcommand() {
  printf '\n@SS@ %s\n\n' "$("$@" --help | sed -n 's/^Usage: //p')"
  "$@" --help | sed -E '/^Usage: /d; /^(Positionals|Options|Subcommands):/d; /^  -h,--help /d' |
    joined | tidy
}

help_of() {
  local command
  "$1" --help | awk '/^[^ ]/ { skip = /^Subcommands:/ } !skip' | joined | tidy
  commands_of "$1" | tail -n +2 | while read -r command; do
    # shellcheck disable=SC2086  # its words
    subcommand $command
  done
}

# keys_of_tandemfs: a section about the keys of tandemfs.toml: the long options of tandemfs that say
# what is mounted.
keys_of_tandemfs() {
  local kind names text
  printf '\n[KEYS]\n'
  entries_of tandemfs | while IFS=$separator read -r kind names _ text; do
    names=${names##*,}
    case $kind:$names in
      option:--help | option:--version | option:--foreground | option:--volume) continue ;;
      option:--*) printf '.TP\n.B %s\n' "${names#--}" ;;
      argument:*) printf '.TP\n.B %s\n' "${names,,}" ;;
      *) continue ;;
    esac
    sed 's/\\/\\e/g; s/-/\\-/g; s/^[.'"'"']/\\\&&/' <<<"$text"
  done
}

page=${1:?usage: man_page.sh PAGE SECTION VERSION}
section=${2:?usage: man_page.sh PAGE SECTION VERSION}
version=${3:?usage: man_page.sh PAGE SECTION VERSION}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cp "$(dirname "$0")/man/$page.h2m" "$scratch/prose"
if [[ $page == tandemfs.toml ]]; then
  echo 'Usage: tandemfs VOLUME' >"$scratch/help"
  keys_of_tandemfs >>"$scratch/prose"
else
  help_of "$page" >"$scratch/help"
fi
# help2man asks a program, and the page gets its name.
printf '#!/bin/sh\nexec cat "%s"\n' "$scratch/help" >"$scratch/$page"
chmod +x "$scratch/$page"
help2man --no-info --section "$section" --version-string "$version" --include "$scratch/prose" \
  --source "tandemfs $version" --manual "tandemfs" --output "$scratch/$page.$section" \
  "$scratch/$page"
sed -i '/^\.PP$/{N; s/^\.PP\n\(@SS@\)/\1/}; s/^@SS@ \(.*\)/.SS "\1"/' "$scratch/$page.$section"

export LC_ALL=C.UTF-8 MANWIDTH=80 MANROFFSEQ=''
complaints=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$scratch/$page.$section" 2>&1 >/dev/null)
lines=$(man -l "$scratch/$page.$section" | grep -c .)
if [[ $complaints ]] || ((lines < 40)); then
  printf 'man_page.sh: %s(%s) has %s lines. %s\n' "$page" "$section" "$lines" "$complaints" >&2
  exit 1
fi
gzip -9nc "$scratch/$page.$section"
