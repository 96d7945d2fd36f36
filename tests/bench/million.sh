#!/usr/bin/env bash
# A million files: whether a write or a new file costs more when 10, 10,000 or a million changed
# objects wait for a replica that is away; what listing them all costs the mount in memory, with few
# descriptors; and how long a change waits for its mark while many others cool.
# usage: tests/bench/million.sh [ROUNDS [FILES]]   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
rounds=${1:-3}
files=${2:-1000000}
descriptors=4096

head_of_table
mkdir "$source_dir/new" "$source_dir/work"
"$bin/tests/write_speed" "$source_dir/speed" random 1 >/dev/null
replica 1
replica=$!
mounted --replica "$(url_of 1)"
synced 600
stopped "$replica"

# Not measured: the first writes after a start mark and fill caches.
"$bin/tests/write_speed" "$mount/speed" random 2 >/dev/null
"$bin/tests/small_files" "$(mktemp -d -p "$mount/work")" 5000 >/dev/null

made=0
for objects in 10 10000 "$files"; do
  "$bin/tests/small_files" "$(mktemp -d -p "$mount/new")" $((objects - made)) 0 >/dev/null
  made=$objects
  for ((round = 0; round < rounds; ++round)); do
    "$bin/tests/write_speed" "$mount/speed" random 2 >>"$scratch/overwrite.$objects"
    "$bin/tests/small_files" "$(mktemp -d -p "$mount/work")" 2000 >>"$scratch/create.$objects"
  done
  echo "pending: $(field objects) objects" >&2
done
for kind in overwrite create; do
  what="4 KiB random overwrites" unit=MiB/s
  [[ $kind == overwrite ]] || { what="small files" && unit="a second"; }
  few=$(median <"$scratch/$kind.10")
  for objects in 10000 "$files"; do
    many=$(median <"$scratch/$kind.$objects")
    row "$what with $objects changed objects pending : with 10" \
      "$(ratio "$many" "$few") ($many : $few $unit)" "no less"
  done
done
unmounted

(
  ulimit -n "$descriptors"
  mounted --no-capture
)
pid=$(tandemfs_pid)
before=$(memory "$pid" RssAnon)
listed=$(find "$mount/new" -type f -printf . | wc -c)
[[ $listed == "$files" ]] || { echo "find saw $listed of $files files" >&2 && exit 1; }
after=$(memory "$pid" RssAnon)
echo 2 >/proc/sys/vm/drop_caches
forgotten=$(memory "$pid" RssAnon)
unmounted
row "find over $files files, RLIMIT_NOFILE $descriptors: memory it adds, and once the kernel has forgotten" \
  "$((after - before)) MiB, $((forgotten - before)) MiB" "<= 150 MiB, given back"

# No more can be touched here between two syncs.
hot=$((files / 10))
for when in quiet cooling; do
  mkdir -p "$source_dir/$when"
  seq -f "$source_dir/$when/%.0f" 12000 | xargs mkdir
done
mounted
quiet=$("$bin/tests/mark_wait" "$mount/quiet" 12)
head -z -n "$hot" < <(find "$mount/new" -type f -print0) | xargs -0 touch -c
cooling=$("$bin/tests/mark_wait" "$mount/cooling" 12)
unmounted
row "wait for a mark while up to $hot objects cool : while none does, p50 p99 longest" \
  "$(cut -d ' ' -f -3 <<<"$cooling") : $(cut -d ' ' -f -3 <<<"$quiet") ms" "no more"
