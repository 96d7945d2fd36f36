#!/bin/bash
# packages.sh STEP...: the steps of test_packages.sh that run in its chroot, without systemd.
set -euo pipefail
# shellcheck source=scripts/package/in_chroot/shared.sh
source "$(dirname "$0")/shared.sh"

start_replica() {
  ip link set lo up
  tandemd --store /srv/store --listen tcp://127.0.0.1:7447 --insecure-plaintext \
    >/packages/tandemd.log 2>&1 &
  await 20 grep -q listening /packages/tandemd.log
}

# replicated NAME: whether the replica has that file.
replicated() { cmp -s "/srv/data/$1" "/srv/store/data/tree/$1"; }

install_tandemd() {
  apt update
  apt autoremove --purge # what an earlier step has left
  apt install --no-install-recommends ./tandemd_*.deb ./tandem-tools_*.deb
  [[ $(dpkg-query -W -f '${db:Status-Status}\n' fuse3 libfuse3-3 2>/dev/null | grep -c '^installed') == 0 ]] ||
    die "tandemd has brought FUSE"
  ok "tandemd $(tandemd --version) is installed, without FUSE"
  getent group tandemd >/dev/null || die "there is no group tandemd"
  [[ -d /run/tandemd ]] || die "/run/tandemd is missing"
}

install_tandemfs() {
  apt install --no-install-recommends ./tandemfs_*.deb
  [[ $(stat -c %a /run/tandemfs) == 700 ]] || die "/run/tandemfs is missing, or open"
  ok "tandemfs $(tandemfs --version) and tandem $(tandem --version) are installed"
}

replicate() {
  mkdir -p /srv/data
  echo before >/srv/data/before
  start_replica
  tandemfs /srv/data /srv/data --replica tcp://127.0.0.1:7447
  echo text >/srv/data/file
  tandem sync /srv/data --timeout 60
  replicated before || die "the replica lacks what was there before"
  replicated file || die "the replica differs"
  tandem verify /srv/data --full >/packages/step.log || die "verify found differences"
  fusermount3 -u /srv/data 2>/dev/null || umount /srv/data
  await 20 flock -n /srv/data true
  ok "a directory is mounted and replicated"
}

mount_by_fstab() {
  echo '/srv/data /srv/data fuse.tandemfs volume=data,nofail,_netdev,noauto 0 0' >/etc/fstab
  mount /srv/data
  mountpoint -q /srv/data || die "mount /srv/data did not mount it"
  findmnt -rno OPTIONS /srv/data | grep -qE 'nosuid|nodev' && die "mounted by root, it is nosuid"
  echo fstab >/srv/data/fstab
  tandem sync /srv/data --timeout 60
  replicated fstab || die "the replica differs"
  umount /srv/data
  await 20 flock -n /srv/data true
  ok "a line of fstab mounts it"
  printf 'source = "/srv/data"\nmountpoint = "/srv/data"\n' >/etc/tandemfs/data.toml
  mount -t fuse.tandemfs data /srv/data
  mountpoint -q /srv/data || die "mount -t fuse.tandemfs VOLUME mounted nothing"
  umount /srv/data
  await 20 flock -n /srv/data true
  ok "mount -t fuse.tandemfs VOLUME MOUNTPOINT"
}

upgrade_under_mount() {
  local before
  tandemfs /srv/data /srv/data
  exec 9</srv/data/file
  before=$(pidof tandemfs)
  echo '# mine' >>/etc/tandemfs/tandemd.toml
  apt install --no-install-recommends ./next/*.deb
  [[ $(dpkg-query -W -f '${Version}' tandemfs) == *+next ]] || die "it was not upgraded"
  said 'goes on with the version'
  [[ $(pidof tandemfs) == "$before" ]] || die "the upgrade ended or restarted tandemfs"
  [[ $(cat <&9) == text ]] || die "an open file cannot be read any more"
  exec 9<&-
  grep -q '^# mine' /etc/tandemfs/tandemd.toml || die "the upgrade changed a configuration file"
  echo upgraded >/srv/data/upgraded
  tandem sync /srv/data --timeout 60
  replicated upgraded || die "the replica differs"
  ok "an upgrade leaves the mount, what is open in it and the configuration alone"
  tandemfs /srv/data /srv/data
  await 30 test "$(pidof tandemfs)" != "$before"
  echo new >/srv/data/new
  tandem sync /srv/data --timeout 60
  replicated new || die "the replica differs"
  ok "the new version takes over from the old one"
}

remove_and_purge() {
  mkdir -p /etc/tandemfs/keys /var/lib/tandemd/store
  touch /etc/tandemfs/keys/backup:7447.json /var/lib/tandemd/store/something
  printf 'source = "/srv/data"\n' >/etc/tandemfs/data.toml
  apt remove tandemfs
  said 'stays mounted'
  echo removed >/srv/data/removed
  tandem sync /srv/data --timeout 60
  replicated removed || die "the replica differs"
  umount /srv/data
  [[ -e /etc/tandemfs/data.toml ]] || die "a removal took the configuration away"
  apt purge tandemfs
  said '^tandemfs: the keys .* are kept' && said 'states .* are kept'
  [[ ! -e /etc/tandemfs/data.toml && ! -e /etc/needrestart/conf.d/tandemfs.conf ]] ||
    die "a purge left configuration"
  [[ -e /etc/tandemfs/keys/backup:7447.json && -d /var/lib/tandemfs/data && -d /srv/store/data/tree ]] ||
    die "a purge took keys, state or a store away"
  apt purge tandemd tandem-tools
  said 'replicas .* are kept'
  [[ ! -e /etc/tandemfs/tandemd.toml ]] || die "a purge left configuration"
  [[ -e /var/lib/tandemd/store/something ]] || die "a purge took a store away"
  rm -rf /etc/tandemfs /var/lib/tandemd
  ok "removal leaves mounts, and purging leaves keys, state and stores"
}

# install_systemd: and has services.sh run when it is booted.
install_systemd() {
  apt install --no-install-recommends systemd-sysv attr libcap2-bin
  cat >/etc/systemd/system/package-test.service <<'UNIT'
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/packages/services.sh
StandardOutput=append:/packages/boot.log
StandardError=append:/packages/boot.log
TimeoutStartSec=2min
UNIT
  mkdir -p /etc/systemd/system/default.target.wants
  ln -sf ../package-test.service /etc/systemd/system/default.target.wants/
  ln -sf /lib/systemd/system/multi-user.target /etc/systemd/system/default.target
}

for step in "$@"; do "$step"; done
