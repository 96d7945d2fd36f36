#!/usr/bin/env bash
# Shows what tandemfs does, on this machine: sets everything up, mounts a directory, works in it, and
# proves that the replica is the same.
set -euo pipefail
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/quickstart.sh [--keep] [DIR]
Without DIR: works in a scratch directory of its own with real files, shows what travels, and cleans
up (--keep: leaves everything running and says where it is).
With DIR: mounts DIR over itself with a replica daemon on this machine, and says how to go on.
USAGE
}

keep=no
directory=""
while (($#)); do
  case $1 in
    --keep) keep=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && die "unknown option $1" ;;
    *) directory=$1 ;;
  esac
  shift
done

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fact() { printf '  %-44s %s\n' "$1" "$2"; }

human() { numfmt --to=iec-i --suffix=B --format=%.1f "$1"; }

# field NAME: a number of the first replica, out of the status JSON.
field() {
  "$bin/tandem" status "$mount" --json | sed -n "s/.*\"$1\":\\([0-9.]*\\).*/\\1/p"
}
state() { "$bin/tandem" status "$mount" --json | sed -n 's/.*"state":"\([a-z-]*\)".*/\1/p'; }

# A port nobody listens on.
free_port() {
  local port
  for port in {7447..7547}; do
    if ! (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  die "ports 7447 to 7547 are all taken"
}

# start_replica STORE: a daemon in the background, and an invitation of account quickstart in
# STORE.token; sets url and replica_pid.
start_replica() {
  local log=$1.log ready address
  : >"$log" # it is read below, perhaps before the daemon's shell has made it
  address=127.0.0.1:$(free_port)
  url=tls://$address
  (umask 077 && "$bin/tandemd" invite quickstart --store "$1" --allow-special \
    --address "$address" >"$1.token" 2>>"$log") || {
    cat "$log" >&2
    die "tandemd did not invite this host"
  }
  setsid "$bin/tandemd" --store "$1" --listen "$url" >"$log" 2>&1 </dev/null &
  replica_pid=$!
  for _ in {1..100}; do
    ready=$(sed -n '/^tandemd: listening/p' "$log")
    [[ -z $ready ]] || return 0
    kill -0 "$replica_pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$log" >&2
  die "tandemd did not start"
}

# work TEXT COMMAND...: runs the command in the mount, waits for the replica, says what it took.
work() {
  local text=$1 before after start synced
  shift
  before=$(field sent_bytes)
  start=$(date +%s%N)
  (cd "$mount" && "$@") >>"$scratch/work.log" 2>&1 || {
    tail -n 20 "$scratch/work.log" >&2
    die "$text failed"
  }
  synced=$(date +%s%N)
  "$bin/tandem" sync "$mount" --timeout 600
  after=$(field sent_bytes)
  printf '  %-44s %6d ms, then %5d ms until applied, %9s sent\n' "$text" \
    $(((synced - start) / 1000000)) $((($(date +%s%N) - synced) / 1000000)) \
    "$(human $((after - before)))"
}

# ---- The pieces of work ----------------------------------------------------------------------

git_init() {
  cd project
  git init -q -b main .
  git config user.name Quickstart
  git config user.email quickstart@example.invalid
  git config gc.auto 0  # it would go on packing in the background, and be counted elsewhere
  git add -A
  git commit -q -m 'All of it'
}

git_branches() {
  cd project
  git checkout -q -b experiment
  local file
  git ls-files -z | head -z -n 500 | while IFS= read -r -d '' file; do
    [[ -L $file || ! -f $file ]] || echo '// touched' >>"$file"
  done
  git rm -q -r --cached --ignore-unmatch linux >/dev/null && rm -rf linux
  git add -A
  git commit -q -m 'Changed and removed files'
  git checkout -q main
  git checkout -q experiment
}

sqlite_writes() {
  sqlite3 ledger.db 'PRAGMA journal_mode=WAL;
    CREATE TABLE ledger(id INTEGER PRIMARY KEY, payload BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000)
      INSERT INTO ledger SELECT i, randomblob(200) FROM n;
    UPDATE ledger SET payload=randomblob(200) WHERE id%7=0;'
}

editor_saves() {
  local i
  for i in {1..20}; do
    { cat notes.txt 2>/dev/null || true; echo "line $i"; } >.notes.txt.swp
    sync .notes.txt.swp
    mv .notes.txt.swp notes.txt
  done
}

make_large_file() { head -c 1G </dev/urandom >large.bin; }
edit_large_file() { head -c 4096 </dev/urandom | dd of=large.bin bs=4096 seek=131072 conv=notrunc; }

# Real files of this machine, until there is enough of them.
fill_source() {
  local from bytes=0
  for from in /usr/include /usr/share/doc /usr/share/locale /usr/lib/python3 /usr/share/perl \
    /usr/lib/gcc /usr/share/zoneinfo; do
    [[ -d $from ]] || continue
    mkdir -p "$source_dir/project"
    cp -a "$from" "$source_dir/project/"
    bytes=$(du -sb "$source_dir" | cut -f1)
    ((bytes < 400000000)) || break
  done
}

# ---- With DIR --------------------------------------------------------------------------------

serve_directory() {
  local name store
  [[ -d $directory ]] || die "$directory is not a directory"
  directory=$(cd "$directory" && pwd -P)
  name=$(basename "$directory")
  store=/var/tmp/tandemfs-quickstart-store
  mkdir -p "$store"
  start_replica "$store"
  mount=$directory
  "$bin/tandemfs" "$directory" "$directory" --volume "$name" --replica "local=@$store.token" || {
    kill "$replica_pid"
    die "tandemfs did not mount $directory"
  }
  disown "$replica_pid"
  cat <<TEXT

$directory is mounted over itself; every change is replicated.
  the replica:      $store/quickstart/$name/tree   (tandemd, process $replica_pid, $url)
  how far it is:    $bin/tandem status $directory
  wait for it:      $bin/tandem sync $directory
  prove it:         $bin/tandem verify $directory --full
  to stop:          fusermount3 -u $directory; kill $replica_pid
TEXT
}

# ---- Without ---------------------------------------------------------------------------------

clean_up() {
  local status=$?
  trap - EXIT
  if [[ $keep == yes && $status == 0 ]]; then
    disown "$replica_pid" 2>/dev/null || true
    say "Left running, as asked"
    fact "the mount" "$mount"
    fact "the replica's tree" "$scratch/store/quickstart/demo/tree"
    fact "to stop" "fusermount3 -u $mount; kill $replica_pid; rm -rf $scratch /etc/tandemfs/keys/${url#tls://}.json"
    exit 0
  fi
  if mountpoint -q "$mount" 2>/dev/null; then
    fusermount3 -u "$mount" 2>/dev/null || umount -l "$mount" || true
    for _ in {1..100}; do
      flock -n "$source_dir" true 2>/dev/null && break
      sleep 0.1
    done
  fi
  [[ -z ${replica_pid:-} ]] || kill "$replica_pid" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf --one-file-system "$scratch"
  [[ -z ${url:-} ]] || rm -f "/etc/tandemfs/keys/${url#tls://}.json" # what this host enrolled with
  exit "$status"
}

demonstrate() {
  scratch=$(mktemp -d /var/tmp/tandemfs-quickstart.XXXXXX)
  source_dir=$scratch/source
  mount=$scratch/mount
  mkdir "$source_dir" "$mount" "$scratch/store"
  trap clean_up EXIT

  say "A directory of real files, from this machine"
  fill_source
  fact "$(find "$source_dir" | wc -l) files and directories" "$(human "$(du -sb "$source_dir" | cut -f1)")"

  say "tandemd on the backup host (here: this machine), tandemfs over the directory"
  start_replica "$scratch/store"
  "$bin/tandemfs" "$source_dir" "$mount" --volume demo --state "$scratch/state" \
    --replica "backup=@$scratch/store.token"
  fact "replica daemon" "$url, by a token of \`tandemd invite\`"
  fact "mounted" "$mount"

  say "The replica is seeded while the directory is in use"
  start=$(date +%s%N)
  (cd "$mount" && mkdir meanwhile && for i in {1..200}; do echo "$i" >"meanwhile/$i"; done)
  while [[ $(state) == seeding || $(state) == connecting ]]; do
    sleep 1
    "$bin/tandem" status "$mount" | sed -n 's/^ *so far/  so far/p'
  done
  "$bin/tandem" sync "$mount" --timeout 900
  fact "seeded in $((($(date +%s%N) - start) / 1000000)) ms" "$(human "$(field sent_bytes)") sent"

  say "Work in it, with real programs"
  work "git init, add, commit" git_init
  work "git: a branch, 500 edits, a removed tree" git_branches
  work "SQLite: 20,000 rows, then an update" sqlite_writes
  work "an editor: 20 times write, sync, rename" editor_saves
  work "a file of 1 GiB" make_large_file
  work "4 KiB changed in the middle of it" edit_large_file
  fact "lag now" "$(field lag_seconds) s"

  say "Is the replica the same?"
  "$bin/tandem" status "$mount"
  "$bin/tandem" verify "$mount" --full
  sqlite3 "$scratch/store/quickstart/demo/tree/ledger.db" 'SELECT "  rows in the replica'"'"'s ledger: "||count(*) FROM ledger;
    SELECT "  its integrity check:        "||integrity_check FROM pragma_integrity_check;'
}

((EUID == 0)) || die "quickstart mounts a filesystem and sets owners: run it as root"
[[ -e /dev/fuse ]] || die "there is no /dev/fuse on this machine: load the fuse module first"
"$root/scripts/setup.sh"
bin=$root/build/bin
if [[ $directory ]]; then
  serve_directory
else
  demonstrate
fi
