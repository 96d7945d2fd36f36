#!/usr/bin/env bash
# Makes a fresh machine ready and builds tandemfs into build/, programs in build/bin/.
# Run it as often as you like: what is there already is not done again.
set -euo pipefail
source "$(dirname "$0")/common.sh"

# tandemfs wants libfuse of this range: 3.17 has tmpfile, 3.18 statx, 3.18.3 tells handlers when a
# write takes setuid bits away. (Its own io_uring is not used: fs/serving/transport.h, which needs
# fuse_session_custom_io.) A distribution that has an older one gets it built
# from the source package of one of these newer suites (the first that has it), found through this
# machine's own apt configuration.
fuse_at_least=3.18.3
fuse_below=4
fuse_suites=(forky sid trixie)

build_packages=(
  build-essential cmake ninja-build pkg-config
  fuse3 libfuse3-dev libcap-ng-dev libnng-dev librsync-dev libseccomp-dev libsqlite3-dev libsystemd-dev
  liburing-dev
  libspdlog-dev libfmt-dev libexpected-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
  prometheus-cpp-dev libcpp-httplib-dev
  flatbuffers-compiler flatbuffers-compiler-dev libflatbuffers-dev
  libzstd-dev libxxhash-dev libb2-dev libssl-dev libgtest-dev libgmock-dev)
# Used by tests and the quickstart: extended attributes, ACLs, loop-mounted filesystems, programs at
# work on the mount, ssh, networks with faults.
test_packages=(acl attr btrfs-progs e2fsprogs xfsprogs git iproute2 nftables openssh-client
  sqlite3 zstd)
# The packages are built and tried in a chroot.
packaging_packages=(help2man man-db mmdebstrap)
# The web page is tested in a real browser.
browser_packages=(chromium fonts-dejavu-core)
# Needed to build libfuse from its source package.
fuse_packages=(dpkg-dev meson)
# PostgreSQL works on the mount in a test. Installing the server must not start one.
database_packages=(postgresql)
# Tests start an sshd of their own. Installing the server must not start one.
sshd_packages=(openssh-server)
# clang's sanitizers are a package of its version: see need_checks.
check_packages=(clang clang-format clang-tidy clang-tools shellcheck)

usage() {
  cat <<'USAGE'
usage: scripts/setup.sh [OPTION]...
  --deps-only           stop before building tandemfs
  --with-tests          also what only tests and benchmarks use: install PostgreSQL and sshd (neither
                        is started), build the tests
  --with-checks         also install what scripts/check.sh uses (clang, clang-tidy, shellcheck)
  --with-browser        also install what tests/web uses (Chromium)
  --with-packaging      also install what scripts/package/ uses (help2man, mmdebstrap)
  --with-fuse-examples  also build libfuse's examples (passthrough_hp, for benchmarks) into
                        build/deps/fuse3/examples
  --packaged-fuse       use the distribution's libfuse3, however old
  --rebuild-fuse        build the newer libfuse again, or try again after a failure
USAGE
}

deps_only=no
with_checks=no
with_tests=no
with_packaging=no
with_browser=no
with_examples=no
packaged_fuse=no
rebuild_fuse=no
while (($#)); do
  case $1 in
    --deps-only) deps_only=yes ;;
    --with-checks) with_checks=yes ;;
    --with-tests) with_tests=yes ;;
    --with-packaging) with_packaging=yes ;;
    --with-browser) with_browser=yes ;;
    --with-fuse-examples) with_examples=yes ;;
    --packaged-fuse) packaged_fuse=yes ;;
    --rebuild-fuse) rebuild_fuse=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown option $1" ;;
  esac
  shift
done

fuse_dir=$root/build/deps/fuse3
fuse_prefix=$fuse_dir/prefix
log_to "$root/build/setup.log"

# ---- Packages --------------------------------------------------------------------------------

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    sudo -- "$@"
  fi
}

apt_install() {
  # confold: what stands in /etc is the administrator's (or need_database's).
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confold install --no-install-recommends "$@"
}

apt_install_updating_once() {
  apt_install "$@" && return
  as_root apt-get -q -o DPkg::Lock::Timeout=300 update && apt_install "$@"
}

# missing_packages PACKAGE...: prints those that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      printf '%s\n' "$package"
  done
}

# need_packages PACKAGE...: installs those that are missing.
need_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if ((EUID != 0)) && ! { command -v sudo && sudo -v; } >/dev/null; then
    die "these packages are missing, and installing them needs root or sudo: ${missing[*]}"
  fi
  must "Installing ${#missing[@]} packages" apt_install_updating_once "${missing[@]}"
}

# need_database: without the cluster that Debian's package makes and starts by itself.
need_database() {
  local configuration=/etc/postgresql-common/createcluster.conf
  [[ $(missing_packages "${database_packages[@]}") ]] || return 0
  if [[ ! -e $configuration ]]; then
    as_root mkdir -p "${configuration%/*}"
    echo 'create_main_cluster = false' | as_root tee "$configuration" >/dev/null
  fi
  need_packages "${database_packages[@]}"
}

