// The page with a real tandemd and real mounts: what is clicked has its effect.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {end, freePort, kBin, openBrowser, openPage, run, scratch, screenshot, start, startWeb,
  until} from './harness.mjs';

const kTandemfs = path.join(kBin, 'tandemfs');
const kTandem = path.join(kBin, 'tandem');
const kSkip = fs.existsSync('/dev/fuse') ? false : 'SKIPPED: there is no /dev/fuse';

let url;
let tls;  // HOST:PORT
let daemon;
let store;
let browser;
let web;
let data;
const mounts = [];

// Mounts a new directory. Returns its places, and its process.
async function mount(volume) {
  const base = scratch(volume);
  const source = path.join(base, 'source');
  const mountpoint = path.join(base, 'mount');
  fs.mkdirSync(source);
  fs.mkdirSync(mountpoint);
  const child = start(kTandemfs, [source, mountpoint, '-f', '--volume', volume,
    '--state', path.join(base, 'state'), '--replica', `backup=${url}`]);
  const made = {source, mountpoint, child};
  mounts.push(made);
  await until(`a mount: ${child.err}`, () => run(kTandem, ['status', mountpoint]).code !== 1);
  return made;
}

function statusOf(mountpoint) {
  const got = run(kTandem, ['status', '--json', mountpoint]);
  return {code: got.code, ...JSON.parse(got.out)};
}

const card = (page, place) => page.locator('article', {hasText: place});

before(async () => {
  if (kSkip) return;
  const port = await freePort();
  url = `tcp://127.0.0.1:${port}`;
  tls = `127.0.0.1:${await freePort()}`;
  store = scratch('store');
  daemon = start(path.join(kBin, 'tandemd'),
      ['--store', store, '--listen', url, '--listen', `tls://${tls}`,
        '--insecure-plaintext']);
  await until(`tandemd: ${daemon.err}`, () => daemon.out.includes('listening'));
  data = await mount('data');
  web = await startWeb();
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await web?.stop();
  for (const made of mounts) await end(made.child);
  await end(daemon);
});

test('a link logs in once only, and another one can be had', {skip: kSkip}, async () => {
  const link = await web.newLink();
  const page = await browser.newPage();
  await page.goto(link);
  await page.waitForURL(`${web.origin}/`);
  await page.locator('#summary', {hasText: '1 mount, 1 replica'}).waitFor();
  const other = await openBrowser();
  const second = await other.newPage();
  await second.goto(link);
  await second.getByRole('alert').getByText('this link has been used').waitFor();
  await second.goto(`${web.origin}/`);
  await second.getByRole('heading', {name: 'Log in'}).waitFor();
  await screenshot(second, 'not-logged-in');
  await second.goto(await web.newLink());
  await second.locator('#summary', {hasText: '1 mount, 1 replica'}).waitFor();
  await second.getByRole('button', {name: 'Log out'}).click();
  await second.getByRole('heading', {name: 'Log in'}).waitFor();
  await other.close();
  await page.close();
});

test('what is written shows without a reload', {skip: kSkip}, async () => {
  const page = await openPage(browser, web);
  const place = card(page, data.mountpoint);
  await place.getByText('✓ in step').first().waitFor();
  const sent = place.locator('.facts div', {hasText: 'Sent'}).locator('dd');
  const before = await sent.textContent();
  fs.writeFileSync(path.join(data.mountpoint, 'file'), Buffer.alloc(3 << 20, Math.random().toString()));
  await until('the page shows what was sent', async () => (await sent.textContent()) !== before);
  await until('it is on the replica', () => fs.existsSync(path.join(store, 'data/tree/file')));
  await place.locator('.u-over').waitFor();
  assert.deepEqual(page.complaints, []);
  await screenshot(page, 'real');
  await page.close();
});

test('a pause clicked is seen by tandem status, and a resume', {skip: kSkip}, async () => {
  const page = await openPage(browser, web);
  const place = card(page, data.mountpoint);
  const replication = place.getByRole('switch', {name: 'Replication'});
  await replication.click();
  await until('tandem status says paused', () => statusOf(data.mountpoint).replicas[0].state === 'paused');
  await place.getByText('‖ paused').first().waitFor();
  fs.writeFileSync(path.join(data.mountpoint, 'later'), 'x');
  await place.getByText(/1 object, 1 name|object/).first().waitFor();
  await replication.click();
  await until('it goes on', () => statusOf(data.mountpoint).replicas[0].state === 'current');
  await until('it is on the replica', () => fs.existsSync(path.join(store, 'data/tree/later')));
  await page.close();
});

