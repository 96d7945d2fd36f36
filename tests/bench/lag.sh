#!/usr/bin/env bash
# How long a write takes to the trees of one and of three replicas, on an idle mount and beside a
# writer at half of what the mount takes with them attached. All of it shares the processors and the
# filesystem of this machine: a replica's sync waits for what the writer has written, too.
# usage: tests/bench/lag.sh [COUNT]   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
count=${1:-500}
capacity_seconds=6

# Writes at half capacity until it is killed; its pid is in $!.
load() { background "$bin/tests/write_speed" "$mount/load" random 3600 "$1"; }

# lag_row WHAT TREES...
lag_row() {
  local what=$1 before p50 p99
  shift
  before=$(ticks)
  read -r p50 p99 _ < <("$bin/tests/lag" "$count" "$mount/lag" "${@/%//lag}")
  row "lag of a write, $what, p50, p99" "$p50 ms, $p99 ms ($(busy "$before" "$(ticks)"))" \
    "<= 10 ms, <= 100 ms"
}

# What nobody who writes durably to this disk can be faster than, now.
# disk_row BESIDE-WHAT
disk_row() {
  local p50 p99
  read -r p50 p99 < <("$bin/tests/disk_wait" "$scratch/disk_wait" "$count")
  row "for comparison: fdatasync of 4 KiB on the same disk, $1, p50, p99" "$p50 ms, $p99 ms" "-"
}

head_of_table
disk_row "nothing else"
for replicas in 1 3; do
  pids=()
  trees=()
  arguments=()
  for ((number = 1; number <= replicas; ++number)); do
    replica "$number"
    pids+=("$!")
    trees+=("$(tree_of "$number")")
    arguments+=(--replica "backup$number=$(url_of "$number")")
  done
  mounted "${arguments[@]}"
  echo >"$mount/lag"
  "$bin/tests/write_speed" "$mount/load" random 1 >/dev/null
  synced 120
  what="$replicas replica"
  ((replicas == 1)) || what="slowest of $replicas replicas"
  lag_row "$what, nothing else" "${trees[@]}"

  capacity=$("$bin/tests/write_speed" "$mount/load" random "$capacity_seconds")
  half=$(awk -v all="$capacity" 'BEGIN { printf "%.1f", all / 2 }')
  synced 600
  load "$half"
  load_pid=$!
  sleep 2
  lag_row "$what, beside $half MiB/s of 4 KiB random overwrites (half capacity)" "${trees[@]}"
  disk_row "beside the same"
  stopped "$load_pid"
  synced 600
  unmounted
  for pid in "${pids[@]}"; do stopped "$pid"; done
  rm -rf "${source_dir:?}"/* "$scratch/state" "$scratch"/store*
done