# need_sshd: if it was not there before, no sshd is started until the administrator removes the file.
need_sshd() {
  [[ $(missing_packages "${sshd_packages[@]}") ]] || return 0
  as_root mkdir -p /etc/ssh
  echo "made by tandemfs's scripts/setup.sh; remove it to let sshd start" |
    as_root tee /etc/ssh/sshd_not_to_be_run >/dev/null
  need_packages "${sshd_packages[@]}"
}

need_checks() {
  need_packages "${check_packages[@]}"
  local version
  version=$(clang -dumpversion)
  need_packages "libclang-rt-${version%%.*}-dev"
}

# ---- libfuse ---------------------------------------------------------------------------------

version_at_least() { dpkg --compare-versions "$1" ge "$2"; }

# The archive this machine gets its own release from: "URI KEYRING", KEYRING empty if the
# configuration names none (apt then uses its default keys). Reads both forms of sources.
own_archive() {
  local codename uri keyring
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  # $(...) here are apt's own placeholders.
  # shellcheck disable=SC2016
  uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v codename="$codename" '$2 == codename && $3 == "main" { print $1; exit }')
  [[ $uri ]] || return 1
  keyring=$(own_keyring "$uri")
  if [[ ! $keyring && -r /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  fi
  printf '%s %s\n' "$uri" "$keyring"
}

# own_keyring URI: the keyring file apt's sources name for that archive, if any.
own_keyring() {
  local etc list parts
  eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
  # One paragraph a record (deb822); in the classic form one line is one source.
  for etc in "$parts"/*.sources; do
    [[ -r $etc ]] || continue
    awk -v uri="${1%/}" '
      function flush() { if (found && key) { print key; done = 1; exit } found = 0; key = "" }
      /^[[:space:]]*$/ { flush() }
      tolower($1) == "uris:" { for (i = 2; i <= NF; i++) { sub(/\/$/, "", $i); if ($i == uri) found = 1 } }
      tolower($1) == "signed-by:" && $2 ~ /^\// { key = $2 }
      END { if (!done) flush() }' "$etc"
  done
  for etc in "$list" "$parts"/*.list; do
    [[ -r $etc ]] || continue
    awk -v uri="${1%/}" '
      $1 == "deb" && (index($0, " " uri " ") || index($0, " " uri "/ ")) &&
      match($0, /signed-by=\/[^] ,]*/) { print substr($0, RSTART + 10, RLENGTH - 10) }' "$etc"
  done
}

# private_apt COMMAND...: an apt command that sees nothing but $fuse_dir/apt, and trusts nothing
# unsigned whatever the machine's configuration says.
private_apt() {
  local apt=$fuse_dir/apt command=$1
  shift
  "$command" -q \
    -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- \
    -o Dir::State="$apt/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$apt/cache" \
    -o APT::Sandbox::User="$(id -un)" -o APT::Update::Post-Invoke::= \
    -o Acquire::AllowInsecureRepositories=false -o Acquire::AllowWeakRepositories=false \
    -o APT::Get::AllowUnauthenticated=false -o Acquire::Retries=2 "$@"
}

# fetch_fuse_source: leaves the unpacked source in $fuse_dir/source and its version in
# $fuse_dir/source-version.
fetch_fuse_source() {
  local uri keyring suite version
  read -r uri keyring < <(own_archive) || {
    echo "apt's configuration names no archive for this release"
    return 1
  }
  for suite in "${fuse_suites[@]}"; do
    rm -rf "$fuse_dir/apt"
    mkdir -p "$fuse_dir"/apt/{state/lists/partial,cache/archives/partial}
    echo "deb-src ${keyring:+[signed-by=$keyring] }$uri $suite main" >"$fuse_dir/apt/sources.list"
    private_apt apt-get update || continue
    version=$(private_apt apt-cache showsrc --only-source fuse3 | awk '/^Version:/ { print $2 }' |
      while read -r candidate; do
        version_at_least "$candidate" "$fuse_at_least" &&
          dpkg --compare-versions "$candidate" lt "$fuse_below~" && echo "$candidate"
      done | sort -V | tail -n 1) || true
    echo "$suite has fuse3 ${version:-in no version from $fuse_at_least to below $fuse_below}"
    [[ $version ]] && break
  done
  [[ ${version:-} ]] || return 1

  rm -rf "$fuse_dir/download" "$fuse_dir/source"
  mkdir -p "$fuse_dir/download"
  # apt has checked the suite's signature and, by the hashes it covers, these files: hence
  # --no-check, which leaves out only the uploader's own signature (his key is not on this machine).
  (cd "$fuse_dir/download" && private_apt apt-get source --download-only "fuse3=$version") &&
    dpkg-source --no-check --no-copy -x "$fuse_dir/download/"fuse3_*.dsc "$fuse_dir/source" &&
    echo "${version%-*}" >"$fuse_dir/source-version" &&
    rm -rf "$fuse_dir/apt"
}

