#!/usr/bin/env bash
# completions.sh bash|zsh|fish PROGRAM: prints the program's completions for that shell, made from its
# --help and that of its subcommands. The programs are found in PATH.
# shellcheck disable=SC2086,SC2016  # a command's line is split into words; completions hold $cur etc.
set -euo pipefail
# shellcheck source=scripts/package/help.sh
source "$(dirname "$0")/help.sh"

# What is mounted. findmnt -r escapes blanks and the like.
mountpoints="findmnt -rno TARGET -t fuse.tandemfs 2>/dev/null"

# kind_of NAME VALUE: what completes a value: choices, directories, files, mountpoints or nothing.
kind_of() {
  case $2 in
    "{"*) echo choices ;;
    DIR) echo directories ;;
    FILE | PATH) echo files ;;
    *)
      case $1 in
        MOUNTPOINT) [[ $program == tandem ]] && echo mountpoints || echo directories ;;
        SOURCE | DIR | STORE* | --state) echo directories ;;
        PATH) echo files ;;
        *) echo nothing ;;
      esac
      ;;
  esac
}

choices_of() { tr -d '{}' <<<"$1" | tr ',' ' '; }

# quoted TEXT: for single quotes.
quoted() { printf '%s' "${1//\'/\'\\\'\'}"; }

# first_sentence TEXT: what stands beside a word in a menu.
first_sentence() { sed -E 's/([.;:(]( |$)|, as in).*//; s/ \(.*//' <<<"$1"; }

# ---- bash ------------------------------------------------------------------------------------

bash_values() {
  local path=$1 kind name names value text act
  while IFS=$separator read -r kind names value text; do
    [[ $kind == option && $value ]] || continue
    case $(kind_of "${names##*,}" "$value") in
      choices) act="mapfile -t COMPREPLY < <(compgen -W '$(choices_of "$value")' -- \"\$cur\")" ;;
      directories) act='compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur")' ;;
      files) act='compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")' ;;
      nothing) act=':' ;;
    esac
    for name in ${names//,/ }; do
      printf "    '%s %s') %s; return ;;\n" "$path" "$name" "$act"
    done
  done < <(entries_of $path)
}

bash_words() {
  local path=$1 options words argument act
  options=$(entries_of $path | awk -F"$separator" '$1 == "option" { gsub(",", " ", $2); print $2 }')
  words=$(subcommands_of $path)
  argument=$(entries_of $path | awk -F"$separator" '$1 == "argument" { print $2 }' | tail -n 1)
  case $(kind_of "$argument" "") in
    directories) act='compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur")' ;;
    files) act='compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"; _'$program'_mountpoints "$cur")' ;;
    mountpoints) act='compopt -o filenames; mapfile -t COMPREPLY < <(_'$program'_mountpoints "$cur")' ;;
    nothing) act="mapfile -t COMPREPLY < <(compgen -W '${words//$'\n'/ }' -- \"\$cur\")" ;;
  esac
  printf "    '%s') options='%s'\n      [[ \$cur == -* ]] || { %s; return; } ;;\n" \
    "$path" "${options//$'\n'/ }" "$act"
}

print_bash() {
  local path
  cat <<TEXT
# Completion of $program for bash. Generated from its --help.
_${program}_mountpoints() {
  local path
  while IFS= read -r path; do
    path=\$(printf '%b' "\$path")
    [[ \$path != "\$1"* ]] || printf '%s\n' "\$path"
  done < <($mountpoints)
}
_$program() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command=$program options='' i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "\$command \${COMP_WORDS[i]}" in
TEXT
  for path in "${commands[@]:1}"; do printf "    '%s') command='%s' ;;\n" "$path" "$path"; done
  printf "    *) ;;\n    esac\n  done\n"'  case "$command $prev" in\n'
  for path in "${commands[@]}"; do bash_values "$path"; done
  printf '  esac\n  case $command in\n'
  for path in "${commands[@]}"; do bash_words "$path"; done
  cat <<TEXT
  esac
  mapfile -t COMPREPLY < <(compgen -W "\$options" -- "\$cur")
}
complete -F _$program $program
TEXT
}

# ---- zsh -------------------------------------------------------------------------------------

zsh_action() {
  case $(kind_of "$1" "$2") in
    choices) echo "($(choices_of "$2"))" ;;
    directories) echo '_files -/' ;;
    files) echo '_files' ;;
    mountpoints) echo "_${program}_mountpoints" ;;
    nothing) echo ' ' ;;
  esac
}

