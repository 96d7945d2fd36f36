// Requests to the server. The browser keeps the token by origin, port included: no other server on
// this host gets it.
const kKey = 'tandem-token';

export class NotLoggedIn extends Error {}

export function keepToken(token) {
  localStorage.setItem(kKey, token);
}

function token() {
  return localStorage.getItem(kKey) ?? '';
}

async function ask(path, options = {}) {
  const headers = {...options.headers, 'X-Tandem-Token': token()};
  const answer = await fetch(path, {...options, headers, cache: 'no-store'});
  if (answer.status === 401) throw new NotLoggedIn('not logged in');
  return answer;
}

async function askJson(path, options) {
  const answer = await ask(path, options);
  const json = await answer.json().catch(() => ({error: `the server answered ${answer.status}`}));
  if (!answer.ok) throw new Error(json.error ?? `the server answered ${answer.status}`);
  return json;
}

function post(path, body) {
  return askJson(path, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(body),
  });
}

// Returns what to tell the user; throws an Error with a sentence.
export async function act(mount, op, values = {}) {
  return (await post('/api/act', {mount, op, ...values})).said;
}

export function historyOf(mount) {
  return askJson(`/api/history?mount=${encodeURIComponent(mount)}`);
}

export async function logOut() {
  await post('/api/logout', {});
  localStorage.removeItem(kKey);
}

// Calls onStatus with each snapshot until `signal` is aborted or the stream ends. EventSource cannot
// send a header.
export async function readEvents(signal, onStatus) {
  const answer = await ask('/api/events', {signal});
  if (!answer.ok) throw new Error((await answer.json()).error);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    text += value;
    const events = text.split('\n\n');
    text = events.pop();
    // If several have come meanwhile, the last one says all.
    const data = events.map((event) => event.match(/^data: (.*)$/m)?.[1]).filter(Boolean).pop();
    if (data) onStatus(JSON.parse(data));
  }
}
