#!/usr/bin/env bash
# What an edit of a few bytes costs, whatever the size of the file.
# usage: tests/bench/travel.sh   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"

replica 1
mounted --replica "backup=$(url_of 1)"
head_of_table
for mib in 1 1024 102400; do
  file=$mount/edit-$mib
  if ((mib > 1024)); then
    truncate -s "${mib}M" "$file"
  else
    incompressible "$mib" "$file"
  fi
  synced 600
  # More than one heartbeat may fall into the measurement; it is counted too.
  before=$(field sent_bytes)
  start=$(date +%s%N)
  head -c 4096 </dev/urandom |
    dd of="$file" bs=4096 seek=$(($(stat -c %s "$file") / 8192)) conv=notrunc status=none
  synced 60
  took=$((($(date +%s%N) - start) / 1000000))
  row "4 KiB edit in a file of $mib MiB: sent, until applied" \
    "$(($(field sent_bytes) - before)) B, $took ms" "<= 8192 B"
done
