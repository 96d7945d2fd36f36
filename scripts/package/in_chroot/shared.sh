# shellcheck shell=bash
# What packages.sh and services.sh share. They run in the chroot that test_packages.sh makes.
set -euo pipefail
cd /packages
export DEBIAN_FRONTEND=noninteractive

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  [[ ! -s /packages/step.log ]] || tail -n 30 /packages/step.log >&2
  exit 1
}
ok() { printf 'ok: %s\n' "$*"; }
apt() { apt-get -q -y "$@" >/packages/step.log 2>&1 || die "apt-get $* failed"; }
said() { grep -q "$1" /packages/step.log || die "expected to be told of: $1"; }

# await SECONDS COMMAND...
await() {
  local left=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    ((left-- > 0)) || die "in vain: $*"
    sleep 0.1
  done
}
