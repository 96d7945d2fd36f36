// The buttons: what each of them asks, and what it then has done. `mount` and `replica` are names
// and ids, never what a button remembers of a state.
import {askFor} from './dialogs.js';
import {tell} from './dom.js';
import {act} from './session.js';

// Runs an action while its button is busy, and tells how it went.
export async function perform(button, mount, op, values) {
  if (button.getAttribute('aria-busy') === 'true') return false;
  button.setAttribute('aria-busy', 'true');
  try {
    tell(await act(mount, op, values));
    return true;
  } catch (error) {
    tell(error.message, true);
    return false;
  } finally {
    button.removeAttribute('aria-busy');
  }
}

const ofReplica = (replica) => (replica === undefined ? {} : {replica});

export function setReplicating(button, mount, replica) {
  const isOn = button.getAttribute('aria-checked') === 'true';
  return perform(button, mount, isOn ? 'pause' : 'resume', ofReplica(replica));
}

export async function pauseFor(button, mount, replica) {
  const values = await askFor({
    title: `Pause ${replica ?? 'all replicas'}`,
    text: 'Nothing is sent meanwhile. Changes are still captured.',
    fields: [{name: 'for', label: 'For how long', type: 'select', options: [
      ['900000', '15 minutes'], ['3600000', '1 hour'], ['28800000', '8 hours'],
      ['86400000', '1 day'], ['', 'until I resume it']]}],
    submit: 'Pause',
  });
  if (!values) return;
  const time = values.for === '' ? {} : {for_ms: Number(values.for)};
  await perform(button, mount, 'pause', {...ofReplica(replica), ...time});
}

export async function verify(button, mount, replica) {
  const values = await askFor({
    title: `Verify ${replica ?? 'all replicas'}`,
    text: 'Compares names and attributes on both disks, and content where they differ. It goes on beside replication, also when this page is closed.',
    fields: [
      {name: 'full', label: 'Compare all content', type: 'checkbox',
        help: 'Reads every file on both sides.'},
      {name: 'repair', label: 'Repair: send what differs again', type: 'checkbox',
        help: 'The replica follows the source.'},
    ],
    submit: 'Verify',
  });
  if (values) await perform(button, mount, 'verify', {...ofReplica(replica), ...values});
}

export async function setInterval(button, mount) {
  const values = await askFor({
    title: 'Interval between cuts',
    text: 'Changes travel at most once in this time. A longer interval sends less of what is changed again and again.',
    fields: [{name: 'ms', label: 'Milliseconds', type: 'number', min: 0, max: 3600000,
      required: true, value: '5'}],
    submit: 'Set',
  });
  if (values) await perform(button, mount, 'interval', {interval_ms: Number(values.ms)});
}

export async function setBandwidth(button, mount, replica) {
  const values = await askFor({
    title: `Bandwidth to ${replica}`,
    fields: [{name: 'bwlimit', label: 'Bytes a second at most', required: true,
      pattern: '[0-9]+[KMGTkmgt]?', help: 'For example 500K, 2M or 1G. 0 is no limit.'}],
    submit: 'Set',
  });
  if (!values) return;
  await perform(button, mount, 'bandwidth', {replica, bwlimit: values.bwlimit.toUpperCase()});
}

export async function addReplica(button, mount) {
  const values = await askFor({
    title: 'Add a replica',
    text: 'With an invitation, made on the backup host by tandemd invite, or with an address.',
    fields: [
      {name: 'file', label: 'Token file', type: 'file'},
      {name: 'token', label: 'Or the token’s text', type: 'textarea'},
      {name: 'url', label: 'Or an address', help: 'For example ssh://backup.example or ipc:///run/tandemd/tandemd.sock'},
      {name: 'name', label: 'Name of the replica', help: 'Needed with an address; otherwise the host’s name if empty.'},
    ],
    submit: 'Add',
  });
  if (!values) return;
  const token = values.file ? (await values.file.text()).trim() : values.token;
  const name = values.name ? {name: values.name} : {};
  if (!token && !(values.url && values.name)) {
    tell('Choose a token file, or give an address and a name.', true);
    return;
  }
  await perform(button, mount, 'replica-add', {...name, ...(token ? {token} : {url: values.url})});
}

export async function removeReplica(button, mount, replica) {
  const values = await askFor({
    title: `Remove ${replica}?`,
    text: 'Nothing is sent to it any more, and changes are not remembered for it. What it has stays on its host. Added again, it is compared as a whole.',
    submit: 'Remove the replica',
    isDanger: true,
  });
  if (values) await perform(button, mount, 'replica-remove', {name: replica});
}

export async function renameReplica(button, mount, replica) {
  const values = await askFor({
    title: `Rename ${replica}`,
    fields: [{name: 'to', label: 'New name', required: true, value: replica}],
    submit: 'Rename',
  });
  if (values) await perform(button, mount, 'replica-rename', {name: replica, to: values.to});
}

export async function setAddress(button, mount, replica, url) {
  const values = await askFor({
    title: `Address of ${replica}`,
    fields: [{name: 'url', label: 'URL', required: true, value: url,
      help: 'The store must be the same one, moved to this address.'}],
    submit: 'Set',
  });
  if (values) await perform(button, mount, 'replica-set-url', {name: replica, url: values.url});
}
