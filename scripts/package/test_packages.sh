#!/usr/bin/env bash
# Tests the packages: lintian, and their life in a chroot of this machine's own release.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/package/test_packages.sh [OPTION]... [DEB]...
Installs the packages in a chroot, mounts a directory there, and replicates to a tandemd there.
Without a DEB, those that scripts/package/build_packages.sh makes.
  --long     also lintian, units, completions; upgrade with a mount up, remove, purge; and boots the
             chroot, to see the services at work
  --keep     leave the chroot, and say where it is
Needs root, /dev/fuse and mmdebstrap; --long needs lintian, zsh and fish too.
USAGE
}

long=no
keep=no
packages=()
while (($#)); do
  case $1 in
    --long) long=yes ;;
    --keep) keep=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && die "unknown option $1" ;;
    *) packages+=("$(realpath "$1")") ;;
  esac
  shift
done

here=$(realpath "$(dirname "$0")")
needed=(mmdebstrap dpkg-deb unshare)
[[ $long == no ]] || needed+=(lintian zsh fish systemd-analyze)
for tool in "${needed[@]}"; do
  command -v "$tool" >/dev/null || die "$tool is missing: install mmdebstrap; for --long, lintian," \
    "zsh, fish and systemd too"
done
((EUID == 0)) || die "it makes a chroot and mounts in it: run it as root"
[[ -e /dev/fuse ]] || die "there is no /dev/fuse on this machine: load the fuse module first"

if ((${#packages[@]} == 0)); then
  "$here/build_packages.sh"
  packages=("$root"/build-package/packages/*.deb)
fi

scratch=$(mktemp -d /var/tmp/tandemfs-packages.XXXXXX)
chroot=$scratch/chroot
log_to "$scratch/log"
clean_up() {
  local status=$?
  trap - EXIT
  [[ ! ${cgroup:-} ]] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  if [[ $keep == yes ]]; then
    echo "kept: $scratch"
  else
    rm -rf --one-file-system "$scratch"
  fi
  exit "$status"
}
trap clean_up EXIT

ok() { printf 'ok: %s\n' "$*"; }

# ---- Without a chroot ------------------------------------------------------------------------

check_lintian() {
  local found
  found=$(lintian --allow-root --fail-on none "${packages[@]}" 2>&1 | grep -v '^running with root') || true
  [[ ! $found ]] || die "lintian found: $found"
  ok "lintian has nothing to say"
}

# unpacked PACKAGE: the directory of its files.
unpacked() {
  local package
  mkdir -p "$scratch/files"
  for package in "${packages[@]}"; do dpkg-deb -x "$package" "$scratch/files"; done
}

check_units() {
  local units=$scratch/files/usr/lib/systemd/system found
  found=$(systemd-analyze --root="$scratch/files" --man=no verify \
    "$units/tandemd.service" "$units/tandemfs@.service" 2>&1 |
    grep -F tandem | grep -v 'not found\|does not exist\|/bin/kill is not executable') || true
  [[ ! $found ]] || die "systemd-analyze verify: $found"
  systemd-analyze security --offline=true --threshold=20 "$units/tandemd.service" >"$scratch/exposure" ||
    die "tandemd.service is exposed to more than 2.0: $(tail -n 2 "$scratch/exposure")"
  ok "units are sound$(sed -n 's/.*exposure level/, exposure level/p' "$scratch/exposure")"
}

check_manual_pages() {
  local page lines
  for page in "$scratch"/files/usr/share/man/man?/*.gz; do
    [[ $page != */mount.fuse.tandemfs.8.gz ]] || continue
    lines=$(LC_ALL=C.UTF-8 man --warnings -l "$page" 2>"$scratch/complaints" | wc -l)
    [[ ! -s $scratch/complaints ]] || die "$page: $(cat "$scratch/complaints")"
    ((lines > 40)) || die "$page has $lines lines"
  done
  ok "manual pages are not empty, man finds no fault"
}

# What a shell offers for a command line.
bash_offers() {
  # shellcheck disable=SC2016
  bash -c 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); complete -p "$1" >/dev/null
    "_$1"; printf "%s\n" "${COMPREPLY[@]}"' \
    "$scratch/files/usr/share/bash-completion/completions/$1" "$@" 2>/dev/null
}
fish_offers() {
  fish -c "source '$scratch/files/usr/share/fish/vendor_completions.d/$1.fish'; complete -C '$*'" |
    cut -f 1
}