# zsh_specs COMMAND: what _arguments takes.
zsh_specs() {
  local path=$1 kind names value value_name text name words
  while IFS=$separator read -r kind names value text; do
    text=$(quoted "$(first_sentence "$text" | tr '[]:' '().')")
    value_name=${value//[][:]/ }
    [[ $value != "{"* ]] || value_name=choice
    case $kind in
      option)
        for name in ${names//,/ }; do
          printf " \\\\\n      '*%s[%s]" "$name" "$text"
          [[ ! $value ]] || printf ':%s:%s' "$value_name" "$(zsh_action "${names##*,}" "$value")"
          printf "'"
        done
        ;;
      argument)
        # The last may be repeated: _arguments then need not know which are.
        printf " \\\\\n      '%s:%s:%s'" "$(position_of "$path" "$names")" \
          "${names//[][:]/ }" "$(zsh_action "$names" "")"
        ;;
    esac
  done < <(entries_of $path)
  words=$(subcommands_of $path)
  [[ ! $words ]] || printf " \\\\\n      '1:command:(%s)'" "${words//$'\n'/ }"
}

# position_of COMMAND ARGUMENT: its number, or * for the last one if there are several.
position_of() {
  entries_of $1 | awk -F"$separator" -v name="$2" '
    $1 == "argument" { ++n; if ($2 == name) found = n }
    END { print (found > 1 && found == n) ? "*" : found }'
}

print_zsh() {
  local path
  cat <<TEXT
#compdef $program
# Generated from --help.
_${program}_mountpoints() {
  local -a found
  found=(\${(f)"\$($mountpoints)"})
  found=(\${(g::)found})
  compadd -f -a found
}
_$program() {
  local command=$program
  local -i i=2
  while ((i < CURRENT)); do
    case "\$command \${words[i]}" in
TEXT
  for path in "${commands[@]:1}"; do printf "      '%s') ;;\n" "$path"; done
  cat <<TEXT
      *) break ;;
    esac
    command+=" \${words[i]}"
    ((++i))
  done
  shift \$((i - 2)) words
  ((CURRENT -= i - 2))
  case \$command in
TEXT
  for path in "${commands[@]}"; do
    printf "    '%s')\n      _arguments%s\n      ;;\n" "$path" "$(zsh_specs "$path")"
  done
  printf '  esac\n}\n_%s "$@"\n' "$program"
}

# ---- fish ------------------------------------------------------------------------------------

# fish_condition COMMAND: true on a command line of that very command.
fish_condition() {
  local path=$1 word words condition=''
  for word in ${path#"$program"}; do
    condition+="${condition:+; and }__fish_seen_subcommand_from $word"
  done
  words=$(subcommands_of $path)
  [[ ! $words ]] ||
    condition+="${condition:+; and }not __fish_seen_subcommand_from ${words//$'\n'/ }"
  echo "${condition:-true}"
}

print_fish() {
  local path condition kind names value text name flags
  cat <<TEXT
# Completion of $program for fish. Generated from its --help.
function __${program}_mountpoints
    $mountpoints | while read -l path
        printf '%b\n' \$path
    end
end
complete -c $program -f
TEXT
  for path in "${commands[@]}"; do
    condition=$(fish_condition "$path")
    for name in $(subcommands_of $path); do
      text=$(entries_of $path | awk -F"$separator" -v name="$name" '$1 == "command" && $2 == name { print $4 }')
      printf "complete -c %s -n '%s' -a %s -d '%s'\n" "$program" "$condition" "$name" \
        "$(first_sentence "$text" | sed "s/'/\\\\'/g")"
    done
    while IFS=$separator read -r kind names value text; do
      flags=''
      if [[ $kind == option ]]; then
        for name in ${names//,/ }; do
          case $name in
            --*) flags+=" -l ${name#--}" ;;
            *) flags+=" -s ${name#-}" ;;
          esac
        done
        [[ ! $value ]] || flags+=' -x'
      elif [[ $kind != argument ]]; then
        continue
      fi
      if [[ $kind == argument || $value ]]; then
        case $(kind_of "${names##*,}" "$value") in
          choices) flags+=" -a '$(choices_of "$value")'" ;;
          directories) flags+=" -a '(__fish_complete_directories)'" ;;
          files) flags=${flags/ -x/ -r}" -F" ;;
          mountpoints) flags+=" -a '(__${program}_mountpoints)'" ;;
        esac
      fi
      [[ ! $flags ]] || printf "complete -c %s -n '%s'%s -d '%s'\n" "$program" "$condition" "$flags" \
        "$(first_sentence "$text" | sed "s/'/\\\\'/g")"
    done < <(entries_of $path)
  done
}

shell=${1:?usage: completions.sh bash|zsh|fish PROGRAM}
program=${2:?usage: completions.sh bash|zsh|fish PROGRAM}
mapfile -t commands < <(commands_of "$program")
case $shell in
  bash | zsh | fish) "print_$shell" ;;
  *) echo "completions.sh: $shell: not a shell it knows" >&2 && exit 2 ;;
esac
