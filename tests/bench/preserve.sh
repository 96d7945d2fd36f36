#!/usr/bin/env bash
# What it costs the writers that a cut has to stay as it was while it is being shipped: over a slow
# link, so that a frozen cut of 60 MiB (more would be pre-copied) is there all the time.
# usage: tests/bench/preserve.sh [ROUNDS]   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
rounds=${1:-5}
link=9
link_kib=512
# What the sender has read needs not be kept: it is at work before the part that is measured.
set_mib=60
from_mib=12

overwrite() { "$bin/tests/overwrite_once" "$mount/$1" "$2" "$set_mib" "$3"; }

# frozen FILE: a cut with all of FILE in it is being shipped when this returns.
frozen() {
  local before
  "$bin/tandem" pause "$mount"
  overwrite "$1" 0 sequential >/dev/null
  kill -USR2 "$link_pid"
  before=$(field sent_bytes)
  "$bin/tandem" resume "$mount"
  until (($(field sent_bytes) - before >= 1 << 20)); do sleep 0.05; done
}

# What tandemfs has read by now, requests included, but not what it has sent on: what a pass with a
# frozen cut reads more than one without is what it kept.
read_by_operations() {
  echo $(($(awk '$1 == "rchar:" { print $2 }' "/proc/$pid/io") - $(field sent_bytes)))
}

released() {
  kill -USR1 "$link_pid"
  synced 120
}

replica 1
background "$bin/tests/slow_link" "$(port_of "$link")" "$(port_of 1)" "$link_kib"
link_pid=$!
mounted --replica "backup=$(url_of "$link")"
pid=$(tandemfs_pid)
kill -USR1 "$link_pid"
for file in one other; do overwrite "$file" 0 sequential >/dev/null; done
synced 120

for name in none overlap beside kept; do : >"$scratch/$name"; done
for ((round = 0; round < rounds; ++round)); do
  "$bin/tandem" pause "$mount"
  read_before=$(read_by_operations)
  overwrite one "$from_mib" random >>"$scratch/none"
  read_without=$(($(read_by_operations) - read_before))
  "$bin/tandem" resume "$mount"
  synced 120

  frozen one
  read_before=$(read_by_operations)
  overwrite one "$from_mib" random >>"$scratch/overlap"
  read_with=$(($(read_by_operations) - read_before))
  echo $(((read_with - read_without) >> 20)) >>"$scratch/kept"
  released

  frozen other
  overwrite one "$from_mib" random >>"$scratch/beside"
  released
done

none=$(median <"$scratch/none")
overlap=$(median <"$scratch/overlap")
beside=$(median <"$scratch/beside")
head_of_table
row "4 KiB random overwrite, each of what a frozen cut still needs : no cut" \
  "$(ratio "$overlap" "$none") ($overlap : $none MiB/s; of $((set_mib - from_mib)) MiB, $(median <"$scratch/kept") were kept)" "-"
row "4 KiB random overwrite, a frozen cut over another file : no cut" \
  "$(ratio "$beside" "$none") ($beside : $none MiB/s)" ">= 0.95"
