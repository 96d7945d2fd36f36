#!/usr/bin/env bash
# Tests `tandem web` in headless Chromium, with real programs and with control sockets of its own.
# Needs node, npm and Chromium (packages nodejs, npm and chromium), and /dev/fuse for real mounts.
# usage: tests/web/run.sh [NODE-OPTION]...   for example --test-name-pattern=fifty
#   TANDEM_BIN_DIR   where tandem, tandemfs and tandemd are (default: build/bin)
#   TANDEM_WEB       the program to run as `tandem web` (default: TANDEM_BIN_DIR/tandem)
#   TANDEM_WEB_TEST  only this one of the *_test.mjs here: attacks, fake_mounts, real_mounts
#   TANDEM_SHOTS     where to leave screenshots (default: nowhere)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
modules=${TANDEM_WEB_MODULES:-$root/build/deps/web-tests}
chromium=${CHROMIUM:-/usr/bin/chromium}

for needed in node npm "$chromium"; do
  command -v "$needed" >/dev/null || {
    echo "SKIPPED: $needed is missing, and with it all tests of the web page" >&2
    exit "${TANDEM_SKIPPED_EXIT:-0}"
  }
done

version=$(node -p "require('$here/package.json').dependencies['playwright-core']")
if [[ ! -e $modules/node_modules/playwright-core/package.json ]] ||
  [[ $(node -p "require('$modules/node_modules/playwright-core/package.json').version") != "$version" ]]; then
  mkdir -p "$modules"
  npm install --silent --no-audit --no-fund --no-package-lock --no-save --ignore-scripts \
    --prefix "$modules" "playwright-core@$version"
fi

scratch=$(mktemp -d /var/tmp/tandem-web-test.XXXXXX)
trap 'rm -rf --one-file-system "$scratch"' EXIT
export TANDEM_BIN_DIR=${TANDEM_BIN_DIR:-$root/build/bin} CHROMIUM=$chromium
export TANDEM_WEB=${TANDEM_WEB:-$TANDEM_BIN_DIR/tandem}
export TANDEM_WEB_MODULES=$modules TANDEM_SCRATCH=$scratch
# Mounts of its own only: other tests may run, with theirs.
export XDG_RUNTIME_DIR=$scratch/run TANDEM_KEYS=$scratch/keys
mkdir -m 0700 "$XDG_RUNTIME_DIR"

if [[ ${TANDEM_WEB_TEST:-} ]]; then
  files=("$here/${TANDEM_WEB_TEST}_test.mjs")
else
  files=("$here"/*_test.mjs)
fi
test=(node --test --test-concurrency=1 --test-timeout=120000 "$@" "${files[@]}")
if ((EUID != 0)); then
  "${test[@]}"
  exit
fi
# Root's control sockets stand in /run/tandemfs, whatever the environment says.
mkdir -p /run/tandemfs
# shellcheck disable=SC2016
unshare --mount --propagation private bash -c '
  mount -t tmpfs -o mode=0700 tmpfs /run/tandemfs || exit
  awk "\$3 == \"fuse.tandemfs\" { print \$2 }" /proc/mounts | tac | while read -r other; do
    umount -l "$(printf "%b" "$other")"  # of this namespace only
  done
  exec "$@"' bash "${test[@]}"
