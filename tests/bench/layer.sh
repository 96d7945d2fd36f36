#!/usr/bin/env bash
# How fast the mount is, beside the directory beneath it and other filesystems in user space: rates
# as ratios to the first layer's, the median of one ratio a round. In a round each layer gets a fresh
# ext4 of its own in an image file (a filesystem where much was deleted lately makes files slowly),
# and all are mounted at once: each workload is done by one layer after the other, so that a machine
# which is slow for minutes is slow for all of them, every other round in the other order.
# Most of a request's time is the waking of processors that sleep, so there are two states: as it is,
# and with TANDEM_BENCH_AWAKE=yes, when a loop of idle priority keeps each processor awake. (A replica
# that works beside a layer keeps one awake too.) A second table has the processors' time.
# usage: tests/bench/layer.sh [ROUNDS [WORKLOAD...]]
# Needs root, scripts/setup.sh --with-tests --with-fuse-examples, and for all peers the packages
# bindfs and mergerfs. TANDEM_BENCH_LAYERS chooses among the layers: "no_capture tandemfs", say, for
# what capture costs. Takes a minute or two a layer and round, 4 GiB of disk a layer.
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
rounds=${1:-5}
shift $(($# ? 1 : 0))
read -r -a layers <<<"${TANDEM_BENCH_LAYERS:-native memory_fs memory_fs_ring passthrough_hp passthrough_hp_nocache bindfs mergerfs no_capture no_capture_ring tandemfs tandemfs_ring replica replica_ring tandemfs_writeback}"
# In the order in which they are run: later ones use what earlier ones left.
all=(open_write_close overwrite overwrite_2 overwrite_4 overwrite_8 append read_cold small_files
  small_files_2 small_files_4 small_files_8 untar git_add git_status_cold git_status_warm find_cold find_warm
  change_modes remove
  sqlite_wal sqlite_delete pgbench)
workloads=("${@:-${all[@]}}")

tarball=$scratch/tree.tar
results=$scratch/results
mkdir "$results"
passthrough_hp=$root/build/deps/fuse3/examples/example/passthrough_hp
postgres_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)

# passthrough_hp keeps a descriptor for each object.
ulimit -n "$(ulimit -Hn)"

finish_layers() {
  local folder
  [[ -z ${awake:-} ]] || kill "${awake[@]}" 2>/dev/null || true
  for folder in "$scratch"/layers/*/mount "$scratch"/layers/*/disk; do
    ! mountpoint -q "$folder" || umount -l "$folder"
  done
  finish
}
trap finish_layers EXIT

# ---- Layers ------------------------------------------------------------------------------------

# use LAYER: what $mount and its like are.
use() {
  folder=$scratch/layers/$1
  disk=$folder/disk
  mount=$folder/mount
}

fresh_disk() {
  mkdir -p "$disk" "$mount"
  truncate -s 8G "$folder/image"
  mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 "$folder/image"
  mount -o loop,noinit_itable "$folder/image" "$disk"
  mkdir "$disk/source"
  chmod 777 "$disk/source"
}

# LAYER: without "_ring" requests come over /dev/fuse, with it over io_uring. "_sleeping" is what was
# done before there were either rings or readers that poll.
mount_layer() {
  local tandemfs=("$bin/tandemfs" "$disk/source" "$mount" --volume "$1" --state "$folder/state")
  if [[ $1 == *_ring ]]; then tandemfs+=(-o io_uring=on); else tandemfs+=(-o io_uring=off); fi
  [[ $1 != *_sleeping ]] || tandemfs+=(--disable reader-spin)
  local peer=("$passthrough_hp" --nopassthrough -o allow_other)
  case $1 in
    native) mount --bind "$disk/source" "$mount" ;;
    passthrough_hp) background "${peer[@]}" "$disk/source" "$mount" ;;
    passthrough_hp_nocache) background "${peer[@]}" --nocache "$disk/source" "$mount" ;;
    bindfs) bindfs "$disk/source" "$mount" ;;
    memory_fs) background "$bin/tests/memory_fs" "$mount" ;;
    memory_fs_ring) background "$bin/tests/memory_fs" --io-uring "$mount" ;;
    mergerfs) mergerfs -o cache.files=auto-full "$disk/source" "$mount" ;;
    no_capture | no_capture_ring | no_capture_sleeping) "${tandemfs[@]}" --no-capture ;;
    tandemfs | tandemfs_ring) "${tandemfs[@]}" ;;
    replica | replica_ring | replica_sleeping)
      background "$bin/tandemd" --store "$disk/store" --listen "ipc://$folder/replica"
      "${tandemfs[@]}" --replica "ipc://$folder/replica"
      ;;
    tandemfs_writeback) "${tandemfs[@]}" -o writeback ;;
    *) echo "no such layer: $1" >&2 && return 1 ;;
  esac
  until mountpoint -q "$mount"; do sleep 0.05; done
}

