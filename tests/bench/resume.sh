#!/usr/bin/env bash
# A first copy of large files that is broken off at every 5 %, by kill -9 of the replica or of the
# source: bytes over the interface in all, against one transfer that is not broken off.
# usage: tests/bench/resume.sh [MIB]   (needs scripts/setup.sh --with-tests to have been run, and root; other traffic on lo counts)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
mib=${1:-2048}
pieces=20

received() { cat /sys/class/net/lo/statistics/rx_bytes; }
start_mount() { mounted --replica "$(url_of 1)" 2>>"$scratch/log"; }
start_both() {
  replica 1
  replica=$!
  start_mount
}
start_over() {
  unmounted
  stopped "$replica"
  rm -rf --one-file-system "$scratch/state" "$(store_of 1)"
}
kill_replica() {
  kill -KILL "$replica"
  wait "$replica" 2>/dev/null || true
  replica 1
  replica=$!
}
kill_source() {
  kill -KILL "$(tandemfs_pid)"
  flock "$source_dir" true
  start_mount
}
# await BYTES: until so much has been received.
await() {
  local deadline=$((SECONDS + 600))
  while (($(received) < $1)); do
    ((SECONDS < deadline)) || { echo "resume.sh: the copy does not get on" >&2 && exit 1; }
    sleep 0.002
  done
}
# bytes_of_copy [COMMAND]: of a whole copy, with the command after each piece of it. In `copied`.
bytes_of_copy() {
  local before part
  before=$(received)
  start_both
  for ((part = 1; part < pieces; ++part)); do
    [[ ${1:-} ]] || break
    # What is sent again counts as progress too: later breaks come a little earlier in the copy.
    await $((before + part * mib * 1048576 / pieces))
    "$1"
  done
  synced 600
  copied=$(($(received) - before))
  "$bin/tandem" verify --full "$mount" >>"$scratch/log"
  start_over
}

head_of_table
for ((i = 0; i < 4; ++i)); do incompressible $((mib / 4)) "$source_dir/file$i"; done
bytes_of_copy
whole=$copied
for who in replica source; do
  bytes_of_copy "kill_$who"
  row "bytes of a first copy of $mib MiB whose $who is killed at every 5 % : of one that is not broken off" \
    "$(awk -v a="$copied" -v b="$whole" 'BEGIN { printf "%.3f", a / b }')" "<= 1.02"
done
