#!/usr/bin/env bash
# What a mount with two replicas costs while nothing happens, and while ten small writes a second do:
# how often a second a thread of a daemon was woken (it had gone to sleep before), and
# processor time, of tandemfs and of each tandemd.
# usage: tests/bench/idle.sh [SECONDS [REPLICAS]]   (needs scripts/setup.sh --with-tests, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
seconds=${1:-30}
replicas=${2:-2}

# Of each thread of a process: its id, name, how often it went to sleep, nanoseconds on a processor.
threads() {
  local task
  for task in /proc/"$1"/task/*; do
    printf '%s %s %s %s\n' "${task##*/}" "$(tr ' ' _ <"$task/comm")" \
      "$(awk '/^voluntary_ctxt_switches/ { print $2 }' "$task/status")" \
      "$(cut -d ' ' -f 1 "$task/schedstat")"
  done
}

# woken BEFORE AFTER: the sum of what `threads` said, as a cell of the table; and with
# TANDEM_BENCH_THREADS set, each thread that was woken.
woken() {
  awk -v seconds="$seconds" -v each="${TANDEM_BENCH_THREADS:-}" '
    NR == FNR { slept[$1] = $3; ran[$1] = $4; next }
    { all += $3 - slept[$1]; time += $4 - ran[$1] }
    each && $3 > slept[$1] {
      printf "  %s %s: %.2f/s, %.3f %%\n", $1, $2, ($3 - slept[$1]) / seconds,
             ($4 - ran[$1]) / seconds / 1e7 >"/dev/stderr" }
    END { printf "%.2f wakes/s, %.3f %% of a processor", all / seconds, time / seconds / 1e7 }
  ' "$1" "$2"
}

# measured WHAT LIMIT
measured() {
  local index
  for index in "${!pids[@]}"; do threads "${pids[index]}" >"$scratch/before$index"; done
  sleep "$seconds"
  for index in "${!pids[@]}"; do threads "${pids[index]}" >"$scratch/after$index"; done
  for index in "${!pids[@]}"; do
    row "$1, ${names[index]}" "$(woken "$scratch/before$index" "$scratch/after$index")" "$2"
  done
}

head_of_table
pids=()
names=()
arguments=()
for ((number = 1; number <= replicas; ++number)); do
  replica "$number"
  pids+=("$!")
  names+=("tandemd $number")
  arguments+=(--replica "backup$number=$(url_of "$number")")
done
mounted "${arguments[@]}"
pids+=("$(tandemfs_pid)")
names+=(tandemfs)
"$bin/tests/write_speed" "$mount/file" random 1 >/dev/null
synced 60
# Windows of cooling, checkpoints and keeps that the first change has left.
sleep 20
measured "idle, $replicas replicas" "< 2 wakes/s, < 0.1 %"
background "$bin/tests/write_speed" "$mount/file" random 3600 0.0390625
load_pid=$!
sleep 3
measured "ten writes of 4 KiB a second, $replicas replicas" "< 2 % in all"
stopped "$load_pid"
synced 60
unmounted
for ((number = 1; number <= replicas; ++number)); do stopped "${pids[number - 1]}"; done