# Until the daemons are gone too: they still hold the disk.
remove_layer() {
  local pid
  umount "$mount"
  for pid in $(pgrep -f "^$bin/tandemd --store $disk/store "); do kill "$pid"; done
  until umount "$disk" 2>/dev/null; do sleep 0.05; done
  rm -rf --one-file-system "$folder"
}

has_layer() {
  case $1 in
    passthrough_hp*) [[ -x $passthrough_hp ]] ;;
    bindfs | mergerfs) command -v "$1" >/dev/null ;;
    *) true ;;
  esac
}

# ---- Workloads: each prints a rate, more is better ---------------------------------------------

per_second() { # COMMAND...: how often a second it could be run
  local begin=$EPOCHREALTIME
  "$@" >/dev/null || return
  awk -v begin="$begin" -v end="$EPOCHREALTIME" 'BEGIN { printf "%.4f\n", 1 / (end - begin) }'
}
drop_caches() { sync && echo 3 >/proc/sys/vm/drop_caches; }
# at_once N COMMAND...: N of them, with %N in their arguments; the sum of what they print.
at_once() {
  local n=$1 i
  shift
  for ((i = 0; i < n; ++i)); do "${@//%N/$i}" & done | awk '{ sum += $1 } END { print sum }'
}

open_write_close() { "$bin/tests/open_write_close" "$mount/one" 4000; }
overwrite() { "$bin/tests/write_speed" "$mount/speed" random 2; }
overwrite_N() {
  local i
  for ((i = 0; i < $1; ++i)); do cp "$mount/speed" "$mount/speed$i"; done
  sync
  at_once "$1" "$bin/tests/write_speed" "$mount/speed%N" random 2
  rm "$mount"/speed[0-7]
}
overwrite_2() { overwrite_N 2; }
overwrite_4() { overwrite_N 4; }
overwrite_8() { overwrite_N 8; }
append() { "$bin/tests/write_speed" "$mount/speed" sequential 2; }
read_cold() { drop_caches && per_second dd if="$mount/speed" of=/dev/null bs=1M status=none; }
small_files_N() {
  local i
  mkdir "$mount/small$1"
  for ((i = 0; i < $1; ++i)); do mkdir "$mount/small$1/$i"; done
  at_once "$1" "$bin/tests/small_files" "$mount/small$1/%N" $((10000 / $1))
}
small_files() { small_files_N 1; }
small_files_2() { small_files_N 2; }
small_files_4() { small_files_N 4; }
small_files_8() { small_files_N 8; }
untar() { mkdir "$mount/tree" && per_second tar xf "$tarball" -C "$mount/tree"; }
git_add() {
  git -C "$mount/tree" init -q
  git config --global --replace-all safe.directory '*' 2>/dev/null || true
  per_second git -C "$mount/tree" add .
}
# twice COMMAND...: the second time with all it needs in memory.
twice() {
  "$@" >/dev/null || return
  per_second "$@"
}
git_status() {
  [[ -e $mount/tree/.git/index ]] || return
  "$1" git -C "$mount/tree" status --porcelain
}
git_status_cold() { drop_caches && git_status per_second; }
git_status_warm() { git_status twice; }
find_cold() { drop_caches && per_second find "$mount/tree" -newer "$tarball"; }
find_warm() { twice find "$mount/tree" -newer "$tarball"; }
change_modes() { per_second chmod -R g+w "$mount/tree"; }
remove() { per_second rm -r "$mount/tree"; }
sqlite() { # JOURNAL COMMITS
  local i database=$mount/database-$1
  sqlite3 "$database" "PRAGMA journal_mode=$1; CREATE TABLE t(i INTEGER PRIMARY KEY, x)" >/dev/null
  {
    echo "PRAGMA synchronous=FULL;"
    for ((i = 0; i < $2; ++i)); do echo "INSERT INTO t(x) VALUES(randomblob(100));"; done
  } >"$scratch/statements"
  per_second sqlite3 "$database" ".read $scratch/statements"
}
sqlite_wal() { sqlite wal 1000; }
sqlite_delete() { sqlite delete 300; }
pgbench() {
  local data=$mount/postgres socket=$scratch/socket as=(setpriv --reuid postgres --regid postgres --init-groups)
  mkdir -p "$data" "$socket"
  chmod 755 "$scratch"
  chown postgres "$data" "$socket"
  "${as[@]}" "$postgres_bin/initdb" -D "$data" -A trust >/dev/null
  "${as[@]}" "$postgres_bin/pg_ctl" -D "$data" -w -l "$socket/log" \
    -o "-c listen_addresses='' -c unix_socket_directories=$socket" start >/dev/null
  "${as[@]}" "$postgres_bin/pgbench" -h "$socket" -i -s 5 postgres >/dev/null 2>&1
  "${as[@]}" "$postgres_bin/pgbench" -h "$socket" -c 2 -T 5 postgres 2>/dev/null |
    awk '/^tps/ { print $3 }'
  "${as[@]}" "$postgres_bin/pg_ctl" -D "$data" -w -m fast stop >/dev/null
}

