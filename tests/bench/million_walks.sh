#!/usr/bin/env bash
# Work over a whole tree of a million small files: seed, start, a change, quick verify, planted
# damage, and the reconcile after an unclean end; how long each takes and the most memory of both
# daemons in it.
# usage: tests/bench/million_walks.sh [FILES]   (from 10,000 to, say, 5,000,000; needs scripts/setup.sh --with-tests to have been run, root and python3)
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
# plant TREE FILES: damages the replica in every way at the first, the last and a random place, so
# that no time tells. Prints the path of each damaged object.
plant() {
  python3 - "$1" "$2" <<'PYTHON'
import os, random, sys
tree, files = sys.argv[1], int(sys.argv[2])

def flip(path):
    with open(path, "r+b") as file:
        file.seek(5)
        byte = file.read(1)
        file.seek(5)
        file.write(bytes([byte[0] ^ 1]))
def become_directory(path):
    os.remove(path)
    os.mkdir(path)
def make_directory(path):
    os.mkdir(path + ".more")
    open(path + ".more/below", "w").close()
damages = [
    flip,
    lambda path: os.truncate(path, os.path.getsize(path) - 1),
    lambda path: os.chmod(path, 0o600),
    lambda path: os.chown(path, 70, 80),
    lambda path: os.setxattr(path, "user.planted", b"1"),
    os.remove,
    become_directory,
    lambda path: os.mkfifo(path + ".fifo"),
    make_directory,
]
keep_times = len(damages)
damages.append(lambda path: os.utime(path, ns=(0, 1)))
adds = {7: ".fifo", 8: ".more"}
for place in (0, files - 100, random.randrange(1, files // 100 - 1) * 100):
    directory = f"{place // 10000}/{place // 100 % 100}"
    for number, damage in enumerate(damages):
        name = f"{directory}/file{place + 9 * number}"
        path = f"{tree}/{name}"
        before, around = os.stat(path), os.stat(f"{tree}/{directory}")
        damage(path)
        if number < keep_times and os.path.isfile(path):
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.utime(f"{tree}/{directory}", ns=(around.st_atime_ns, around.st_mtime_ns))
        print(name + adds.get(number, ""))
PYTHON
}
# verify_code CODE OPTION...: runs tandem verify, whose exit code must be that. Its output is in
# $scratch/verified.
verify_code() {
  local code=0
  "$bin/tandem" verify "$mount" "${@:2}" >"$scratch/verified" 2>>"$scratch/log" || code=$?
  ((code == $1)) || { echo "million_walks.sh: verify ${*:2} ended with $code, not $1" >&2 && exit 1; }
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

plant "$(tree_of 1)" "$files" | sort >"$scratch/planted"
verify_code 4 --full
# What is below a directory that is only on the replica is not named one by one; a directory may be
# told that one more is in it.
sed -n 's/^[a-z]*: \(.*\): .*/\1/p' "$scratch/verified" | grep / | grep file | sort -u >"$scratch/found"
planted=$(wc -l <"$scratch/planted")
missed=$(comm -23 "$scratch/planted" "$scratch/found" | wc -l)
more=$(comm -13 "$scratch/planted" "$scratch/found" | wc -l)
verify_code 1 --full --repair
took=$(seconds verify_code 0 --full)
row "damage planted at the first, the last and a random place; verify --full after its repair" \
  "$planted; $missed missed, $more found that was none; $took s" "0, 0"

pid=$(tandemfs_pid)
kill -KILL "$pid"
flock "$source_dir" true
umount -l "$mount"
lose_boot
echo 5 >"/proc/$replica/clear_refs"
took=$(seconds reconciled)
row "reconcile of $files files after an unclean end; memory" "$took s; $(peaks)" "<= 15 s"
