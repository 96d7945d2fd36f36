#!/usr/bin/env bash
# Measures what capture costs and how fast changes travel, and prints a table for the README. Ratios
# are of medians taken alternately in this run: the machine may be as noisy as it likes.
# usage: tests/bench/run.sh [ROUNDS]   (needs scripts/setup.sh to have been run, and root)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=$root/build/bin
rounds=${1:-5}
seconds=3
scratch=$(mktemp -d /var/tmp/tandemfs-bench.XXXXXX)
url=tcp://127.0.0.1:7448
source_dir=$scratch/source
mount=$scratch/mount
store=$scratch/store
tree=$store/bench/tree
mkdir "$source_dir" "$mount" "$store"
replica_pid=""

finish() {
  mountpoint -q "$mount" && umount -l "$mount"
  [[ -z $replica_pid ]] || kill "$replica_pid" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf --one-file-system "$scratch"
}
trap finish EXIT

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
field() { "$bin/tandem" status "$mount" --json | sed -n "s/.*\"$1\":\\([0-9.]*\\).*/\\1/p"; }

mounted() { "$bin/tandemfs" "$source_dir" "$mount" --volume bench --state "$scratch/state" "$@"; }
unmounted() {
  umount "$mount"
  # The daemon still writes down its state: it is gone when it lets go of SOURCE.
  flock "$source_dir" true
}
row() { printf '| %s | %s | %s |\n' "$1" "$2" "$3"; }

# ---- What capture costs ----------------------------------------------------------------------

printf '| what | measured | target |\n|---|---|---|\n'
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
rm -f "$source_dir/speed"

# ---- What a cut costs the writers -------------------------------------------------------------

for objects in 10 1000000; do
  read -r with _ without _ < <("$bin/tests/gate_stall" "$(mktemp -d -p "$scratch")" "$objects" 5)
  row "wait of a write of eight writers for a cut each 10 ms, $objects objects pending, p99" \
    "$with ms (without cuts: $without ms)" "<= 5 ms"
done

# ---- How fast changes travel -----------------------------------------------------------------

"$bin/tandemd" --store "$store" --listen "$url" >"$scratch/tandemd.log" 2>&1 &
replica_pid=$!
mounted --replica "backup=$url"
echo >"$mount/lag"
"$bin/tandem" sync "$mount" --timeout 60
read -r p50 p99 < <("$bin/tests/lag" "$mount/lag" "$tree/lag" 500)
row "lag of a write, p50" "$p50 ms" "<= 50 ms"
row "lag of a write, p99" "$p99 ms" "<= 500 ms"

for size in 1M 1G 100G; do
  file=$mount/edit-$size
  if [[ $size == 100G ]]; then
    truncate -s "$size" "$file"
  else
    head -c "$size" </dev/urandom >"$file"
  fi
  "$bin/tandem" sync "$mount" --timeout 600
  # More than one heartbeat may fall into the measurement; it is counted too.
  before=$(field sent_bytes)
  start=$(date +%s%N)
  head -c 4096 </dev/urandom |
    dd of="$file" bs=4096 seek=$(($(stat -c %s "$file") / 8192)) conv=notrunc status=none
  "$bin/tandem" sync "$mount" --timeout 60
  took=$((($(date +%s%N) - start) / 1000000))
  row "4 KiB edit in a file of $size: sent, until applied" \
    "$(($(field sent_bytes) - before)) B, $took ms" "<= 8192 B"
done
