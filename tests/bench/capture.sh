#!/usr/bin/env bash
# What capture costs the writers, without a replica, and what a cut does.
# usage: tests/bench/capture.sh [ROUNDS]   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
rounds=${1:-5}
seconds=3

head_of_table
for kind in random sequential; do
  : >"$scratch/with" && : >"$scratch/without"
  for ((round = 0; round < rounds; ++round)); do
    mounted
    "$bin/tests/write_speed" "$mount/speed" "$kind" "$seconds" >>"$scratch/with"
    unmounted
    mounted --no-capture
    "$bin/tests/write_speed" "$mount/speed" "$kind" "$seconds" >>"$scratch/without"
    unmounted
  done
  with=$(median <"$scratch/with")
  without=$(median <"$scratch/without")
  what="4 KiB random overwrite"
  [[ $kind == random ]] || what="1 MiB sequential write"
  row "$what, capture : no capture" \
    "$(ratio "$with" "$without") ($with : $without MiB/s)" ">= 0.90"
done

for objects in 10 1000000; do
  read -r with _ without _ < <("$bin/tests/gate_stall" "$(mktemp -d -p "$scratch")" "$objects" 5)
  row "wait of a write of eight writers for a cut each 10 ms, $objects objects pending, p99" \
    "$with ms (without cuts: $without ms)" "<= 5 ms"
done
