// Making and changing elements. Text from outside goes into text nodes only, never into markup.

// el('p', {class: 'x', hidden: true, onclick: f}, 'text', child)
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) {
      node.addEventListener(name.slice(2), value);
    } else if (value === true) {
      node.setAttribute(name, '');
    } else if (value !== false && value !== undefined) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children);
  return node;
}

// Changes nothing if nothing is different, so that selections and screen readers are left alone.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

// Shows a text, or hides the node if there is none.
export function showText(node, text) {
  show(node, Boolean(text));
  setText(node, text ?? '');
}

// Keeps one view for each item, in the order given: views has update(item) and node.
export function syncViews(parent, views, items, keyOf, make) {
  const wanted = new Set(items.map(keyOf));
  for (const [key, view] of views) {
    if (wanted.has(key)) continue;
    view.node.remove();
    views.delete(key);
  }
  items.forEach((item, index) => {
    const key = keyOf(item);
    if (!views.has(key)) views.set(key, make(item));
    const view = views.get(key);
    if (parent.children[index] !== view.node) {
      parent.insertBefore(view.node, parent.children[index] ?? null);
    }
    view.update(item);
  });
}

export function setChip(chip, {symbol, word, kind}, detail = '') {
  setText(chip, detail ? `${symbol} ${word} ${detail}` : `${symbol} ${word}`);
  setAttribute(chip, 'class', `chip ${kind}`);
}

const toast = document.getElementById('toast');
let toastEnds = 0;

export function tell(text, isError = false) {
  clearTimeout(toastEnds);
  setAttribute(toast, 'role', isError ? 'alert' : 'status');
  setAttribute(toast, 'class', isError ? 'shown error' : 'shown');
  const close = el('button', {type: 'button', class: 'quiet', onclick: hideToast}, 'Close');
  toast.replaceChildren(el('p', {}, `${isError ? '✕ ' : '✓ '}${text}`), close);
  if (!isError) toastEnds = setTimeout(hideToast, 8000);
}

function hideToast() {
  toast.className = '';
  toast.replaceChildren();
}

export function say(text) {
  setText(document.getElementById('say'), text);
}