check_completions() {
  local program shell
  for program in tandemfs tandemd tandem; do
    zsh -n "$scratch/files/usr/share/zsh/vendor-completions/_$program"
  done
  for shell in bash fish; do
    "${shell}_offers" tandem ver | grep -qx verify || die "$shell does not complete tandem ver"
    "${shell}_offers" tandem verify --dr | grep -qx -- --drop-caches ||
      die "$shell does not complete tandem verify --dr"
    "${shell}_offers" tandem verify --hash sha | grep -qx sha256 ||
      die "$shell does not complete tandem verify --hash sha"
    "${shell}_offers" tandemd account rev | grep -qx revoke ||
      die "$shell does not complete tandemd account rev"
    "${shell}_offers" tandemfs --vol | grep -qx -- --volume ||
      die "$shell does not complete tandemfs --vol"
  done
  ok "completions"
}

# ---- The chroot ------------------------------------------------------------------------------

# make_chroot: from where this machine itself gets its packages.
make_chroot() {
  local list parts file sources=() options=()
  eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
  for file in "$list" "$parts"/*.list "$parts"/*.sources; do
    [[ ! -s $file ]] || sources+=("$file")
  done
  while read -r file; do options+=(--aptopt="$file"); done < <(
    apt-config dump | grep -iE '^Acquire::[a-z]+::Proxy' || true)
  # shellcheck source=/dev/null
  mmdebstrap --mode=root --variant=apt --format=directory --include=iproute2,mount,procps "${options[@]}" \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$chroot" "${sources[@]}"
  mknod -m 666 "$chroot/dev/fuse" c 10 229
  mkdir "$chroot/packages"
  cp "${packages[@]}" "$here"/in_chroot/*.sh "$chroot/packages/"
}

# Run with the chroot as $0, in a mount namespace of its own: makes it the root there, as that of a
# machine. The command follows.
# shellcheck disable=SC2016
enter='
  mount --make-rprivate /
  mount --bind "$0" "$0"
  mount -t proc proc "$0/proc"
  mount -t sysfs -o ro sysfs "$0/sys"
  mount -t tmpfs -o mode=755 tmpfs "$0/run"
  cd "$0"
  pivot_root . .
  umount -l .
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
  cd /'

# inside [UNSHARE-OPTION...] -- STEP...: runs packages.sh there, with mounts and processes of its own.
inside() {
  local options=()
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  shift
  unshare --mount --pid --ipc --uts --fork --kill-child "${options[@]}" bash -euc "$enter"'
    exec /packages/packages.sh "$@"' "$chroot" "$@" </dev/null
}

# next_version: the same packages again, as those of a later revision.
next_version() {
  local package directory
  mkdir "$chroot/packages/next"
  for package in "${packages[@]}"; do
    directory=$scratch/next
    rm -rf "$directory"
    dpkg-deb -R "$package" "$directory"
    sed -Ei 's/^(Version: .*)/\1+next/; s/(tandem-tools \(= [^)]*)/\1+next/' "$directory/DEBIAN/control"
    dpkg-deb -b "$directory" "$chroot/packages/next/" >>"$log"
  done
}

# boot: with the chroot's systemd as the first process; it runs services.sh and powers off.
boot() {
  local hierarchy status
  hierarchy=$(findmnt -rno TARGET -t cgroup2 | head -n 1)
  if [[ ! $hierarchy ]]; then
    echo "skipped: services (this machine has no cgroup2 to boot with)"
    return
  fi
  cgroup=$hierarchy/tandemfs-packages.$$
  mkdir "$cgroup"
  : >"$chroot/packages/boot.log"
  # shellcheck disable=SC2016
  ENTER=$enter timeout 300 bash -euc 'echo 0 >"$1/cgroup.procs"
    exec unshare --mount --pid --ipc --uts --net --cgroup --fork --kill-child bash -euc "$ENTER
      mount -t cgroup2 cgroup2 /sys/fs/cgroup
      mount --make-rshared /
      exec env -i PATH=\$PATH container=unshare \
        /lib/systemd/systemd --log-target=null --show-status=no" "$0"' "$chroot" "$cgroup" \
    </dev/null >>"$log" 2>&1 || true
  cat "$chroot/packages/boot.log"
  grep -q '^services: done' "$chroot/packages/boot.log" ||
    die "the services did not pass: $(tail -n 30 "$log")"
}

if [[ $long == yes ]]; then
  check_lintian
  unpacked
  check_units
  check_manual_pages
  check_completions
fi
must "Making a chroot" make_chroot
if [[ $long == yes ]]; then
  next_version
  inside -- install_tandemd install_tandemfs
  inside --net -- replicate mount_by_fstab upgrade_under_mount remove_and_purge
  inside -- install_tandemd install_tandemfs install_systemd
  boot
else
  inside -- install_tandemd install_tandemfs
  inside --net -- replicate
fi
echo "test_packages.sh: all is well"
