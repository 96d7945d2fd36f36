#!/bin/bash
# The part of test_packages.sh that runs in its chroot when that is booted: the services at work.
set -euo pipefail
# shellcheck source=scripts/package/in_chroot/shared.sh
source "$(dirname "$0")/shared.sh"

# is_sandboxed UNIT: whether its process has no more than the unit allows.
is_sandboxed() {
  local pid directory
  pid=$(systemctl show -P MainPID "$1")
  journalctl -u "$1" >/packages/step.log 2>&1 || true
  grep -E '^(Cap|NoNew|Seccomp)' "/proc/$pid/status" >>/packages/step.log
  # The unit's filters and the program's own.
  if (($(awk '/^Seccomp_filters:/ { print $2 }' "/proc/$pid/status") < 2)); then
    die "$1 does not filter its system calls"
  fi
  grep -q '^NoNewPrivs:.*1' "/proc/$pid/status" || die "$1 may gain privileges"
  for directory in /usr /etc /srv /var /root; do
    if nsenter -t "$pid" -m touch "$directory/written" 2>/dev/null; then
      die "$1 may write to $directory"
    fi
  done
  nsenter -t "$pid" -m touch /var/lib/tandemd/written || die "$1 may not write to its store"
  rm /var/lib/tandemd/written
  if grep -q 'seccomp' /packages/step.log; then die "$1 cannot install its own filter"; fi
}

daemon_service() {
  local socket=/run/tandemd/tandemd.sock
  systemctl is-enabled tandemd >/dev/null || die "tandemd.service is not enabled"
  systemctl restart tandemd
  await 20 test -S "$socket"
  [[ $(stat -c %G:%a "$socket") == tandemd:660 ]] || die "the socket is not the group's"
  [[ $(stat -c %a /var/lib/tandemd/store) == 700 ]] || die "the store is open to others"
  await 20 test -S /var/lib/tandemd/store/.control.sock
  sleep 1 # it filters its system calls only then
  is_sandboxed tandemd
  ok "tandemd.service listens, sandboxed"
  tandemfs /srv/data /srv/data --replica "ipc://$socket"
  odd_objects
  tandem sync /srv/data --timeout 60
  tandem verify /srv/data --full >/packages/step.log || die "verify found differences"
  same_objects || die "tandemd.service could not give objects their attributes"
  umount /srv/data
  await 20 flock -n /srv/data true
  ok "owners, set-user-ID bits, devices, capabilities and trusted attributes are replicated"
}

has() { [[ $(cat "$1" 2>/dev/null) == "$2" ]]; }

mount_service() {
  printf 'source = "/srv/data"\nmountpoint = "/srv/data"\n' >/etc/tandemfs/data.toml
  systemctl start tandemfs@data
  mountpoint -q /srv/data || die "systemctl start returns before the mount is usable"
  echo service >/srv/data/service
  tandem sync /srv/data --timeout 60
  has /var/lib/tandemd/store/data/tree/service service || die "the replica differs"
  systemctl kill --signal=KILL --kill-who=main tandemfs@data
  await 20 has /srv/data/service service
  mountpoint -q /srv/data || die "after a kill the bare directory shows"
  systemctl stop tandemfs@data
  await 1 flock -n /srv/data true
  [[ $(systemctl show -P Result tandemfs@data) == success ]] || die "tandemfs@data did not end in order"
  ok "tandemfs@data mounts, comes back after a kill and ends in order"
}

configured_store() {
  sed -i 's,^#listen = .*,listen = ["ipc:///run/tandemd/tandemd.sock"\, "tls://127.0.0.1"],
          s,^store = .*,store = "/srv/elsewhere",' /etc/tandemfs/tandemd.toml
  mkdir /srv/elsewhere
  systemctl daemon-reload
  systemctl restart tandemd
  await 20 test -S /srv/elsewhere/.control.sock
  await 20 bash -c ': </dev/tcp/127.0.0.1/7447'
  ok "the configuration file's store and URLs are allowed by the generator"
}

services_after_upgrade_and_removal() {
  local before daemon
  systemctl start tandemfs@data
  await 20 has /srv/data/service service
  before=$(systemctl show -P MainPID tandemfs@data)
  daemon=$(systemctl show -P MainPID tandemd)
  apt install --no-install-recommends ./next/*.deb
  [[ $(systemctl show -P MainPID tandemfs@data) == "$before" ]] || die "the upgrade restarted a mount"
  has /srv/data/service service || die "the upgrade took the mount away"
  await 20 test "$(systemctl show -P MainPID tandemd)" != "$daemon"
  [[ $(systemctl is-active tandemd) == active ]] || die "tandemd is not active after the upgrade"
  apt remove tandemfs tandemd
  ! mountpoint -q /srv/data || die "the removal left the service's mount"
  ! pidof tandemfs tandemd || die "a removal left programs running"
  ok "an upgrade restarts tandemd and no mount, a removal stops both"
}

odd_objects() {
  echo text >/srv/data/owned && chown 1234:1234 /srv/data/owned
  cp /bin/true /srv/data/special && chmod 4755 /srv/data/special
  mknod /srv/data/device c 1 7
  mknod /srv/data/block b 7 3
  mkfifo /srv/data/fifo
  setcap cap_net_raw+ep /srv/data/owned
  setfattr -n trusted.tandem -v yes /srv/data/owned
}

describe() { stat -c "%u:%g %a %F %t:%T" "$1"; }
same_objects() {
  local tree=/var/lib/tandemd/store/data/tree file
  for file in owned special device block fifo; do
    [[ $(describe "$tree/$file") == $(describe "/srv/data/$file") ]] || return 1
  done
  [[ $(getfattr --absolute-names --only-values -n trusted.tandem "$tree/owned") == yes ]] || return 1
  getcap "$tree/owned" | grep -q cap_net_raw
}

ip link set lo up
mkdir -p /srv/data
daemon_service
mount_service
configured_store
services_after_upgrade_and_removal
echo "services: done"
