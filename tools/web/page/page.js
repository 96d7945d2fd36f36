// The page: follows the server's snapshots and keeps everything that is shown up to date.
import {el, say, setText, show, syncViews} from './dom.js';
import {remember} from './history.js';
import {MountView} from './mount.js';
import {logOut, NotLoggedIn, readEvents} from './session.js';
import {count, moment, nameOf, stateOf, stateOfMount, troublesOf} from './words.js';

const kRetryMs = 2000;
const kOpenAtMost = 3;    // if there are no more mounts, all are open at first
const kFilterFrom = 6;

const find = (id) => document.getElementById(id);
const views = new Map();
const attention = new Map();
const kinds = new Map();  // of replicas, as they were last
let newest = null;
let stream = null;

class TroubleView {
  constructor() {
    this.title = el('strong');
    this.error = el('p');
    this.todo = el('p', {class: 'todo'});
    this.button = el('button', {type: 'button', class: 'quiet', onclick: () => this.reveal()}, 'Show');
    this.node = el('li', {}, el('div', {class: 'title'}, this.title, this.button), this.error, this.todo);
  }

  update({mount, trouble}) {
    this.mountId = mount.id;
    setText(this.title, `${trouble.kind === 'bad' ? '✕' : '!'} ${trouble.title}`);
    setText(this.error, trouble.error);
    setText(this.todo, trouble.todo && `What to do: ${trouble.todo}`);
    this.button.setAttribute('aria-label', `Show ${trouble.title}`);
  }

  reveal() {
    find('filter').reset();
    applyFilter();
    const view = views.get(this.mountId);
    view.open(true);
    view.node.scrollIntoView({block: 'start'});
    view.opener.focus();
  }
}

function summaryOf(mounts) {
  const replicas = mounts.flatMap((mount) => mount.replicas ?? []);
  const byWord = new Map();
  const states = [...replicas.map((replica) => replica.state),
    ...mounts.filter((mount) => mount.mount !== 'live').map(stateOfMount)];
  for (const state of states) {
    const {word} = stateOf(state);
    byWord.set(word, (byWord.get(word) ?? 0) + 1);
  }
  const parts = [...byWord].map(([word, amount]) => `${amount} ${word}`).join(', ');
  return `${count(mounts.length, 'mount')}, ${count(replicas.length, 'replica')}${parts ? `: ${parts}` : ''}`;
}

// Working and idle are not told apart: with every write a replica goes from one to the other.
function announce(mount) {
  for (const replica of mount.replicas ?? []) {
    const {kind, word} = stateOf(replica.state);
    const now = kind === 'good' || kind === 'busy' ? 'working' : kind;
    const key = `${mount.id}\n${replica.name}`;
    const before = kinds.get(key);
    kinds.set(key, now);
    if (before !== undefined && before !== now) say(`${nameOf(mount)}, replica ${replica.name}: ${word}`);
  }
}

function applyFilter() {
  const text = find('filter-text').value.trim().toLowerCase();
  const onlyTrouble = find('filter-attention').checked;
  let shown = 0;
  for (const mount of newest?.mounts ?? []) {
    const names = [nameOf(mount), mount.volume, mount.source, ...(mount.replicas ?? []).map((one) => one.name)];
    const isShown = names.join('\n').toLowerCase().includes(text) &&
        (!onlyTrouble || troublesOf(mount).length > 0);
    const view = views.get(mount.id);
    if (view) show(view.node, isShown);
    shown += isShown ? 1 : 0;
  }
  const all = newest?.mounts.length ?? 0;
  setText(find('filter-count'), shown < all ? `${shown} of ${all} shown` : '');
}

function update(snapshot) {
  newest = snapshot;
  snapshot.mounts.sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  const {mounts} = snapshot;
  const time = snapshot.time_ms / 1000;
  setText(find('host'), `on ${snapshot.host}`);
  setText(find('version'), `Version ${snapshot.version}.`);
  setText(find('summary'), snapshot.error ?? summaryOf(mounts));
  setText(find('connection'), `● live, ${moment(time, true)}`);
  const troubles = mounts.flatMap((mount) => troublesOf(mount).map((trouble) => ({mount, trouble})));
  document.title = troubles.length ? `(${troubles.length}) tandemfs on ${snapshot.host}` : `tandemfs on ${snapshot.host}`;
  show(find('attention'), troubles.length > 0);
  syncViews(find('attention-list'), attention, troubles,
      ({mount, trouble}) => `${mount.id}\n${trouble.title}`, () => new TroubleView());
  mounts.forEach(announce);
  syncViews(find('mounts'), views, mounts.map((mount) => ({mount, rates: remember(mount, time)})),
      ({mount}) => mount.id, ({mount}) => new MountView(mount, mounts.length <= kOpenAtMost));
  show(find('empty'), mounts.length === 0 && !snapshot.error);
  show(find('filter'), mounts.length >= kFilterFrom);
  applyFilter();
  setLoggedIn(true);
}

function setLoggedIn(isIn) {
  show(find('login'), !isIn);
  show(find('logout'), isIn);
  show(find('mounts'), isIn);
}

function setDisconnected(text) {
  setText(find('connection'), `○ ${text}`);
}

async function follow() {
  while (!document.hidden) {
    stream = new AbortController();
    try {
      await readEvents(stream.signal, update);
      setDisconnected('the connection has ended, trying again');
    } catch (error) {
      if (error instanceof NotLoggedIn) {
        setLoggedIn(false);
        setText(find('summary'), 'Not logged in');
        setDisconnected('not logged in');
        show(find('attention'), false);
        break;
      }
      if (!document.hidden) setDisconnected('tandem web does not answer, trying again');
    }
    if (document.hidden) break;
    await new Promise((resolve) => setTimeout(resolve, kRetryMs));
  }
  stream = null;
}

// A page that nobody sees asks for nothing.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    stream?.abort();
  } else if (!stream) {
    follow();
  }
});
find('filter').addEventListener('input', applyFilter);
find('filter').addEventListener('submit', (event) => event.preventDefault());
find('logout').addEventListener('click', async () => {
  await logOut().catch(() => {});
  location.reload();
});
show(find('licence'), Boolean(window.uPlot));
follow();
