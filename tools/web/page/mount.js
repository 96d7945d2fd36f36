// Shows one mount: a line that can be opened, with its replicas, verifies, plots and buttons.
import * as controls from './controls.js';
import {el, setAttribute, setChip, setText, show, showText, syncViews} from './dom.js';
import {Plots} from './plot.js';
import {ReplicaView, switchButton} from './replica.js';
import {VerifyList} from './verifies.js';
import {bytes, duration, nameOf, pending, stateOf, stateOfMount, troublesOf} from './words.js';

function shortLine(mount) {
  if (mount.mount !== 'live') return mount.source ?? '';
  const replicas = mount.replicas ?? [];
  if (replicas.length === 0) return `volume ${mount.volume}`;
  const lag = Math.max(...replicas.map((replica) => replica.lag_seconds ?? 0));
  const size = mount.pending?.bytes ?? 0;
  const names = replicas.map((replica) => replica.name).join(', ');
  return `to ${names} · lag ${duration(lag)} · ${size ? bytes(size) : 'nothing'} pending`;
}

function interval(mount) {
  return mount.interval_ms === undefined ? '' : ` Interval: ${mount.interval_ms} ms.`;
}

// Says of how many replicas the state is, if not of all.
function partOf(mount, state) {
  const replicas = mount.replicas ?? [];
  const amount = replicas.filter((replica) => replica.state === state).length;
  return amount > 0 && amount < replicas.length ? `(${amount} of ${replicas.length})` : '';
}

export class MountView {
  constructor(mount, isOpen) {
    this.id = mount.id;
    this.replicas = new Map();
    this.verifies = new VerifyList(this.id);
    this.plots = new Plots(this.id);
    this.chip = el('span', {class: 'chip'});
    this.line = el('p', {class: 'line'});
    this.facts = el('p', {class: 'where'});
    this.notice = el('p', {class: 'notice'});
    this.trouble = el('p', {class: 'error'});
    this.todo = el('p', {class: 'todo'});
    this.list = el('ul', {class: 'replicas', 'aria-label': 'Replicas'});
    const bodyId = `body-${this.id}`;
    this.body = el('div', {id: bodyId, class: 'body'}, this.facts, this.trouble, this.todo,
        this.notice, this.buttons(), this.verifies.node, this.list, this.plots.node);
    this.opener = el('button', {type: 'button', class: 'opener', 'aria-controls': bodyId,
      onclick: () => this.open(this.body.hidden)});
    this.node = el('article', {class: 'card mount', id: `mount-${this.id}`},
        el('div', {class: 'title'}, el('h2', {}, this.opener), this.chip), this.line, this.body);
    this.open(isOpen);
  }

  buttons() {
    const button = (label, run, extra = '') => {
      const node = el('button', {type: 'button', class: extra}, label);
      node.addEventListener('click', () => run(node, this.id));
      return node;
    };
    this.switch = switchButton('Replication', () => controls.setReplicating(this.switch, this.id));
    const sync = (node, mount) => controls.perform(node, mount, 'sync');
    this.actions = el('div', {class: 'actions main'}, this.switch, button('Sync now', sync),
        button('Verify…', controls.verify), button('Pause for…', controls.pauseFor),
        button('Interval…', controls.setInterval), button('Add a replica…', controls.addReplica));
    return this.actions;
  }

  open(isOpen) {
    show(this.body, isOpen);
    setAttribute(this.opener, 'aria-expanded', String(isOpen));
    this.plots.setVisible(isOpen);
  }

  // `rates` has the bytes a second by name of replica, if known.
  update({mount, rates}) {
    const state = stateOfMount(mount);
    setText(this.opener, nameOf(mount));
    setChip(this.chip, stateOf(state), partOf(mount, state));
    setText(this.line, shortLine(mount));
    const isLive = mount.mount === 'live';
    show(this.actions, isLive && mount.capture !== false);
    show(this.facts, isLive);
    setText(this.facts, `Volume ${mount.volume}, source ${mount.source}. ` +
        `Pending: ${pending(mount.pending)}.${interval(mount)}`);
    const trouble = isLive ? undefined : troublesOf(mount)[0];
    showText(this.trouble, trouble?.error);
    showText(this.todo, trouble?.todo && `What to do: ${trouble.todo}`);
    const below = mount.not_replicated ?? [];
    showText(this.notice, below.length ? `Not replicated, since another filesystem is mounted there: ${below.join(', ')}` : '');
    const replicas = mount.replicas ?? [];
    setAttribute(this.switch, 'aria-checked',
        String(replicas.some((replica) => replica.state !== 'paused')));
    show(this.switch, replicas.length > 0);
    this.list.classList.toggle('single', replicas.length < 2);
    syncViews(this.list, this.replicas, replicas.map((replica) => ({
      replica, rateNow: rates.get(replica.name),
    })), (item) => item.replica.name, (item) => new ReplicaView(this.id, item.replica.name));
    this.verifies.update(mount.verifies ?? []);
    show(this.plots.node, replicas.length > 0);
  }
}
