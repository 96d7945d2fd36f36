#!/usr/bin/env bash
# Builds the programs as they are packaged, and the packages. Needs what scripts/setup.sh installs.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/package/build_packages.sh [OPTION]... [-- CMAKE-ARGUMENT...]
  --dir DIR      build there (default: build-package/); the packages are put into DIR/packages
  --as-built     pack what is built in DIR already, however that was configured
  --release N    the packages' revision (default: 1)
For example: -- -DTANDEM_PACKAGE_MAINTAINER='Jo Doe <jo@doe.example>'
USAGE
}

dir=$root/build-package
release=1
as_built=no
while (($#)); do
  case $1 in
    --dir) dir=${2:?--dir needs a directory} && shift ;;
    --as-built) as_built=yes ;;
    --release) release=${2:?--release needs a number} && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) usage >&2 && die "unknown option $1" ;;
  esac
  shift
done
for tool in cmake ninja cpack dpkg-shlibdeps help2man man; do
  command -v "$tool" >/dev/null || die "$tool is missing: install ninja-build, cmake, dpkg-dev," \
    "help2man and man-db, and run scripts/setup.sh --deps-only"
done

# Debian's compiler flags (hardening). It is their -ffile-prefix-map that wants the directory.
cd "$root"
export DEB_BUILD_MAINT_OPTIONS=hardening=+all
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
log_to "$dir/package.log"
if [[ $as_built == no ]]; then
  must "Configuring $dir" cmake -S "$root" -B "$dir" -G Ninja -DCMAKE_CXX_COMPILER=g++ \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_CXX_FLAGS="$(dpkg-buildflags --get CXXFLAGS) $(dpkg-buildflags --get CPPFLAGS)" \
    -DCMAKE_EXE_LINKER_FLAGS="$(dpkg-buildflags --get LDFLAGS)" \
    -DTANDEM_PACKAGE_RELEASE="$release" "$@"
fi
must "Building the programs" ninja -C "$dir" -j "$jobs" tandem_programs
must "Making manual pages and completions" ninja -C "$dir" tandem_package_files
rm -rf "$dir/packages"
must "Packing" cpack --config "$dir/CPackConfig.cmake" -B "$dir/packages"
rm -rf "$dir/packages/_CPack_Packages"
ls "$dir"/packages/*.deb
