// What others may try: pages of other origins, other users of this host, clients that are no
// browsers.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import {after, before, test} from 'node:test';
import {mount, replica, serveFakes} from './fake_mounts.mjs';
import {openBrowser, openPage, request, scratch, start, startWeb, until} from './harness.mjs';

let served;
let web;
let browser;
let page;
let token;
let cookie;

const actions = () => served.fakes[0].asked.filter((one) => one.op !== 'status' && one.op !== 'history');
const kPause = JSON.stringify({mount: '0000000000000000', op: 'pause'});

function post(headers = {}, body = kPause, path = '/api/act') {
  return request(web.port, {path, method: 'POST', headers: {
    'Host': `127.0.0.1:${web.port}`, 'Content-Type': 'application/json',
    'Cookie': cookie, 'X-Tandem-Token': token, 'Content-Length': Buffer.byteLength(body), ...headers}}, body);
}

before(async () => {
  const directory = scratch('sockets');
  served = await serveFakes(directory, [mount('data', [replica('backup')])]);
  web = await startWeb(directory);
  browser = await openBrowser();
  page = await openPage(browser, web);
  token = await page.evaluate(() => localStorage.getItem('tandem-token'));
  const [kept] = await browser.cookies();
  assert.equal(kept.httpOnly, true);
  assert.equal(kept.sameSite, 'Strict');
  cookie = `${kept.name}=${kept.value}`;
});

after(async () => {
  await browser.close();
  await web.stop();
  served.stop();
});

test('with both secrets a request acts, with one of them it does not', async () => {
  assert.equal((await post({'Cookie': ''})).status, 401);
  assert.equal((await post({'X-Tandem-Token': ''})).status, 401);
  assert.equal((await post({'X-Tandem-Token': 'a'.repeat(64)})).status, 401);
  assert.deepEqual(actions(), []);
  assert.equal((await post()).status, 200);
  assert.equal(actions().length, 1);
  served.fakes[0].asked.length = 0;
});

test('a request for another host is refused', async () => {
  for (const host of ['evil.example', `evil.example:${web.port}`, '127.0.0.1', '127.0.0.1:1', `127.0.0.1.evil.example:${web.port}`]) {
    assert.equal((await post({'Host': host})).status, 421, host);
    assert.equal((await request(web.port, {path: '/', headers: {'Host': host}})).status, 421, host);
  }
  assert.equal((await request(web.port, {path: '/', headers: {'Host': `LOCALHOST:${web.port}`}})).status, 200);
  assert.deepEqual(actions(), []);
});

test('a request of another origin is refused', async () => {
  for (const origin of ['null', 'http://evil.example', `https://127.0.0.1:${web.port}`, 'http://127.0.0.1:1', `http://localhost:${web.port}`]) {
    assert.equal((await post({'Origin': origin})).status, 403, origin);
  }
  assert.equal((await post({'Sec-Fetch-Site': 'same-site'})).status, 403);
  assert.equal((await post({'Sec-Fetch-Site': 'cross-site'})).status, 403);
  assert.deepEqual(actions(), []);
});

