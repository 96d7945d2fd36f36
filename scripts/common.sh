# shellcheck shell=bash
# shellcheck disable=SC2034  # used by those who source it
# What setup.sh, build.sh, test.sh and check.sh share. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${TANDEM_JOBS:-$(nproc)}

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# log_to FILE: where the steps that follow write; begins a new log.
log_to() {
  log=$1
  mkdir -p "$(dirname "$log")"
  : >"$log"
}

# step TEXT COMMAND...: runs the command, its output to the log. Silent, except for one line if it
# takes longer than two seconds. Returns the command's status and leaves the complaint to the caller.
step() {
  local text=$1 start=$SECONDS status=0 ticker
  shift
  printf '\n== %s\n   %s\n' "$text" "$*" >>"$log"
  { sleep 2 >/dev/null && printf '%s ...\n' "$text"; } &
  ticker=$!
  "$@" >>"$log" 2>&1 </dev/null || status=$?
  kill "$ticker" 2>/dev/null || true
  if wait "$ticker" 2>/dev/null && ((status == 0)); then
    printf '%s: done (%d s)\n' "$text" "$((SECONDS - start))"
  fi
  return "$status"
}

# must TEXT COMMAND...: a step without which there is no going on.
must() {
  if ! step "$@"; then
    printf '%s: failed. The last lines of %s:\n' "$1" "$log" >&2
    tail -n 40 "$log" >&2
    exit 1
  fi
}
