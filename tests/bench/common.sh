# shellcheck shell=bash
# shellcheck disable=SC2034  # used by those who source it
# What the benchmarks share. Sourced, never run. Each prints rows of a table for RESULTS.md; works in
# a scratch directory of its own, which goes when it ends; takes ratios of medians measured
# alternately in one run: the machine may be as noisy as it likes.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/build/bin
scratch=$(mktemp -d "${TANDEM_BENCH_DIR:-/var/tmp}/tandemfs-bench.XXXXXX")
source_dir=$scratch/source
mount=$scratch/mount
mkdir "$source_dir" "$mount"
started=()

finish() {
  local pid
  trap - EXIT
  mountpoint -q "$mount" && umount -l "$mount"
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  # The daemon still writes down its state: it is gone when it lets go of SOURCE.
  flock -w 60 "$source_dir" true || true
  rm -rf --one-file-system "$scratch"
}
trap finish EXIT
trap 'exit 1' INT TERM

# ---- Numbers and rows ------------------------------------------------------------------------

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
row() { printf '| %s | %s | %s |\n' "$1" "$2" "$3"; }
# Once a table, whichever script begins it.
head_of_table() {
  [[ ${TANDEM_BENCH_TABLE:-} ]] || printf '| what | measured | target |\n|---|---|---|\n'
  export TANDEM_BENCH_TABLE=begun
}
seconds_between() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b - a) / 1e9 }'; }

# ticks: how long all processors have been busy, waited for the disk, and been there, in ticks.
ticks() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9, $6, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9 }' /proc/stat; }
# busy BEFORE AFTER: what `ticks` said, as "N % busy, N % waiting for the disk".
busy() {
  awk -v before="$1" -v after="$2" 'BEGIN {
    split(before, b); split(after, a); all = a[3] - b[3] + 0.001
    printf "%.0f %% busy, %.0f %% waiting for the disk", 100 * (a[1] - b[1]) / all, 100 * (a[2] - b[2]) / all }'
}

# memory PID FIELD: of /proc/PID/status (VmHWM, RssAnon), in MiB.
memory() { awk -v field="$2:" '$1 == field { print int($2 / 1024) }' "/proc/$1/status"; }

# incompressible MIB FILE: makes a file of random bytes.
incompressible() { dd if=/dev/urandom of="$2" bs=1M count="$1" iflag=fullblock status=none; }

# ---- Mounts and replicas ---------------------------------------------------------------------

mounted() { "$bin/tandemfs" "$source_dir" "$mount" --volume bench --state "$scratch/state" "$@"; }
unmounted() {
  umount "$mount"
  flock "$source_dir" true
}
tandemfs_pid() { pgrep -f "^$bin/tandemfs $source_dir "; }

store_of() { printf '%s/store%s' "$scratch" "$1"; }
tree_of() { printf '%s/bench/tree' "$(store_of "$1")"; }
port_of() { printf '%s' "$((7448 + $1))"; }
url_of() { printf 'tcp://127.0.0.1:%s' "$(port_of "$1")"; }

# background COMMAND...: its pid is in $!; it ends with the script.
background() {
  "$@" >>"$scratch/log" 2>&1 &
  started+=("$!")
}

# replica NUMBER: starts a tandemd; its pid is in $!.
replica() {
  mkdir -p "$(store_of "$1")"
  background "$bin/tandemd" --store "$(store_of "$1")" --listen "$(url_of "$1")" --insecure-plaintext
}

# rsync_daemon PORT DIRECTORY: serves the directory as rsync://127.0.0.1:PORT/tree/.
rsync_daemon() {
  mkdir "$2"
  cat >"$scratch/rsyncd.conf" <<CONF
use chroot = no
port = $1
address = 127.0.0.1
[tree]
path = $2
read only = no
uid = root
gid = root
CONF
  background rsync --daemon --no-detach --config="$scratch/rsyncd.conf"
}

# stopped PID: ends what `background` started.
stopped() {
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# synced SECONDS: all that was changed is on every replica, at the latest in SECONDS.
synced() { "$bin/tandem" sync "$mount" --timeout "$1"; }
# field NAME: a number of status, the first of that name (the first replica's).
field() {
  "$bin/tandem" status "$mount" --json | grep -o "\"$1\":[0-9.]*" | awk -F : 'NR == 1 { print $2 }'
}
