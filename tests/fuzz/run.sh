#!/usr/bin/env bash
# Runs the fuzz targets, whose programs are in BUILD/bin/tests of the build --asan --faults.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../../scripts/common.sh"

usage() {
  cat <<'USAGE'
usage: tests/fuzz/run.sh [OPTION]... [TARGET]...
Searches with each target in turn (without any: all), and prints what was found at the end.
  --hours N     how long with each target; fractions too. Default: 1
  --dir BUILD   the build, default build-asan-faults; it is not built here
  --keep        adds to tests/fuzz/corpus the inputs that reach what none there reaches
  --once FILE   what ctest runs: the target FILE over its corpus and, where CI=true, 60 s more
USAGE
}

here=$root/tests/fuzz
hours=1
keep=no
once=""
build=$root/build-asan-faults
targets=()
while (($#)); do
  case $1 in
    --hours) hours=${2:?--hours needs a number} && shift ;;
    --dir) build=${2:?--dir needs a directory} && shift ;;
    --keep) keep=yes ;;
    --once) once=${2:?--once needs a program} && shift ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && die "unknown option $1" ;;
    *) targets+=("$1") ;;
  esac
  shift
done

# Volumes and files of the targets: in memory, and gone when this ends.
TANDEM_FUZZ_DIR=$(mktemp -d /dev/shm/tandem-fuzz.XXXXXX)
export TANDEM_FUZZ_DIR
trap 'rm -rf "$TANDEM_FUZZ_DIR"' EXIT
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# search PROGRAM CORPUS ARGUMENT...: new inputs go to CORPUS, findings to BUILD/fuzz/. Arguments are
# libFuzzer's, and other corpora, which are only read.
search() {
  local program=$1 corpus=$2 found
  shift 2
  found=$(dirname "$program")/../../fuzz
  mkdir -p "$found" "$corpus"
  "$program" "$corpus" "$@" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
    -artifact_prefix="$found/$(basename "$program")-"
}

if [[ $once ]]; then
  name=$(basename "$once" _fuzz)
  corpus=$here/corpus/$name
  search "$once" "$corpus" -runs=0
  [[ ${CI:-} == true ]] || exit 0
  mkdir "$TANDEM_FUZZ_DIR/new"
  # Without a line for each new input: a finding is the first that the log shows.
  search "$once" "$TANDEM_FUZZ_DIR/new" -max_total_time=60 -verbosity=0 "$corpus"
  exit 0
fi

if ((${#targets[@]} == 0)); then
  for source in "$here"/*_fuzz.cc; do targets+=("$(basename "$source" _fuzz.cc)"); done
fi
seconds=$(awk -v h="$hours" 'BEGIN { printf "%d", h * 3600 }')
summary=""
status=0
for name in "${targets[@]}"; do
  program=$build/bin/tests/${name}_fuzz
  [[ -x $program ]] || die "$program is missing: run scripts/build.sh --asan --faults"
  log=$build/fuzz-$name.log
  grown=$build/fuzz/grown-$name
  mkdir -p "$grown"
  result=ok
  search "$program" "$grown" -max_total_time="$seconds" "$here/corpus/$name" >"$log" 2>&1 ||
    { result=FOUND status=1; }
  summary+=$(printf '%-8s %-6s %s executions, %s, log %s' "$name" "$result" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)" "$log")$'\n'
  if [[ $keep == yes && $result == ok ]]; then
    "$program" -merge=1 -max_len=8192 "$here/corpus/$name" "$grown" >>"$log" 2>&1 || status=1
  fi
done
printf '%s' "$summary"
exit "$status"
