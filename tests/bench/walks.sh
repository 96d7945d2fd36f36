#!/usr/bin/env bash
# Work over whole trees, beside the tools that do only that: seeding beside rsync over its own
# daemon, verify beside xxhsum of both trees at once; and what a verify holds up.
# usage: tests/bench/walks.sh [ROUNDS [FILES]]   (needs scripts/setup.sh --with-tests to have been run, root, rsync and xxhsum)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
rounds=${1:-3}
files=${2:-50000}
for tool in rsync xxhsum; do
  command -v "$tool" >/dev/null || { echo "walks.sh: $tool is missing (packages rsync, xxhash)" >&2 && exit 2; }
done
head_of_table

# timed COMMAND...: runs it and prints the seconds it took.
timed() {
  local start
  start=$(date +%s%N)
  "$@" >>"$scratch/log" 2>&1
  printf "%s\n" "$(seconds_between "$start" "$(date +%s%N)")"
}
cold() {
  sync
  echo 3 >/proc/sys/vm/drop_caches
}
hash_tree() { find "$1" -type f -print0 | xargs -0 xxhsum -H2 >/dev/null 2>&1; }
hash_both() {
  hash_tree "$source_dir" &
  hash_tree "$(tree_of 1)"
  wait "$!"
}

# ---- Seeding ---------------------------------------------------------------------------------
rsync_port=$((7448 + 99))
rsync_daemon "$rsync_port" "$scratch/rsynced"

seed() {
  replica 1
  replica=$!
  mounted --replica "$(url_of 1)"
  synced 600
}
# set_aside DIRECTORY: out of the way, and removed at the end: where files were just removed, ext4
# looks at each of their inodes whenever it makes a file.
aside=0
set_aside() { mv "$1" "$scratch/aside.$((++aside))"; }
unseed() {
  unmounted
  stopped "$replica"
  rm -rf --one-file-system "$scratch/state"
  set_aside "$(store_of 1)"
}
rsync_tree() {
  rsync -aHAX "$source_dir/" "rsync://127.0.0.1:$rsync_port/tree/"
  sync -f "$scratch/rsynced"
}
# seeding NAME TARGET: of what is in the source, warm.
seeding() {
  for ((round = 0; round < rounds; ++round)); do
    hash_tree "$source_dir"
    timed seed >>"$scratch/seed.$1"
    ((round + 1 == rounds)) || unseed
    timed rsync_tree >>"$scratch/rsync.$1"
    set_aside "$scratch/rsynced"
    mkdir "$scratch/rsynced"
  done
  local ours theirs
  ours=$(median <"$scratch/seed.$1") theirs=$(median <"$scratch/rsync.$1")
  row "seed $2, rsync : tandemfs" "$(ratio "$theirs" "$ours") ($theirs : $ours s)" "$3"
}
# verifying NAME WHAT WARM_TARGET COLD_TARGET
verifying() {
  local state prepare mode ours theirs
  for state in warm cold; do
    prepare=hash_both
    [[ $state == cold ]] && prepare=cold
    for ((round = 0; round < rounds; ++round)); do
      "$prepare"
      timed hash_both >>"$scratch/hash.$1.$state"
      for mode in --full --drop-caches; do
        "$prepare"
        timed "$bin/tandem" verify "$mount" "$mode" >>"$scratch/verify.$1.$state.$mode"
      done
    done
    theirs=$(median <"$scratch/hash.$1.$state")
    for mode in --full --drop-caches; do
      ours=$(median <"$scratch/verify.$1.$state.$mode")
      row "verify $mode of $2, $state: xxhsum of both trees at once : tandemfs" \
        "$(ratio "$theirs" "$ours") ($theirs : $ours s)" "$([[ $state == warm ]] && echo "$3" || echo "$4")"
    done
  done
}

for ((i = 0; i < files; i += 100)); do mkdir "$source_dir/$i"; done
python3 - "$source_dir" "$files" <<'PYTHON'
import os, sys
content = os.urandom(1 << 20)
for i in range(int(sys.argv[2])):
    at = i * 37 % 1000000
    with open(f"{sys.argv[1]}/{i // 100 * 100}/file{i}", "wb") as file:
        file.write(content[at:at + 2000])
PYTHON
seeding small "$files files of 2 kB" ">= 1.5"
sleep 2 # the seed is kept on disk about a second later
verifying small "$files files of 2 kB" ">= 0.3" ">= 0.8"

# What a small change waits for while a verify runs.
"$bin/tandem" verify "$mount" --full >>"$scratch/log" &
verify=$!
worst=0
while kill -0 "$verify" 2>/dev/null; do
  start=$(date +%s%N)
  echo "$start" >"$mount/probe"
  synced 60
  took=$((($(date +%s%N) - start) / 1000000))
  ((took <= worst)) || worst=$took
done
row "longest sync of a small change while verify --full runs" "$worst ms" ""
unseed
find "$source_dir" -mindepth 1 -delete

for i in 1 2 3 4; do incompressible 512 "$source_dir/file$i"; done
seeding large "4 files of 512 MiB" ">= 1.0"
sleep 2
verifying large "2 GiB in 4 files" ">= 0.8" ">= 0.8"
unseed
