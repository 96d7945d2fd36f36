// How things are said: states, amounts, times. Numbers and dates in the reader's locale.

// kind: good, busy, rest (paused), warn, bad. The symbol stands beside the word, never alone.
const kStates = {
  'current': {symbol: '✓', word: 'in step', kind: 'good'},
  'catching-up': {symbol: '↻', word: 'catching up', kind: 'busy'},
  'seeding': {symbol: '↓', word: 'first copy under way', kind: 'busy'},
  'reconciling': {symbol: '⇄', word: 'comparing', kind: 'busy'},
  'connecting': {symbol: '…', word: 'not connected', kind: 'warn'},
  'paused': {symbol: '‖', word: 'paused', kind: 'rest'},
  'blocked': {symbol: '✕', word: 'blocked', kind: 'bad'},
  'dead': {symbol: '✕', word: 'dead', kind: 'bad'},
  'stuck': {symbol: '✕', word: 'does not answer', kind: 'bad'},
  'failed': {symbol: '✕', word: 'could not be asked', kind: 'bad'},
  'no replica': {symbol: '!', word: 'no replica', kind: 'warn'},
  'no capture': {symbol: '!', word: 'without capture', kind: 'warn'},
};
const kKinds = ['good', 'busy', 'rest', 'warn', 'bad'];  // the worst last

export function stateOf(name) {
  return kStates[name] ?? {symbol: '?', word: name || 'unknown', kind: 'warn'};
}

// Returns the name of the state of a whole mount: that of its worst replica.
export function stateOfMount(mount) {
  if (mount.mount !== 'live') return mount.mount;
  if (mount.capture === false) return 'no capture';
  const states = (mount.replicas ?? []).map((replica) => replica.state);
  if (states.length === 0) return 'no replica';
  const badness = (name) => kKinds.indexOf(stateOf(name).kind);
  return states.reduce((worst, name) => (badness(name) > badness(worst) ? name : worst));
}

const kToDoByState = {
  blocked: 'Remove the cause that is named here, on the replica’s host or at the source. tandemfs tries again by itself; nothing is lost meanwhile.',
  connecting: 'See that tandemd runs on the replica’s host and can be reached from here. tandemfs tries again by itself; nothing is lost meanwhile.',
  dead: 'Its tandemfs was killed, and all access fails. Start tandemfs on it again, or detach it with umount -l.',
  stuck: 'Its tandemfs runs but does not answer. See whether it is stopped or waits for a disk.',
  failed: 'See the log of tandem web and of tandemfs.',
};

// Returns what is wrong with a mount, as {title, error, todo}.
export function troublesOf(mount) {
  const place = nameOf(mount);
  if (mount.mount !== 'live') {
    const title = `${place}: ${stateOf(mount.mount).word}`;
    return [{title, kind: 'bad', error: mount.error ?? '', todo: kToDoByState[mount.mount] ?? ''}];
  }
  const troubles = [];
  for (const replica of mount.replicas ?? []) {
    const {kind, word} = stateOf(replica.state);
    if (kind !== 'bad' && !replica.error) continue;
    troubles.push({
      title: `${place}, replica ${replica.name}: ${word}`,
      kind,
      error: replica.error ?? '',
      todo: toDo(replica),
    });
  }
  return troubles;
}

export function toDo(replica) {
  if (replica.what_to_do) return replica.what_to_do;
  return replica.state === 'blocked' || replica.error ? kToDoByState[replica.state] ?? '' : '';
}

export function nameOf(mount) {
  return mount.mountpoint || mount.volume || mount.socket || 'a mount in another namespace';
}

export function number(value) {
  return new Intl.NumberFormat(undefined, {maximumFractionDigits: 1}).format(value);
}

export function count(amount, word) {
  return `${number(amount)} ${word}${amount === 1 ? '' : 's'}`;
}

export function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? number(Math.round(value)) : number(value)} ${units[unit]}`;
}

export function rate(value) {
  return `${bytes(value)}/s`;
}

export function duration(seconds) {
  if (seconds <= 0) return '0 s';
  if (seconds < 1) return `${number(Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${number(seconds)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${number(seconds / 3600)} h`;
  return `${number(seconds / 86400)} days`;
}

// Of a moment today only the time of day is told.
export function moment(unixSeconds, withSeconds = false) {
  const date = new Date(unixSeconds * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  const options = {timeStyle: withSeconds ? 'medium' : 'short'};
  if (!isToday) options.dateStyle = 'medium';
  return new Intl.DateTimeFormat(undefined, options).format(date);
}

export function pending(counts) {
  if (!counts || !(counts.objects || counts.entries || counts.bytes)) return 'nothing';
  const parts = [count(counts.objects, 'object')];
  if (counts.entries) parts.push(count(counts.entries, 'name'));
  if (counts.bytes) parts.push(bytes(counts.bytes));
  return parts.join(', ');
}
