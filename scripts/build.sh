#!/usr/bin/env bash
# Configures and builds tandemfs. Programs land in BUILD/bin. Dependencies: scripts/setup.sh.
set -euo pipefail
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/build.sh [OPTION]... [-- NINJA-ARGUMENT...]
Each kind of build has a tree of its own; options combine (--asan --faults: build-asan-faults).
  (none)           build/           RelWithDebInfo
  --asan           build-asan/      clang, AddressSanitizer and UBSan
  --tsan           build-tsan/      clang, ThreadSanitizer
  --faults         build-faults/    with the fault points of the crash tests
  --clang          build-clang/     clang, warnings and -Wthread-safety as errors
  --tidy           build-tidy/      for clang-tidy: each source alone, no precompiled headers
  --packaged-fuse  build-packaged/  with the distribution's libfuse3
  --werror         warnings as errors (the default where CI=true)
  --dir DIR        build there instead
  --print-dir      only print the directory
TANDEM_MOUNT_TESTS='a|b' builds, of the tests in tests/mount, only a_test.cc and b_test.cc: a third
of a build for the sanitizers is those that never run there.
USAGE
}

suffix=""
dir=""
print_dir=no
sanitize=""
faults=OFF
packaged=OFF
precompile_off=OFF
unity_tests=ON
compiler=g++
build_type=RelWithDebInfo
werror=OFF
[[ ${CI:-} == true ]] && werror=ON

while (($#)); do
  case $1 in
    # By clang, which needs half of g++'s time for it and is the one that knows -Wthread-safety.
    --asan) sanitize=address suffix+=-asan compiler=clang++ ;;
    --tsan) sanitize=thread suffix+=-tsan compiler=clang++ ;;
    --faults) faults=ON suffix+=-faults ;;
    --clang) compiler=clang++ werror=ON suffix+=-clang build_type=Debug ;;
    --tidy) precompile_off=ON unity_tests=OFF suffix+=-tidy ;;
    --packaged-fuse) packaged=ON suffix+=-packaged ;;
    --werror) werror=ON ;;
    --dir) dir=${2:?--dir needs a directory} && shift ;;
    --print-dir) print_dir=yes ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) usage >&2 && die "unknown option $1" ;;
  esac
  shift
done

dir=${dir:-$root/build$suffix}
if [[ $print_dir == yes ]]; then
  echo "$dir"
  exit 0
fi
for tool in cmake ninja "$compiler"; do
  command -v "$tool" >/dev/null || die "$tool is missing: run scripts/setup.sh --with-checks first"
done

# Say what is configured only if it went wrong: otherwise ninja's lines are enough.
log_to "$dir/configure.log"
must "Configuring $dir" cmake -S "$root" -B "$dir" -G Ninja \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE="$build_type" \
  -DTANDEM_SANITIZE="$sanitize" -DTANDEM_FAULT_POINTS="$faults" \
  -DTANDEM_PACKAGED_FUSE="$packaged" -DTANDEM_WERROR="$werror" \
  -DTANDEM_UNITY_TESTS="$unity_tests" \
  -DTANDEM_MOUNT_TESTS="${TANDEM_MOUNT_TESTS:-}" \
  -DCMAKE_DISABLE_PRECOMPILE_HEADERS="$precompile_off"
exec ninja -C "$dir" -j "$jobs" "$@"
