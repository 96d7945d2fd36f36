#!/usr/bin/env bash
# How fast a replica that was away catches up with much new content, and with what memory; beside it
# the same directory copied by rsync on the same disk. Both read it from the disk.
# usage: tests/bench/catch_up.sh [MIB]   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
mib=${1:-10240}
file_mib=64

free=$(($(df --output=avail -B 1M "$scratch" | tail -n 1)))
if ((free < 4 * mib)); then
  # The source, the stage, the tree, and something left for everybody else.
  echo "catch_up: left out: it needs $((4 * mib)) MiB below ${scratch%/*}, and $free are free" >&2
  exit 0
fi

# forgotten: nothing of the source is in the page cache any more.
forgotten() {
  sync -f "$scratch"
  find "$source_dir" -type f -exec dd of={} oflag=nocache conv=notrunc,fdatasync count=0 \
    status=none \;
}
since() { seconds_between "$1" "$(date +%s%N)"; }

replica 1
replica_pid=$!
mounted --replica "backup=$(url_of 1)"
pid=$(tandemfs_pid)
echo >"$mount/first"
synced 120
"$bin/tandem" pause "$mount"
mkdir "$mount/new"
for ((i = 0; i < mib / file_mib; ++i)); do
  incompressible "$file_mib" "$mount/new/$i"
done
forgotten
before=$(memory "$pid" VmHWM)
start=$(date +%s%N)
"$bin/tandem" resume "$mount"
synced 7200
took=$(since "$start")
peaks="tandemfs $(memory "$pid" VmHWM) MiB ($before before), tandemd $(memory "$replica_pid" VmHWM) MiB"
unmounted
stopped "$replica_pid"
rm -rf "$(store_of 1)"

# cp -a does the same where rsync is not installed.
copy=(cp -a)
if command -v rsync >/dev/null; then copy=(rsync -a --whole-file); fi
mkdir "$scratch/copy"
forgotten
start=$(date +%s%N)
"${copy[@]}" "$source_dir/new" "$scratch/copy/"
sync -f "$scratch"
copied=$(since "$start")

head_of_table
row "catching up with $mib MiB of new files, a replica on the same disk : ${copy[0]} and sync" \
  "$(ratio "$copied" "$took") ($(ratio "$mib" "$took") : $(ratio "$mib" "$copied") MiB/s)" "-"
row "peak memory meanwhile" "$peaks" "-"
