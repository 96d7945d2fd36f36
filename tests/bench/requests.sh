#!/usr/bin/env bash
# What the kernel asks the mount for, by operation: requests counted at its tracepoint
# fuse:fuse_request_send (Linux 6.10 or later), as a table for fs/REQUESTS.md. No capture: with it
# the mount is asked for the same.
# usage: tests/bench/requests.sh [MOUNT-OPTION...]   (needs scripts/setup.sh --with-tests, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
tracing=/sys/kernel/tracing
[[ -d $tracing/events ]] || mount -t tracefs tracefs "$tracing"
event=$tracing/events/fuse/fuse_request_send
[[ -e $event/enable ]] || {
  echo "$event: this kernel does not have the tracepoint (Linux 6.10 does)" >&2
  exit 1
}
count=100

stop_tracing() {
  echo 0 >"$event/enable"
  echo >"$tracing/trace"
  finish
}
trap stop_tracing EXIT

mounted --no-capture "$@"
device=$(mountpoint -d "$mount")
minor=${device#*:}

# asked WHAT COUNT COMMAND...: a row: the requests for each of COUNT operations that COMMAND does.
asked() {
  local what=$1 times=$2
  shift 2
  echo >"$tracing/trace"
  echo 1 >"$event/enable"
  "$@" >/dev/null
  # What is not waited for is sent a moment later.
  sleep 0.2
  echo 0 >"$event/enable"
  row "$what" "$(awk -v connection="$minor" -v times="$times" '
    match($0, /connection [0-9]+/) && substr($0, RSTART + 11, RLENGTH - 11) == connection &&
    match($0, /\(FUSE_[A-Z0-9_]+\)/) { ++seen[substr($0, RSTART + 6, RLENGTH - 7)]; ++all }
    END {
      printf "%.2f", all / times
      while (all > 0) {
        most = ""
        for (name in seen) if (most == "" || seen[name] > seen[most]) most = name
        if (most == "" || seen[most] < times / 20) break
        printf "%s %s%s", first++ ? "," : ":", tolower(most),
               seen[most] == times ? "" : sprintf(" %.2f", seen[most] / times)
        delete seen[most]
      }
    }' "$tracing/trace")" ""
}

# each STATEMENTS: runs them (Python, in the mount) in one process for each number n.
each() { python3 -c '
import os, sys
code = compile(sys.argv[1], "operation", "exec")
os.chdir(sys.argv[3])
for n in range(int(sys.argv[2])):
    exec(code)
' "$1" "$count" "$mount"; }

printf '| operation | requests for one | |\n|---|---|---|\n'
mkdir "$mount/d" "$mount/d/e"
cd "$mount"
asked "create, write, close" "$count" each 'f = os.open(f"d/new{n}", os.O_CREAT | os.O_WRONLY); os.write(f, b"x" * 2000); os.close(f)'
asked "open, write, close, one file" "$count" each 'f = os.open("d/new0", os.O_WRONLY); os.write(f, b"x" * 2000); os.close(f)'
asked "open, read, close, one file" "$count" each 'f = os.open("d/new0", os.O_RDONLY); os.read(f, 4096); os.close(f)'
asked "open, read, close, each file" "$count" each 'f = os.open(f"d/new{n}", os.O_RDONLY); os.read(f, 4096); os.close(f)'
asked "the same again" "$count" each 'f = os.open(f"d/new{n}", os.O_RDONLY); os.read(f, 4096); os.close(f)'
asked "stat, one file" "$count" each 'os.stat("d/new1")'
asked "stat, each file" "$count" each 'os.stat(f"d/new{n}")'
asked "stat of a name that is not there, one name" "$count" each 'os.path.exists("d/none")'
asked "stat of names that are not there" "$count" each 'os.path.exists(f"d/none{n}")'
asked "chmod" "$count" each 'os.chmod(f"d/new{n}", 0o640)'
asked "utimensat" "$count" each 'os.utime(f"d/new{n}", (1, 1))'
asked "truncate" "$count" each 'os.truncate(f"d/new{n}", 100)'
asked "setxattr" "$count" each 'os.setxattr(f"d/new{n}", "user.x", b"y")'
asked "getxattr" "$count" each 'os.getxattr(f"d/new{n}", "user.x")'
asked "link" "$count" each 'os.link(f"d/new{n}", f"d/link{n}")'
asked "rename" "$count" each 'os.rename(f"d/link{n}", f"d/e/moved{n}")'
asked "rename over another, both known" "$count" each 'os.rename(f"d/new{n}", f"d/e/moved{n}") if n else None'
asked "symlink" "$count" each 'os.symlink("x", f"d/link{n}")'
asked "readlink, lstat" "$count" each 'os.readlink(f"d/link{n}"); os.lstat(f"d/link{n}")'
asked "mkdir" "$count" each 'os.mkdir(f"d/dir{n}")'
asked "list a directory of 200 names" 1 ls -U d
asked "list it again" 1 ls -U d
asked "list it with attributes" 1 ls -lU d
asked "list 100 directories, each of no name" "$count" find d -mindepth 1 -maxdepth 1 -type d -exec ls -U {} +
asked "rmdir" "$count" each 'os.rmdir(f"d/dir{n}")'
asked "unlink, a name known to the kernel" "$count" each 'os.unlink(f"d/link{n}")'
asked "write to a new file, then rename over another" "$count" each 'f = os.open("d/.tmp", os.O_CREAT | os.O_WRONLY); os.write(f, b"x" * 2000); os.close(f); os.rename("d/.tmp", "d/one")'
cp -r /usr/include/linux "$mount/tree"
files=$(find tree | wc -l)
asked "find -newer, after cp -r, for each object" "$files" find tree -newer /etc/passwd
asked "the same again" "$files" find tree -newer /etc/passwd
echo 2 >/proc/sys/vm/drop_caches
asked "the same with cold caches" "$files" find tree -newer /etc/passwd
asked "chmod -R, for each object" "$files" chmod -R g+w tree
asked "rm -r, for each object" "$files" rm -r tree
if command -v git >/dev/null; then
  cp -r /usr/include/linux "$mount/tree"
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
  git -C tree init -q
  asked "git add, for each object" "$files" git -C tree add .
  git -C tree -c user.name=n -c user.email=e commit -qm first
  asked "git status, for each object" "$files" git -C tree status --porcelain
  asked "git status again" "$files" git -C tree status --porcelain
fi
if command -v sqlite3 >/dev/null; then
  for mode in delete truncate persist wal; do
    sqlite3 "$mode.db" "PRAGMA journal_mode=$mode; CREATE TABLE t(x);" >/dev/null
    { echo "PRAGMA synchronous=FULL;"; for ((i = 0; i < count; ++i)); do echo "INSERT INTO t VALUES(randomblob(100));"; done; } >"$scratch/statements"
    asked "SQLite, journal_mode=$mode, for each commit" "$count" sqlite3 "$mode.db" ".read $scratch/statements"
  done
fi
cd /
unmounted