# ---- All of it ---------------------------------------------------------------------------------

needed() {
  local workload=$1
  [[ " ${workloads[*]} " == *" $workload "* ]]
}
tar cf "$tarball" -C /usr include 2>/dev/null
usable=()
awake=()
if [[ ${TANDEM_BENCH_AWAKE:-} == yes ]]; then
  for ((i = 0; i < $(nproc); ++i)); do
    taskset -c "$i" chrt -i 0 sh -c 'while :; do :; done' &
    awake+=("$!")
  done
fi
for layer in "${layers[@]}"; do
  if has_layer "$layer"; then usable+=("$layer"); else echo "left out, not installed: $layer" >&2; fi
done
order=("${usable[@]}")
for ((round = 0; round < rounds; ++round)); do
  for layer in "${order[@]}"; do
    use "$layer"
    fresh_disk
    mount_layer "$layer"
  done
  for workload in "${all[@]}"; do
    needed "$workload" || continue
    for layer in "${order[@]}"; do
      use "$layer"
      sync # what others have written is not to be charged to this one
      busy_before=$(ticks)
      # Some peers cannot do everything: that is a result too.
      rate=$(set -e && "$workload" 2>>"$scratch/log") || rate=0
      echo "${rate:-0}" >>"$results/$workload.$layer"
      awk -v before="$busy_before" -v after="$(ticks)" \
        'BEGIN { split(before, b); split(after, a); print a[1] - b[1] + 0.5 }' \
        >>"$results/$workload.$layer.busy"
      printf '%s: %s %s\n' "$layer" "$workload" "$rate" >&2
    done
  done
  for layer in "${order[@]}"; do
    use "$layer"
    remove_layer
  done
  mapfile -t order < <(printf '%s\n' "${order[@]}" | tac)
done

# table WHAT SUFFIX: the medians of the ratios of all layers to the first.
table() {
  printf '| %s, as ratios to %s |' "$1" "${usable[0]}"
  printf ' %s |' "${usable[@]}"
  printf '\n|---|'
  printf -- '---|%.0s' "${usable[@]}"
  printf '\n'
  for workload in "${all[@]}"; do
    needed "$workload" || continue
    printf '| %s |' "$workload"
    for layer in "${usable[@]}"; do
      ratio=$(paste "$results/$workload.$layer$2" "$results/$workload.${usable[0]}$2" |
        awk '{ print ($2 > 0 ? $1 / $2 : 0) }' | median)
      if [[ $ratio == 0 ]]; then printf ' fails |'; else printf ' %.2f |' "$ratio"; fi
    done
    printf '\n'
  done
}
table rates ""
# A loop of idle priority is busy all the time.
[[ ${TANDEM_BENCH_AWAKE:-} == yes ]] || table "processors' time" .busy
