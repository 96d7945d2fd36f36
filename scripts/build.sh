#!/usr/bin/env bash
# Configures and builds tandemfs. Programs land in BUILD/bin. Dependencies: scripts/setup.sh.
set -euo pipefail
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/build.sh [OPTION]... [-- NINJA-ARGUMENT...]
Each kind of build has a tree of its own; options combine (--asan --faults: build-asan-faults).
  (none)           build/           RelWithDebInfo
  --asan           build-asan/      AddressSanitizer and UBSan
  --tsan           build-tsan/      ThreadSanitizer
  --faults         build-faults/    with the fault points of the crash tests
  --clang          build-clang/     clang, warnings and -Wthread-safety as errors
  --packaged-fuse  build-packaged/  with the distribution's libfuse3
  --werror         warnings as errors (the default where CI=true)
  --dir DIR        build there instead
  --print-dir      only print the directory
USAGE
}

suffix=""
dir=""
print_dir=no
sanitize=""
faults=OFF
packaged=OFF
compiler=g++
build_type=RelWithDebInfo
werror=OFF
[[ ${CI:-} == true ]] && werror=ON

while (($#)); do
  case $1 in
    --asan) sanitize=address suffix+=-asan ;;
    --tsan) sanitize=thread suffix+=-tsan ;;
    --faults) faults=ON suffix+=-faults ;;
    --clang) compiler=clang++ werror=ON suffix+=-clang build_type=Debug ;;
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
  -DTANDEM_PACKAGED_FUSE="$packaged" -DTANDEM_WERROR="$werror"
exec ninja -C "$dir" -j "$jobs" "$@"