test('a page of another port can neither act nor read, even with the token’s header', async () => {
  const seen = [];
  const attacker = http.createServer((asked, answer) => {
    seen.push(asked.headers.cookie ?? '');
    answer.setHeader('Content-Type', 'text/html').end('<!DOCTYPE html><title>other</title>');
  });
  await new Promise((resolve) => attacker.listen(0, '127.0.0.1', resolve));
  const evil = await browser.newPage();
  await evil.goto(`http://127.0.0.1:${attacker.address().port}/`);
  // The browser does send the cookie there, which is why it is not enough.
  assert.ok(seen[0].includes(cookie), seen[0]);
  assert.equal(await evil.evaluate(() => localStorage.getItem('tandem-token')), null);
  const results = await evil.evaluate(async ({origin, body, stolen}) => {
    const attempt = async (path, options) => {
      try {
        const answer = await fetch(origin + path, {credentials: 'include', ...options});
        return answer.type === 'opaque' ? 'opaque' : await answer.text();
      } catch {
        return 'failed';
      }
    };
    const frame = document.createElement('iframe');
    frame.src = `${origin}/`;
    document.body.append(frame);
    const form = Object.assign(document.createElement('form'), {
      action: `${origin}/api/act`, method: 'POST', enctype: 'text/plain', target: 'sink'});
    const sink = Object.assign(document.createElement('iframe'), {name: 'sink'});
    document.body.append(form, sink);
    form.append(Object.assign(document.createElement('input'), {name: body, value: ''}));
    form.submit();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const readable = (one) => { try { return one.contentDocument?.body?.textContent ?? ''; } catch { return ''; } };
    return [
      await attempt('/api/act', {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body}),
      await attempt('/api/act', {method: 'POST', headers: {'Content-Type': 'application/json', 'X-Tandem-Token': stolen}, body}),
      await attempt('/api/events', {}),
      await attempt('/api/events', {mode: 'no-cors'}),
      await attempt('/', {}),
      readable(frame), readable(sink),
    ];
  }, {origin: web.origin, body: kPause, stolen: token});
  assert.deepEqual(results, ['failed', 'failed', 'failed', 'failed', 'failed', '', '']);
  assert.deepEqual(actions(), []);
  await evil.close();
  attacker.close();
});

test('what is sent is limited', async () => {
  const long = JSON.stringify({mount: 'x'.repeat(70000), op: 'pause'});
  assert.equal((await post({}, long)).status, 413);
  assert.equal((await post({'Content-Encoding': 'gzip'})).status, 400);
  assert.equal((await post({'Content-Type': 'text/plain'})).status, 415);
  assert.equal((await post({}, '[]')).status, 400);
  assert.equal((await post({}, JSON.stringify({mount: '../../etc', op: 'pause'}))).status, 400);
  assert.equal((await post({}, JSON.stringify({mount: '0000000000000000', op: 'end'}))).status, 400);
  assert.equal((await request(web.port, {path: '/', method: 'PUT', headers: {'Host': `127.0.0.1:${web.port}`}})).status, 405);
  assert.equal((await request(web.port, {path: '/../etc/passwd', headers: {'Host': `127.0.0.1:${web.port}`}})).status, 404);
  assert.deepEqual(actions(), []);
});

test('a slow client is cut off, and holds up nobody', async () => {
  const began = Date.now();
  const slow = Array.from({length: 30}, () => net.connect(web.port, '127.0.0.1'));
  const drip = setInterval(() => slow.forEach((one) => one.writable && one.write('X')), 300);
  const closed = Promise.all(slow.map((one) => new Promise((resolve) => {
    one.on('error', () => {});
    one.on('close', resolve);
    one.resume();
    one.write('GET / HTTP/1.1\r\nX-A: ');
  })));
  await until('they are in', () => slow.every((one) => !one.connecting));
  assert.equal((await request(web.port, {path: '/', headers: {'Host': `127.0.0.1:${web.port}`}})).status, 200);
  await closed;
  clearInterval(drip);
  assert.ok(Date.now() - began < 15000, `cut off after ${Date.now() - began} ms`);
});

test('answers forbid frames, sniffing, caches and scripts from elsewhere', async () => {
  const {headers} = await request(web.port, {path: '/', headers: {'Host': `127.0.0.1:${web.port}`}});
  assert.match(headers['content-security-policy'], /^default-src 'self';.*frame-ancestors 'none'/);
  assert.equal(headers['x-frame-options'], 'DENY');
  assert.equal(headers['cache-control'], 'no-store');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['access-control-allow-origin'], undefined);
});

test('only loopback addresses can be listened on, and one that is in use is named', async () => {
  const runWeb = async (address) => {
    const child = start(process.env.TANDEM_WEB, ['web', '--listen', address]);
    const {code} = await child.ended;
    return {code, err: child.err};
  };
  const open = await runWeb('0.0.0.0:0');
  assert.equal(open.code, 2);
  assert.match(open.err, /0\.0\.0\.0:0.*not an address of this host alone/);
  const taken = await runWeb(`127.0.0.1:${web.port}`);
  assert.equal(taken.code, 2);
  assert.match(taken.err, new RegExp(`127\\.0\\.0\\.1:${web.port} \\(the address is in use`));
});
