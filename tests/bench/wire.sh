#!/usr/bin/env bash
# What a change costs on the wire: bytes over the interface, both ways and with the network's own
# headers, of tandemfs and of rsync -aH --no-whole-file after the same change. Most of the changes
# are how programs write files anew.
# usage: tests/bench/wire.sh [--far] [ROW...]   (needs scripts/setup.sh --with-tests to have been run, root, rsync, sqlite3 and zip; takes about ten minutes)
# --far: instead of bytes, the seconds until the replica has applied it, and those of rsync, on a
# link of 10 Mbit/s each way on which each byte takes 25 ms (a round trip of 50 ms).
set -euo pipefail
# In a network namespace of its own, so that nothing else counts.
if [[ ${TANDEM_BENCH_NETWORK:-} != own ]]; then
  exec env TANDEM_BENCH_NETWORK=own unshare --net "$0" "$@"
fi
ip link set lo up
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
far=no
if [[ ${1:-} == --far ]]; then
  far=yes
  shift
fi
rows=("$@")

# (/sys shows the interfaces of the namespace in which it was mounted.)
wire() { awk '$1 == "lo:" { print $2 }' /proc/self/net/dev; }
# quiet: nothing has come over the interface for a second.
quiet() {
  local before=-1 now
  now=$(wire)
  while ((now != before)); do
    before=$now
    sleep 1
    now=$(wire)
  done
}

mkdir "$scratch/work"
rsync_daemon 7999 "$scratch/rsynced"
replica 1
rsync_port=7999
links=()
if [[ $far == yes ]]; then
  rsync_port=7998
  background "$bin/tests/slow_link" "$(port_of 9)" "$(port_of 1)" 1221 25
  links+=("$!")
  background "$bin/tests/slow_link" "$rsync_port" 7999 1221 25
  links+=("$!")
  sleep 0.5
  kill -USR1 "${links[@]}" # fast until it is measured
  mounted --replica "far=$(url_of 9)"
else
  mounted --replica "$(url_of 1)"
fi
rsync_all() { rsync -aH --no-whole-file --delete "$mount/" "rsync://127.0.0.1:$rsync_port/tree/"; }

now() { date +%s%N; }
# far_away WHAT CHANGE: compares how long it takes.
far_away() {
  local begun ours theirs
  kill -USR2 "${links[@]}"
  (cd "$mount" && "$2")
  begun=$(now)
  synced 600
  ours=$(seconds_between "$begun" "$(now)")
  begun=$(now)
  rsync_all
  theirs=$(seconds_between "$begun" "$(now)")
  kill -USR1 "${links[@]}"
  row "$1" "$ours s : $theirs s" "< rsync"
}