# build_fuse BUILD-DIR MESON-OPTION...: afresh. No utilities: fusermount3 comes from the package.
build_fuse() {
  local build=$1
  shift
  rm -rf "$build"
  meson setup "$build" "$fuse_dir/source" --prefix "$fuse_prefix" --libdir lib --bindir /usr/bin \
    --buildtype release -Ddefault_library=static -Db_staticpic=true -Dpkgconfig.relocatable=true \
    -Dutils=false -Dtests=false -Duseroot=false -Denable-io-uring=false \
    -Denable-custom-io=true "$@" &&
    ninja -C "$build" -j "$jobs"
}

install_fuse() {
  rm -rf "$fuse_prefix"
  fetch_fuse_source &&
    build_fuse "$fuse_dir/build" -Dexamples=false &&
    ninja -C "$fuse_dir/build" install &&
    pkg-config --atleast-version "$fuse_at_least" "$fuse_prefix/lib/pkgconfig/fuse3.pc" &&
    touch "$fuse_prefix/has-custom-io"
}

# need_fuse: a libfuse in the range, or a notice that there is none.
need_fuse() {
  local packaged
  packaged=$(pkg-config --modversion fuse3)
  if version_at_least "$packaged" "$fuse_at_least"; then
    return
  fi
  if [[ $rebuild_fuse == yes ]]; then
    rm -rf "$fuse_dir"
  fi
  # What an earlier version of this script built lacks custom I/O.
  if [[ ! -e $fuse_prefix/has-custom-io && ! -e $fuse_dir/failed ]]; then
    need_packages "${fuse_packages[@]}"
    mkdir -p "$fuse_dir"
    if ! step "Building libfuse $fuse_at_least or newer" install_fuse; then
      rm -rf "$fuse_prefix"
      cp "$log" "$fuse_dir/failed"
    fi
  fi
  if [[ -e $fuse_dir/failed ]]; then
    echo "Notice: libfuse $fuse_at_least or newer could not be built, going on with the packaged" \
      "$packaged. Why: $fuse_dir/failed. Try again: scripts/setup.sh --rebuild-fuse"
  fi
}

need_fuse_examples() {
  [[ ! -x $fuse_dir/examples/example/passthrough_hp ]] || return 0
  [[ -d $fuse_dir/source ]] || die "--with-fuse-examples needs the libfuse this script builds; it" \
    "was not built here"
  must "Building libfuse's examples" build_fuse "$fuse_dir/examples" -Dexamples=true
}

# ---- uPlot -----------------------------------------------------------------------------------

# Draws the plots of the web page, which shows tables without it.
uplot_version=1.6.32
uplot_dir=$root/build/deps/uplot

fetch_uplot() {
  rm -rf "$uplot_dir"
  mkdir -p "$uplot_dir"
  (cd "$uplot_dir" &&
    npm pack --silent --ignore-scripts --fetch-retries=1 --fetch-timeout=20000 "uplot@$uplot_version" &&
    tar -xmzf "uplot-$uplot_version.tgz" package/dist package/LICENSE package/package.json)
}

# need_uplot: from the npm registry, if there is npm, or a notice.
need_uplot() {
  [[ ! -e $uplot_dir/package/dist/uPlot.iife.min.js ]] || return 0
  if ! command -v npm >/dev/null || ! step "Fetching uPlot" fetch_uplot; then
    rm -rf "$uplot_dir"
    echo "Notice: uPlot could not be had (npm is missing, or the registry out of reach): the web" \
      "page shows tables in place of plots"
  fi
}

# ---- All of it -------------------------------------------------------------------------------

command -v apt-get >/dev/null || die "this script knows only apt. Install the counterparts" \
  "of build_packages (in this file) by hand, then run scripts/build.sh"
need_packages "${build_packages[@]}" "${test_packages[@]}"
[[ $with_tests == no ]] || need_database
[[ $with_tests == no ]] || need_sshd
[[ $with_checks == no ]] || need_checks
[[ $with_packaging == no ]] || need_packages "${packaging_packages[@]}"
[[ $with_browser == no ]] || need_packages "${browser_packages[@]}"
[[ $packaged_fuse == yes ]] || need_fuse
need_uplot
[[ $with_examples == no ]] || need_fuse_examples
[[ $deps_only == no ]] || exit 0

options=(--dir "$root/build")
[[ $packaged_fuse == no ]] || options+=(--packaged-fuse)
[[ $with_tests == yes ]] || options+=(-- tandem_programs)
must "Building tandemfs" "$root/scripts/build.sh" "${options[@]}"
