#!/usr/bin/env bash
# Builds everything and runs the tests. What it prints last is ctest's summary.
set -euo pipefail
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/test.sh [OPTION]... [CTEST-ARGUMENT]...
  --long   also the long versions of the tests (TANDEM_TEST_LONG=1)
  --jobs N run so many tests at once (default: three a processor, for most wait for disks)
  --unsteady  if at most three tests fail, run each three more times, alone; if it passes them all
           it is reported as unsteady, at the end, and does not fail the run. What a sanitizer
           found always does.
  --asan, --tsan, --faults, --clang, --packaged-fuse
           test that kind of build (see scripts/build.sh) instead of build/
--asan needs what scripts/setup.sh --with-checks installs.
For example: scripts/test.sh -L unit, scripts/test.sh -R 'Mount.*Rename'.
Where CI=true, a test that skips itself is a failure.
USAGE
}

build_options=()
ctest_options=()
at_once=$((3 * jobs))
bear_unsteady=no
while (($#)); do
  case $1 in
    --long) export TANDEM_TEST_LONG=1 ;;
    --jobs) at_once=${2:?--jobs needs a number} && shift ;;
    --unsteady) bear_unsteady=yes ;;
    --asan | --tsan | --faults | --clang | --packaged-fuse) build_options+=("$1") ;;
    -h | --help) usage && exit 0 ;;
    *) ctest_options+=("$1") ;;
  esac
  shift
done

if ((${#build_options[@]})); then
  "$root/scripts/setup.sh" --deps-only --with-tests
  dir=$("$root/scripts/build.sh" "${build_options[@]}" --print-dir)
  log_to "$dir/build.log"
  must "Building $dir" "$root/scripts/build.sh" "${build_options[@]}"
else
  "$root/scripts/setup.sh" --with-tests
  dir=$root/build
fi

# What ctest starts inherits these. TSan of clang 14 needs less address space randomisation than
# newer kernels use: setarch takes it away.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-atexit_sleep_ms=0:suppressions=$root/tests/tsan.supp}
run=()
[[ " ${build_options[*]} " != *" --tsan "* ]] || run=(setarch -R)

failed_list=$dir/Testing/Temporary/LastTestsFailed.log
rm -f "$failed_list" "$dir/unsteady.log"  # an earlier run's
status=0
"${run[@]}" ctest --test-dir "$dir" --output-on-failure --no-tests=error -j "$at_once" \
  "${ctest_options[@]}" 2>&1 | tee "$dir/ctest.log" || status=$?

# A machine shared with others stops for seconds at odd times, which no deadline of a test foresees.
if ((status)) && [[ $bear_unsteady == yes && -s $failed_list ]] &&
  (($(wc -l <"$failed_list") <= 3)) && ! grep -qE 'ERROR: [A-Za-z]*Sanitizer|WARNING: ThreadSanitizer|runtime error:' "$dir/ctest.log"; then
  unsteady=$(cut -d: -f2 "$failed_list")
  printf '\nOnce more, alone, three times each: %s\n' "${unsteady//$'\n'/ }"
  if "${run[@]}" ctest --test-dir "$dir" --output-on-failure --rerun-failed --repeat until-fail:3 \
    2>&1 | tee -a "$dir/ctest.log"; then
    status=0
    printf '\nUNSTEADY, failed once in this run (output above): %s\n' "${unsteady//$'\n'/ }" |
      tee -a "$dir/unsteady.log"
  fi
fi

# Disabled ones are what tests start as processes of their own (RedoCrashProcess.Child).
skipped=$(grep -E '\*\*\*(Skipped|Not Run)' "$dir/ctest.log" | grep -v '(Disabled)' || true)
if [[ ${CI:-} == true && $skipped ]]; then
  printf '\nCI=true: a skipped test is a failure. Skipped:\n'
  printf '%s\n' "$skipped"
  printf '\nThe summary again:\n'
  sed -n '/tests passed,/,$p' "$dir/ctest.log"
  status=1
fi
exit "$status"