# compare WHAT PREPARE CHANGE: both are functions; they work in $mount.
compare() {
  local what=$1 before ours theirs
  if ((${#rows[@]})) && [[ ! " ${rows[*]} " == *" $3 "* ]]; then return; fi
  (cd "$mount" && "$2")
  synced 600
  rsync_all
  sleep 3 # the replica notes at leisure what it has
  quiet
  if [[ $far == yes ]]; then
    far_away "$what" "$3"
  else
    before=$(wire)
    (cd "$mount" && "$3")
    synced 600
    quiet
    ours=$(($(wire) - before))
    before=$(wire)
    rsync_all
    theirs=$(($(wire) - before))
    row "$what" "$ours : $theirs" "< rsync"
  fi
  (cd "$mount" && find . -mindepth 1 -delete)
  synced 600
  rsync_all
}

work=$scratch/work
# replaced FILE AT: the file with ten bytes at this place replaced, in $work.
replaced() {
  cp "$1" "$work/new"
  printf 0123456789 | dd of="$work/new" bs=1 seek="$2" conv=notrunc status=none
}
inserted() { # FILE AT: likewise, with ten bytes more
  head -c "$2" "$1" >"$work/new"
  printf 0123456789 >>"$work/new"
  tail -c "+$(($2 + 1))" "$1" >>"$work/new"
}

# ---- Changes -----------------------------------------------------------------------------------

a_file() { incompressible 100 file; }
a_large_file() { incompressible 1024 file; }
renamed_over() {
  inserted file 50000000
  cp "$work/new" .file.new
  mv .file.new file
}
rewritten() {
  replaced file 50000000
  cat "$work/new" >file
}
moved_aside() {
  replaced file 50000000
  mv file file~
  cp "$work/new" file
}
copied() { cp file copy; }
overwritten() { dd if=/dev/urandom of=file bs=4096 count=1 seek=1000 conv=notrunc status=none; }
edited_by_sed() { sed -i '1s/^/x/' file; }
appended() { head -c 10000 /dev/urandom >>file; }
log_rotated() {
  cp file file.1
  : >file
  head -c 10000 /dev/urandom >>file
}
a_database() {
  sqlite3 database "CREATE TABLE t(i INTEGER PRIMARY KEY, x BLOB);
    WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000)
    INSERT INTO t SELECT i, randomblob(2000) FROM c; DELETE FROM t WHERE i % 10 = 0;" >/dev/null
}
vacuumed() { sqlite3 database VACUUM; }
front_edited() {
  { printf 'From somebody\n\n%s\n' "$(head -c 3000 /dev/urandom | base64)"; cat file; } >"$work/new"
  cat "$work/new" >file
}
a_tarball() {
  cp -r /usr/include/linux "$work/tree"
  tar cf tarball -C "$work" tree
}
tarball_rebuilt() {
  echo "/* changed */" >>"$work/tree/fs.h"
  tar cf tarball -C "$work" tree
  rm -r "$work/tree"
}
a_document() {
  mkdir -p "$work/document/Pictures"
  incompressible 5 "$work/document/Pictures/picture.png"
  seq 200000 >"$work/document/content.xml"
  (cd "$work/document" && zip -qr "$mount/document.odt" .)
}
document_saved() {
  sed -i 's/^77$/seventy-seven/' "$work/document/content.xml"
  (cd "$work/document" && zip -qr "$work/saved.odt" .)
  cp "$work/saved.odt" document.tmp
  mv document.tmp document.odt
  rm -r "$work/document" "$work/saved.odt"
}
tagged_anew() {
  { head -c 200 file; head -c 5000 /dev/urandom; tail -c +5201 file; } >"$work/new"
  cp "$work/new" file.tmp
  mv file.tmp file
}
an_image() {
  truncate -s 1G image
  dd if=/dev/urandom of=image bs=1M count=200 seek=100 conv=notrunc status=none
}
trimmed() { fallocate --punch-hole --offset 150M --length 60M image; }
many_files() {
  mkdir directory
  python3 -c '
for i in range(20000):
    open(f"directory/{i}", "w").write(str(i))'
}
chmodded() { chmod -R g+w directory; }
touched() { find directory -type f -exec touch {} +; }
directory_renamed() { mv directory renamed; }
small_files() { cp -r /usr/include/linux linux; }
package_upgraded() { # as dpkg does: all files written beside, then renamed over; one in ten is new
  python3 -c '
import os, shutil
names = [os.path.join(d, n) for d, _, ns in os.walk("linux") for n in ns]
for number, name in enumerate(names):
    shutil.copy2(name, name + ".dpkg-new")
    if number % 10 == 0:
        open(name + ".dpkg-new", "a").write("/* changed */\n")
for name in names:
    os.rename(name + ".dpkg-new", name)'
}
modules_installed_again() { # as npm does: removed, and made anew with the same content
  rm -r linux
  cp -r /usr/include/linux linux
}
nothing() { :; }

head_of_table
compare "new file renamed over one of 100 MiB, 10 bytes inserted" a_file renamed_over
compare "the same truncated and rewritten, 10 bytes changed" a_file rewritten
compare "moved to NAME~, new NAME written, 10 bytes changed" a_file moved_aside
compare "a copy of 1 GiB (cp)" a_large_file copied
compare "4 KiB in 1 GiB" a_large_file overwritten
compare "sed -i of 100 MiB" a_file edited_by_sed
compare "a log of 100 MiB, 10 kB appended" a_file appended
compare "logrotate with copytruncate, 100 MiB" a_file log_rotated
compare "SQLite VACUUM, 40 MB" a_database vacuumed
compare "an mbox of 100 MiB edited at its front" a_file front_edited
compare "a tarball rebuilt with one file changed" a_tarball tarball_rebuilt
compare "a document (.odt) saved with a word changed" a_document document_saved
compare "a photo tagged anew by rewriting it, 100 MiB" a_file tagged_anew
compare "an image of 1 GiB after fstrim" an_image trimmed
compare "20,000 files chmodded" many_files chmodded
compare "20,000 files touched" many_files touched
compare "a directory of 20,000 files renamed" many_files directory_renamed
compare "/usr/include/linux copied into it" nothing small_files
compare "a package of /usr/include/linux upgraded by dpkg" small_files package_upgraded
compare "/usr/include/linux removed and installed again" small_files modules_installed_again
"$bin/tandem" verify --full "$mount" >>"$scratch/log"
unmounted
