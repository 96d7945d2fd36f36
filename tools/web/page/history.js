// What lag, throughput and pending were: from tandemfs, which keeps a day, or, if it does not know
// of that, what this page has seen since it was opened.
import {historyOf} from './session.js';

const kMostSamples = 3600;
const kSamples = new Map();  // mount id -> Map of replica -> [[unix_s, lag, sent, pending], ...]

export const kMeasures = {
  lag: {label: 'Lag', unit: 'seconds'},
  throughput: {label: 'Throughput', unit: 'bytes a second'},
  pending: {label: 'Pending', unit: 'bytes'},
};

// Remembers a snapshot, and returns for each replica of the mount how many bytes a second are sent.
export function remember(mount, time) {
  const rates = new Map();
  if (!kSamples.has(mount.id)) kSamples.set(mount.id, new Map());
  const ofMount = kSamples.get(mount.id);
  for (const replica of mount.replicas ?? []) {
    if (!ofMount.has(replica.name)) ofMount.set(replica.name, []);
    const samples = ofMount.get(replica.name);
    const now = [time, replica.lag_seconds ?? 0, replica.sent_bytes ?? 0, replica.pending?.bytes ?? 0];
    const before = samples.length > 4 ? samples[samples.length - 5] : samples[0];
    samples.push(now);
    if (samples.length > kMostSamples) samples.shift();
    rates.set(replica.name, replica.rate_bytes ?? rateBetween(before, now) ?? undefined);
  }
  return rates;
}

function rateBetween(before, now) {
  if (!before || now[0] <= before[0] || now[2] < before[2]) return null;
  return (now[2] - before[2]) / (now[0] - before[0]);
}

function measured(samples, measure) {
  const times = samples.map((sample) => sample[0]);
  if (measure === 'lag') return [times, samples.map((sample) => sample[1])];
  if (measure === 'pending') return [times, samples.map((sample) => sample[3])];
  return [times, samples.map((sample, i) => (i === 0 ? null : rateBetween(samples[i - 1], sample)))];
}

// Returns {since, series: [{name, times, values}]}; `since` is set if only this page remembers.
export async function loadHistory(mountId, measure, range) {
  let kept = null;
  try {
    kept = (await historyOf(mountId)).replicas;
  } catch {
    // An older tandemfs, or one that has just ended.
  }
  const series = [];
  let since;
  if (kept) {
    for (const replica of kept) series.push([replica.name, replica[range] ?? []]);
  } else {
    for (const [name, samples] of kSamples.get(mountId) ?? []) {
      series.push([name, samples]);
      since = Math.min(since ?? Infinity, samples[0]?.[0] ?? Infinity);
    }
  }
  return {since, series: series.map(([name, samples]) => {
    const [times, values] = measured(samples, measure);
    return {name, times, values};
  })};
}
