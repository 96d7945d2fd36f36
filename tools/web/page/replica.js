// Shows one replica of a mount.
import * as controls from './controls.js';
import {el, setAttribute, setChip, setText, show, showText} from './dom.js';
import {bytes, count, duration, moment, number, pending, rate, stateOf, toDo} from './words.js';

export function switchButton(label, onclick) {
  return el('button', {type: 'button', role: 'switch', class: 'switch', 'aria-checked': 'true', onclick},
      el('span', {class: 'knob', 'aria-hidden': 'true'}), label);
}

class Facts {
  constructor() {
    this.rows = new Map();
    this.node = el('dl', {class: 'facts'});
  }

  set(name, text) {
    if (!this.rows.has(name)) {
      const value = el('dd');
      const row = el('div', {}, el('dt', {}, name), value);
      this.rows.set(name, {row, value});
      this.node.append(row);
    }
    const {row, value} = this.rows.get(name);
    show(row, Boolean(text));
    setText(value, text ?? '');
  }
}

export class ReplicaView {
  constructor(mountId, name) {
    this.mountId = mountId;
    this.name = name;
    this.url = '';
    this.chip = el('span', {class: 'chip'});
    this.address = el('p', {class: 'address'});
    this.error = el('p', {class: 'error'});
    this.todo = el('p', {class: 'todo'});
    this.notice = el('p', {class: 'notice'});
    this.seed = el('p', {class: 'seed'});
    this.facts = new Facts();
    this.node = el('li', {class: 'replica'},
        el('div', {class: 'title'}, el('h3', {}, name), this.chip), this.address, this.error,
        this.todo, this.notice, this.seed, this.facts.node, this.buttons());
  }

  buttons() {
    const button = (label, run) => {
      const node = el('button', {type: 'button'}, label);
      node.addEventListener('click', () => run(node, this.mountId, this.name, this.url));
      node.setAttribute('aria-label', `${label.replace('…', '')}: ${this.name}`);
      return node;
    };
    this.switch = switchButton('Send',
        () => controls.setReplicating(this.switch, this.mountId, this.name));
    this.switch.setAttribute('aria-label', `Send to ${this.name}`);
    const sync = (node, mount, replica) => controls.perform(node, mount, 'sync', {replica});
    return el('div', {class: 'actions'}, this.switch,
        el('details', {class: 'menu'},
            el('summary', {'aria-label': `More for replica ${this.name}`}, 'More'),
            el('div', {class: 'actions'},
                button('Pause for…', controls.pauseFor),
                button('Sync now', sync),
                button('Verify…', controls.verify),
                button('Bandwidth…', controls.setBandwidth),
                button('Rename…', controls.renameReplica),
                button('Address…', controls.setAddress),
                button('Remove…', controls.removeReplica))));
  }

  update({replica, rateNow}) {
    this.url = replica.url ?? '';
    const isPaused = replica.state === 'paused';
    const until = isPaused && replica.paused_until ? `until ${moment(replica.paused_until)}` : '';
    setChip(this.chip, stateOf(replica.state), until);
    setText(this.address, this.url);
    showText(this.error, replica.error);
    const todo = toDo(replica);
    showText(this.todo, todo && `What to do: ${todo}`);
    showText(this.notice, replica.notice);
    showText(this.seed, this.seeding(replica));
    setAttribute(this.switch, 'aria-checked', String(!isPaused));
    this.facts.set('Lag', duration(replica.lag_seconds ?? 0));
    this.facts.set('Worst lag, 1 h',
        replica.worst_lag_hour === undefined ? '' : duration(replica.worst_lag_hour));
    this.facts.set('Pending', pending(replica.pending));
    this.facts.set('Sending now', rateNow === undefined ? '' : rate(rateNow));
    this.facts.set('Limit', replica.bwlimit ?? '');
    this.facts.set('Sent', bytes(replica.sent_bytes ?? 0));
    this.facts.set('Cut', `${number(replica.applied_cut ?? 0)} applied`);
  }

  seeding(replica) {
    const isWorking = ['seeding', 'reconciling', 'catching-up'].includes(replica.state);
    const parts = [];
    if (isWorking && replica.progress) {
      const verb = replica.state === 'reconciling' ? 'compared' : 'copied';
      parts.push(`${count(replica.progress.objects, 'object')} ${verb}, ${bytes(replica.progress.bytes)} of content`);
    }
    if (isWorking && replica.eta_seconds !== undefined) {
      parts.push(`done in about ${duration(replica.eta_seconds)}`);
    }
    return parts.join('; ');
  }
}
