#!/usr/bin/env bash
# Work over a whole tree of a million small files: seed, start, a change, quick verify, and the
# reconcile after an unclean end; how long each takes and the most memory of both daemons in it.
# usage: tests/bench/million_walks.sh [FILES]   (needs scripts/setup.sh --with-tests to have been run, root and python3)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
files=${1:-1000000}
few=1000

# seconds COMMAND...: runs it and prints the seconds it took.
seconds() {
  local start
  start=$(date +%s%N)
  "$@" >>"$scratch/log" 2>&1
  seconds_between "$start" "$(date +%s%N)"
}
make_files() {
  python3 - "$source_dir" "$1" <<'PYTHON'
import sys, os
for i in range(int(sys.argv[2])):
    directory = f"{sys.argv[1]}/{i // 10000}/{i // 100 % 100}"
    if i % 100 == 0:
        os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/file{i}", "w") as file:
        file.write(f"{i:0100}")
PYTHON
}
# forget_peaks: what memory reports from now on is of now on.
forget_peaks() { for pid in "$(tandemfs_pid)" "$replica"; do echo 5 >"/proc/$pid/clear_refs"; done; }
peaks() { printf '%s, %s MiB' "$(memory "$(tandemfs_pid)" VmHWM)" "$(memory "$replica" VmHWM)"; }
# lag: median of small changes until they are applied, in ms.
lag() {
  local i start
  for ((i = 0; i < 50; ++i)); do
    start=$(date +%s%N)
    echo "$start" >"$mount/0/0/file$i"
    synced 60
    echo $((($(date +%s%N) - start) / 1000))
  done | median | awk '{ printf "%.1f", $1 / 1000 }'
}
# Until the replica is current again.
reconciled() {
  mounted --replica "$(url_of 1)"
  synced 1200
}
# As if the power had failed: the tables may lack their newest part.
lose_boot() {
  python3 - "$scratch/state/state.db" <<'PYTHON'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    changed = database.execute("UPDATE volume SET value = 'another' WHERE key = 'boot'").rowcount
sys.exit(0 if changed == 1 else "million_walks.sh: the state has no boot id")
PYTHON
}
start_over() {
  unmounted
  stopped "$replica"
  rm -rf --one-file-system "$scratch/state" "$(store_of 1)"
}

head_of_table
make_files "$few"
replica 1
replica=$!
mounted --replica "$(url_of 1)"
synced 60
lag_of_few=$(lag)
start_over

make_files "$files"
replica 1
replica=$!
took=$(seconds reconciled)
row "seed of $files files; memory of tandemfs, tandemd" "$took s; $(peaks)" "; <= 300 MiB each"
sleep 3 # the seed is kept on disk about a second later
lag_of_many=$(lag)
row "lag of a small change in a tree of $files files : of $few, p50" \
  "$(ratio "$lag_of_many" "$lag_of_few") ($lag_of_many : $lag_of_few ms)" "<= 1.2"
unmounted
row "start of a mount of $files files" "$(seconds mounted --replica "$(url_of 1)") s" "<= 1 s"
synced 60
"$bin/tandem" verify "$mount" >>"$scratch/log" # warm from here on
forget_peaks
row "quick verify of $files files; memory" "$(seconds "$bin/tandem" verify "$mount") s; $(peaks)" "<= 15 s"

pid=$(tandemfs_pid)
kill -KILL "$pid"
flock "$source_dir" true
umount -l "$mount"
lose_boot
echo 5 >"/proc/$replica/clear_refs"
took=$(seconds reconciled)
row "reconcile of $files files after an unclean end; memory" "$took s; $(peaks)" "<= 15 s"
