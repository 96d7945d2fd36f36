// Shows the verifies of a mount: progress while they run, then what they found.
import {el, setText, show, syncViews} from './dom.js';
import {perform} from './controls.js';
import {bytes, count, duration, number} from './words.js';

// Opening an object takes about as long as reading so much.
const kBytesOfAnObject = 65536;

function workOf(objects = 0, size = 0) {
  return objects * kBytesOfAnObject + size;
}

function shareOf(verify) {
  const total = workOf(verify.total_objects, verify.total_bytes);
  return total > 0 ? Math.min(1, workOf(verify.objects, verify.bytes) / total) : 0;
}

function progressText(verify) {
  const share = shareOf(verify);
  const amount = `${count(verify.objects ?? 0, 'object')}, ${bytes(verify.bytes ?? 0)} of content`;
  if (share < 0.005) return amount;
  const done = `${Math.floor(100 * share)} %, ${amount}`;
  if (verify.seconds < 2) return done;
  return `${done}, about ${duration(verify.seconds * (1 - share) / share)} left`;
}

// Returns [symbol and words, kind].
function verdictOf(verify) {
  const amount = `${count(verify.objects ?? 0, 'object')}, ${bytes(verify.bytes ?? 0)} of content compared`;
  const differences = (verify.difference_count ?? 0) + (verify.more_differences ?? 0);
  const repaired = (verify.differences ?? []).filter((one) => one.repaired).length;
  if (verify.stopped) return ['‖ stopped before its end', 'rest'];
  if (verify.failure) return [`✕ could not run to the end: ${verify.failure}`, 'bad'];
  if (differences > repaired) {
    const more = verify.repair ? '' : '. Verify with repair sends them again';
    return [`✕ ${count(differences, 'difference')} (${amount})${more}`, 'bad'];
  }
  if (repaired > 0) return [`✓ ${count(repaired, 'difference')} found and repaired (${amount})`, 'good'];
  if (verify.unjudged?.length) {
    return [`! ${count(verify.unjudged.length, 'file')} changed during each comparison (${amount})`, 'warn'];
  }
  return [`✓ identical (${amount})`, 'good'];
}

class VerifyView {
  constructor(mountId, job) {
    this.title = el('h4');
    this.bar = el('progress', {max: 1});
    this.text = el('p');
    this.list = el('ul', {class: 'differences'});
    this.more = el('details', {}, el('summary', {}, 'What differs'), this.list);
    this.button = el('button', {type: 'button',
      onclick: () => perform(this.button, mountId, 'verify-stop', {job})}, 'Stop');
    this.node = el('li', {class: 'verify'}, this.title, this.bar, this.text, this.more, this.button);
    this.shown = -1;
  }

  update(verify) {
    const how = `${verify.full ? 'all content' : 'names and attributes'}${verify.repair ? ', with repair' : ''}`;
    setText(this.title, `Verify of ${verify.replica} (${how})`);
    this.bar.setAttribute('aria-label', `Verify of ${verify.replica}`);
    show(this.bar, !verify.finished);
    if (shareOf(verify) > 0) this.bar.value = shareOf(verify);
    const [verdict, kind] = verify.finished ? verdictOf(verify) : [progressText(verify), 'busy'];
    setText(this.text, verdict);
    this.node.dataset.kind = kind;
    setText(this.button, verify.finished ? 'Dismiss' : 'Stop');
    this.showDifferences(verify);
  }

  showDifferences(verify) {
    const found = verify.differences ?? [];
    show(this.more, found.length > 0);
    if (this.shown === `${found.length} ${verify.finished}`) return;
    this.shown = `${found.length} ${verify.finished}`;
    this.list.replaceChildren(...found.map((one) => el('li', {},
        `${one.kind}: ${one.path}: ${one.what}${one.repaired ? ' (repaired)' : ''}`)));
    const more = (verify.difference_count ?? 0) - found.length;
    if (more > 0) this.list.append(el('li', {}, `and ${number(more)} more: tandem verify lists them all`));
  }
}

export class VerifyList {
  constructor(mountId) {
    this.views = new Map();
    this.mountId = mountId;
    this.node = el('ul', {class: 'verifies', 'aria-label': 'Verifies'});
  }

  update(verifies) {
    show(this.node, verifies.length > 0);
    syncViews(this.node, this.views, verifies, (verify) => String(verify.job),
        (verify) => new VerifyView(this.mountId, verify.job));
  }
}
