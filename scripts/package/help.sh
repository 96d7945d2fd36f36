# shellcheck shell=bash
# Reads what the programs say of themselves with --help. Sourced by completions.sh and man_page.sh;
# the programs are found in PATH.

# subcommands_of PROGRAM [SUBCOMMAND]...: their names. Those that stand in no list, but only in the
# text (of tandemd --help), are recognised by the help they have.
subcommands_of() {
  local help word
  help=$("$@" --help)
  {
    awk '/^[^ ]/ { listed = /^Subcommands:/ } listed && /^  [a-z]/ { print $1 }' <<<"$help"
    grep -oE "\<$* [a-z][a-z-]*" <<<"$help" | awk '{ print $NF }' || true
  } | awk '!seen[$0]++' | while read -r word; do
    if timeout 10 "$@" "$word" --help 2>/dev/null | grep -qE "^Usage: $* $word( |\$)"; then
      echo "$word"
    fi
  done
}

# commands_of COMMAND...: the command line of each command, from the program to the last subcommand.
commands_of() {
  local name
  echo "$*"
  for name in $(subcommands_of "$@"); do
    commands_of "$@" "$name"
  done
}

# entries_of COMMAND...: a line for each argument, option and subcommand, with fields separated by
# $separator: argument|option|command, name (-s,--long), what its value is called or its {choices},
# text. (A tab would not do: read takes several for one.)
separator=$'\x1f'
entries_of() {
  "$@" --help | awk -v OFS="$separator" '
    function flush() {
      if (name == "") return
      print kind, name, value, text
      name = ""
    }
    /^[^ ]/ {
      flush()
      kind = /^Positionals:/ ? "argument" : /^Options:/ ? "option" : /^Subcommands:/ ? "command" : ""
      next
    }
    kind == "" || /^ *$/ { flush(); next }
    /^  [^ ]/ {
      flush()
      head = substr($0, 3)
      text = ""
      if (match(head, /   */)) { # a name that is too long for its column stands alone
        text = substr(head, RSTART + RLENGTH)
        head = substr(head, 1, RSTART - 1)
      }
      sub(/ (REQUIRED|Excludes:.*|\.\.\.)$/, "", head)
      sub(/ (REQUIRED|Excludes:.*|\.\.\.)$/, "", head)
      gsub(/\{(true|false)\}/, "", head)
      name = head
      sub(/ .*/, "", name)
      value = substr(head, length(name) + 2)
      if (match(value, /\{.*\}/)) {
        value = "{" substr(value, RSTART + 1, RLENGTH - 2) "}"
      } else {
        sub(/ .*/, "", value)
        sub(/:.*/, "", value)
      }
      next
    }
    { sub(/^ */, ""); text = text (text == "" ? "" : " ") $0 }
    END { flush() }'
}
