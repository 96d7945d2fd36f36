#!/usr/bin/env bash
# Runs all benchmarks, each of which also runs by itself, and prints one table for RESULTS.md.
# usage: tests/bench/run.sh [ROUNDS]   (needs scripts/setup.sh --with-tests to have been run, and root)
set -euo pipefail
folder=$(dirname "$0")
rounds=${1:-5}

printf '| what | measured | target |\n|---|---|---|\n'
export TANDEM_BENCH_TABLE=begun
"$folder/capture.sh" "$rounds"
"$folder/preserve.sh" "$rounds"
"$folder/lag.sh"
"$folder/connections.sh"
"$folder/travel.sh"
"$folder/catch_up.sh"
