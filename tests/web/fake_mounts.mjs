// Control sockets that answer as tandemfs does (tools/control.h), for any number of mounts.
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const kNow = () => Date.now() / 1000;

export function replica(name, changes = {}) {
  return {
    name,
    url: `tls://${name}.example:7447`,
    state: 'current',
    durable_cut: 4711,
    applied_cut: 4711,
    pending: {bytes: 0, ranges: 0, entries: 0, objects: 0},
    lag_seconds: 0,
    sent_bytes: 5 * 2 ** 30,
    received_bytes: 1 << 20,
    rate_bytes: 0,
    worst_lag_hour: 1.7,
    bwlimit: '',
    error: '',
    ...changes,
  };
}

export function mount(name, replicas, changes = {}) {
  return {
    volume: name,
    source: `/srv/${name}`,
    mountpoint: `/srv/${name}`,
    capture: true,
    epoch: 4712,
    hot_objects: 3,
    pending: {bytes: 0, ranges: 0, entries: 0, objects: 0},
    replicas,
    ...changes,
  };
}

function samples(count, every, phase) {
  const end = Math.floor(kNow());
  return Array.from({length: count}, (_, i) => {
    const wave = Math.max(0, Math.sin(i / 17 + phase)) ** 6;
    return [end - (count - 1 - i) * every, 0.01 + 4 * wave, 1e9 + i * every * 3e5 * (1 + wave),
      Math.round(3e7 * wave)];
  });
}

export function history(status) {
  return {replicas: status.replicas.map((one, i) => ({
    name: one.name,
    every_ms_hour: 10000,
    hour: samples(360, 10, i),
    day: samples(288, 300, i),
  }))};
}

function answerOf(fake, request) {
  const {op} = request;
  fake.asked.push(request);
  if (fake.answers[op]) return fake.answers[op](request, fake);
  if (op === 'status') return fake.status;
  if (op === 'history') return history(fake.status);
  if (op === 'held') return {device: '0:0', mountpoint: '2f', with_times: false, files: []};
  if (op === 'pause' || op === 'resume') {
    for (const one of fake.status.replicas) {
      if (request.replica !== undefined && request.replica !== one.name) continue;
      one.state = op === 'pause' ? 'paused' : 'current';
      delete one.paused_until;
      if (request.for_ms) one.paused_until = Math.round(kNow() + request.for_ms / 1000);
    }
    return {ok: true};
  }
  if (op === 'newest') return {epoch: 1};
  if (['set', 'sync', 'replica-remove', 'replica-rename', 'replica-add'].includes(op)) return {ok: true};
  return {error: `no such operation: ${op}`};
}

function serve(fake, connection) {
  let got = Buffer.alloc(0);
  connection.on('error', () => {});
  connection.on('data', (data) => {
    got = Buffer.concat([got, data]);
    if (got.length < 4 || got.length < 4 + got.readUInt32LE(0)) return;
    const answer = answerOf(fake, JSON.parse(got.subarray(4).toString()));
    if (answer === null) return;  // it hangs
    const bytes = Buffer.from(JSON.stringify(answer));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    connection.end(Buffer.concat([length, bytes]));
  });
}

// Serves a mount for each status. Returns them with `asked`, what was asked of each, and `answers`,
// functions by op that answer in place of the usual ones.
export async function serveFakes(directory, statuses) {
  const fakes = statuses.map((status, i) => ({
    status, answers: {}, asked: [],
    id: i.toString(16).padStart(16, '0'),
  }));
  for (const fake of fakes) {
    fake.socket = path.join(directory, `${fake.id}.sock`);
    fs.writeFileSync(`${fake.socket}.lock`, '');
    fake.server = net.createServer((connection) => serve(fake, connection));
    await new Promise((resolve) => fake.server.listen(fake.socket, resolve));
  }
  // A tandemfs that runs holds its lock.
  const locker = spawn('bash', ['-c',
    'for f; do exec {fd}<"$f" && flock -x $fd || exit; done; echo locked; read -r _', 'bash',
    ...fakes.map((fake) => `${fake.socket}.lock`)], {stdio: ['pipe', 'pipe', 'inherit']});
  await new Promise((resolve) => locker.stdout.once('data', resolve));
  return {
    fakes,
    stop() {
      locker.stdin.end();
      for (const fake of fakes) fake.server.close();
    },
  };
}
