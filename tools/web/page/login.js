// Turns the key of a login link into a session. Done by a script and not by following the link, so
// that no preview of the link uses it up.
import {keepToken} from './session.js';

const result = document.getElementById('result');

async function logIn() {
  const key = new URLSearchParams(location.search).get('key') ?? '';
  history.replaceState(null, '', '/login');  // no key in the history
  const answer = await fetch('/api/login', {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({key}),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  keepToken(said.token);
  location.replace('/');
}

logIn().catch((error) => {
  result.setAttribute('role', 'alert');
  result.textContent = `Not logged in: ${error.message}`;
});
