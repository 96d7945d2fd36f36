#!/usr/bin/env bash
# Plain TCP, the local socket, TLS and ssh between one source and one replica, in turns: the lag of
# a small write, and how fast large files get there.
# usage: tests/bench/connections.sh [ROUNDS]   (needs scripts/setup.sh --with-tests, and root)
set -euo pipefail
# shellcheck source=tests/bench/common.sh
source "$(dirname "$0")/common.sh"
rounds=${1:-5}
writes=200
mib=256
kinds=(tcp ipc tls ssh)
export TANDEM_KEYS=$scratch/keys
export TANDEM_SSH=$scratch/ssh

sshd_port=7446
socket=$scratch/socket
tls_port=7447

# A private sshd with keys of its own, and an ssh that knows it as "backup".
start_sshd() {
  ssh-keygen -q -t ed25519 -N "" -f "$scratch/host_key"
  ssh-keygen -q -t ed25519 -N "" -f "$scratch/user_key"
  cp "$scratch/user_key.pub" "$scratch/authorized_keys"
  cat >"$scratch/sshd_config" <<SSHD
ListenAddress 127.0.0.1:$sshd_port
HostKey $scratch/host_key
AuthorizedKeysFile $scratch/authorized_keys
PidFile none
StrictModes no
UsePAM no
SetEnv PATH=$bin:/usr/bin:/bin
SSHD
  printf '[127.0.0.1]:%s %s\n' "$sshd_port" "$(cat "$scratch/host_key.pub")" >"$scratch/known_hosts"
  cat >"$scratch/ssh_config" <<SSH
Host backup
  HostName 127.0.0.1
  Port $sshd_port
  User root
  UserKnownHostsFile $scratch/known_hosts
  IdentityFile $scratch/user_key
  IdentitiesOnly yes
SSH
  printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$scratch/ssh_config" >"$TANDEM_SSH"
  chmod 755 "$TANDEM_SSH"
  mkdir -p /run/sshd
  background /usr/sbin/sshd -D -e -f "$scratch/sshd_config"
}

url() {
  case $1 in
    tcp) url_of 1 ;;
    ipc) printf 'ipc://%s' "$socket" ;;
    tls) printf 'tls://127.0.0.1:%s' "$tls_port" ;;
    ssh) printf 'ssh://backup%s' "$socket" ;;
  esac
}

tree() { if [[ $1 == tls ]]; then echo "$(store_of 1)/bench/tls/tree"; else echo "$(store_of 1)/$1/tree"; fi; }

# measured KIND: appends to $scratch/KIND.lag (p50, ms) and $scratch/KIND.rate (MiB/s).
measured() {
  local kind=$1 p50 start
  "$bin/tandemfs" "$source_dir" "$mount" --volume "$kind" --state "$scratch/state-$kind" \
    --replica "backup=$(url "$kind")"
  : >"$mount/lag"
  synced 600
  read -r p50 _ < <("$bin/tests/lag" "$writes" "$mount/lag" "$(tree "$kind")/lag")
  echo "$p50" >>"$scratch/$kind.lag"
  start=$(date +%s%N)
  cp "$scratch/large" "$mount/large"
  synced 600
  awk -v mib="$mib" -v s="$(seconds_between "$start" "$(date +%s%N)")" 'BEGIN { printf "%.1f\n", mib / s }' \
    >>"$scratch/$kind.rate"
  rm "$mount/large"
  synced 600
  unmounted
}

incompressible "$mib" "$scratch/large"
start_sshd
mkdir "$(store_of 1)"
background "$bin/tandemd" --store "$(store_of 1)" --insecure-plaintext --listen "$(url_of 1)" \
  --listen "ipc://$socket" --listen "$(url tls)"
until (: <"/dev/tcp/127.0.0.1/$tls_port") 2>/dev/null; do sleep 0.1; done
until "$bin/tandemd" invite bench --store "$(store_of 1)" --address "127.0.0.1:$tls_port" \
  >"$scratch/token" 2>/dev/null; do sleep 0.1; done
chmod 600 "$scratch/token"
mkdir "$scratch/enrolled"
"$bin/tandemfs" "$scratch/enrolled" "$mount" --volume enrolled --state "$scratch/state-enrolled" \
  --replica "backup=@$scratch/token"
umount "$mount"
flock "$scratch/enrolled" true

for ((round = 1; round <= rounds; ++round)); do
  for kind in "${kinds[@]}"; do measured "$kind"; done
done
head_of_table
for kind in "${kinds[@]}"; do
  row "$kind: lag of a write, p50 of $writes; $mib MiB until applied" \
    "$(median <"$scratch/$kind.lag") ms; $(median <"$scratch/$kind.rate") MiB/s" "-"
done
row "lag of TLS less that of plain TCP" \
  "$(awk -v a="$(median <"$scratch/tls.lag")" -v b="$(median <"$scratch/tcp.lag")" 'BEGIN { printf "%.2f", a - b }') ms" \
  "<= 1 ms"
