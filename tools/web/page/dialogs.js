// Asks the user for values, in a dialog of the browser's own: it keeps the focus, closes with Escape,
// and gives the focus back.
import {el} from './dom.js';

let made = 0;

function fieldNode(field) {
  made += 1;
  const id = `field-${made}`;
  const common = {id, name: field.name, required: field.required, autocomplete: 'off'};
  let input;
  if (field.type === 'select') {
    input = el('select', common);
    for (const [value, label] of field.options) input.append(el('option', {value}, label));
  } else if (field.type === 'textarea') {
    input = el('textarea', {...common, rows: 4, spellcheck: 'false'});
  } else {
    input = el('input', {...common, type: field.type ?? 'text', min: field.min, max: field.max,
      pattern: field.pattern, spellcheck: 'false'});
  }
  if (field.value !== undefined && field.type !== 'checkbox') input.value = field.value;
  const parts = [el('label', {for: id}, field.label), input];
  if (field.type === 'checkbox') parts.reverse();
  const node = el('div', {class: field.type === 'checkbox' ? 'field check' : 'field'}, ...parts);
  if (field.help) {
    input.setAttribute('aria-describedby', `${id}-help`);
    node.append(el('p', {id: `${id}-help`, class: 'help'}, field.help));
  }
  return {field, input, node};
}

function valueOf({field, input}) {
  if (field.type === 'checkbox') return input.checked;
  if (field.type === 'file') return input.files[0] ?? null;
  return input.value.trim();
}

// Returns the values by name, or null if the user has cancelled.
export function askFor({title, text, fields = [], submit, isDanger = false}) {
  made += 1;
  const titleId = `dialog-${made}`;
  const inputs = fields.map(fieldNode);
  const form = el('form', {method: 'dialog'},
      el('h2', {id: titleId}, title),
      ...(text ? [el('p', {}, text)] : []),
      ...inputs.map((input) => input.node),
      el('div', {class: 'buttons'},
          el('button', {type: 'button', onclick: () => dialog.close('cancel')}, 'Cancel'),
          el('button', {value: 'ok', class: isDanger ? 'danger' : 'primary'}, submit)));
  const dialog = el('dialog', {'aria-labelledby': titleId}, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      const isOk = dialog.returnValue === 'ok';
      const values = Object.fromEntries(inputs.map((one) => [one.field.name, valueOf(one)]));
      dialog.remove();
      resolve(isOk ? values : null);
    });
    dialog.showModal();
  });
}