test('a sync and a verify are done', {skip: kSkip}, async () => {
  const page = await openPage(browser, web);
  const place = card(page, data.mountpoint);
  fs.writeFileSync(path.join(data.mountpoint, 'synced'), 'x');
  await place.getByRole('button', {name: 'Sync now', exact: true}).click();
  await page.locator('#toast', {hasText: 'In sync'}).waitFor();
  fs.writeFileSync(path.join(store, 'data/tree/file'), 'edited behind tandemd');
  await place.getByRole('button', {name: 'Verify…', exact: true}).click();
  await page.getByLabel('Compare all content').check();
  await page.getByRole('dialog').getByRole('button', {name: 'Verify', exact: true}).click();
  await place.getByText(/^✕ \d+ differences? /).waitFor();
  await place.getByText('What differs').click();
  await screenshot(page, 'verified');
  await place.getByRole('button', {name: 'Verify…', exact: true}).click();
  await page.getByLabel('Repair').check();
  await page.getByLabel('Compare all content').check();
  await page.getByRole('dialog').getByRole('button', {name: 'Verify', exact: true}).click();
  await place.getByText(/^✓ .* found and repaired/).waitFor();
  assert.equal(fs.statSync(path.join(store, 'data/tree/file')).size, 3 << 20);
  await page.close();
});

test('a token file pairs the hosts, and adds a replica', {skip: kSkip}, async () => {
  const page = await openPage(browser, web);
  const place = card(page, data.mountpoint);
  const file = path.join(scratch('token'), 'token');
  const invited = run(path.join(kBin, 'tandemd'), ['invite', 'alice', '--store', store, '--address', tls]);
  assert.equal(invited.code, 0, invited.err);
  fs.writeFileSync(file, invited.out, {mode: 0o600});
  await place.getByRole('button', {name: 'Add a replica…'}).click();
  await page.getByLabel('Token file').setInputFiles(file);
  await page.getByLabel('Name of the replica').fill('alice');
  await page.getByRole('dialog').getByRole('button', {name: 'Add', exact: true}).click();
  const told = page.locator('#toast', {hasText: 'is paired with tls://'});
  await told.waitFor();
  assert.equal(fs.readdirSync(process.env.TANDEM_KEYS).filter((name) => name.endsWith('.json')).length, 1);
  // A tandemfs from before replicas could be added says so.
  if (!(await told.textContent()).includes('no such operation')) {
    await place.getByRole('heading', {name: 'alice'}).waitFor();
    await until('the new replica is in step', () =>
      statusOf(data.mountpoint).replicas.find((one) => one.name === 'alice')?.state === 'current');
  }
  await page.close();
});

test('a blocked replica says why, and what to do', {skip: kSkip}, async () => {
  const page = await openPage(browser, web);
  const other = await mount('data');  // another source of the same volume
  await page.locator('#attention').getByText(/✕ .*replica backup: blocked/).waitFor();
  const place = card(page, other.mountpoint);
  const why = statusOf(other.mountpoint);
  assert.equal(why.code, 3);
  await place.getByText(why.replicas[0].error).first().waitFor();
  await place.getByText('What to do: ').first().waitFor();
  await screenshot(page, 'blocked');
  await end(other.child);
  await page.locator('#attention').waitFor({state: 'hidden'});
  await page.close();
});

test('a dead mount is told of', {skip: kSkip}, async () => {
  const page = await openPage(browser, web);
  const killed = await mount('killed');
  await card(page, killed.mountpoint).waitFor();
  killed.child.kill('SIGKILL');
  await killed.child.ended;
  await card(page, killed.mountpoint).getByText('✕ dead').waitFor();
  await page.locator('#attention').getByText('Start tandemfs on it again').waitFor();
  run('umount', ['-l', killed.mountpoint]);
  await card(page, killed.mountpoint).waitFor({state: 'detached'});
  await page.close();
});

test('the page comes back when tandem web has ended', {skip: kSkip}, async () => {
  const own = await startWeb();
  const page = await openPage(browser, own);
  await own.stop();
  await page.locator('#connection', {hasText: 'trying again'}).waitFor();
  assert.deepEqual(await own.child.ended, {code: 0, signal: null});
  await page.close();
});
