// The page with mounts of the tests' own: fifty of them, trouble, plots, dialogs, small screens.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {mount, replica, serveFakes} from './fake_mounts.mjs';
import {openBrowser, openPage, scratch, screenshot, startWeb, until} from './harness.mjs';

const kEvil = '<script>document.title="hacked"</script><img src=x onerror=alert(1)>';

const pending = (bytes, objects) => ({bytes, objects, ranges: objects, entries: 1});

function fewMounts() {
  return [
    mount('data', [
      replica('backup', {state: 'catching-up', lag_seconds: 0.8, rate_bytes: 12 << 20,
        pending: pending(88 << 20, 12)}),
      replica('attic', {state: 'paused', paused_until: Math.round(Date.now() / 1000) + 3000,
        bwlimit: '2M', lag_seconds: 610, pending: pending(300 << 20, 140)}),
    ], {pending: pending(300 << 20, 140), not_replicated: ['/srv/data/scratch']}),
    mount('mail', [replica('backup', {state: 'blocked', lag_seconds: 4000,
      error: 'write stage/17: No space left on device',
      what_to_do: 'Make room on backup.example below /backup, or remove files at the source.'})]),
    mount('media', [replica('backup', {state: 'seeding', eta_seconds: 2500, rate_bytes: 90 << 20,
      progress: {objects: 18230, bytes: 412 * 2 ** 30}, lag_seconds: 900})]),
  ];
}

function fiftyMounts() {
  const all = Array.from({length: 50}, (_, i) =>
    mount(`volume-${String(i).padStart(2, '0')}`, [replica('backup'), replica('attic')]));
  Object.assign(all[7].replicas[0], {state: 'blocked', error: 'the store is of another volume'});
  all[49].volume = kEvil;
  all[49].mountpoint = `/srv/${kEvil}`;
  all[49].replicas[0].name = kEvil;
  return all;
}

let browser;
const stops = [];

async function open(statuses, context = browser) {
  const directory = scratch('sockets');
  const served = await serveFakes(directory, statuses);
  const web = await startWeb(directory);
  const page = await openPage(context, web);
  stops.push(async () => {
    await page.close();
    await web.stop();
    served.stop();
  });
  return {page, web, fakes: served.fakes};
}

before(async () => { browser = await openBrowser(); });
after(async () => {
  for (const stop of stops) await stop();
  await browser.close();
});

test('states are told in words, with what to do', async () => {
  const {page} = await open(fewMounts());
  const mail = page.locator('article', {hasText: '/srv/mail'});
  await mail.getByText('✕ blocked').first().waitFor();
  await mail.getByText('What to do: Make room on backup.example').waitFor();
  await page.locator('#attention').getByText('/srv/mail, replica backup: blocked').waitFor();
  await page.getByText('↓ first copy under way').first().waitFor();
  await page.getByText('done in about 42 min').waitFor();
  await page.getByText(/‖ paused until/).waitFor();
  await page.getByText('2M', {exact: true}).waitFor();
  assert.match(await page.title(), /^\(1\) tandemfs on/);
  assert.equal(await page.locator('#summary').textContent(),
      '3 mounts, 4 replicas: 1 catching up, 1 paused, 1 blocked, 1 first copy under way');
  await page.locator('.u-over').first().waitFor();
  await page.waitForTimeout(300);
  await screenshot(page, 'few-light');
  assert.deepEqual(page.complaints, []);
});

test('plots have a table, and can be switched by keyboard', async () => {
  const {page} = await open(fewMounts().slice(0, 1));
  const plots = page.locator('.plots');
  await plots.locator('.u-over').waitFor();
  await plots.getByText('As a table').click();
  assert.ok(await plots.locator('.as-table tbody tr').count() > 5);
  await plots.getByRole('radio', {name: 'Lag'}).focus();
  await page.keyboard.press('ArrowRight');
  await plots.locator('caption', {hasText: 'Throughput, last hour'}).waitFor();
  await plots.getByRole('radio', {name: 'Last day'}).focus();
  await page.keyboard.press('Space');
  await plots.locator('caption', {hasText: 'Throughput, last day'}).waitFor();
  assert.match(await plots.locator('.as-table tbody').textContent(), /KiB\/s/);
});

test('without uPlot there are tables', async () => {
  const {page} = await open(fewMounts().slice(0, 1));
  await page.route('**/uplot.js', (route) => route.fulfill({contentType: 'text/javascript', body: ''}));
  await page.reload();
  await page.locator('.as-table tbody tr').nth(5).waitFor();
  assert.equal(await page.locator('.uplot').count(), 0);
  await page.locator('#licence').waitFor({state: 'hidden'});
  await screenshot(page, 'table');
});

test('every action asks for what it should', async () => {
  const {page, fakes: [fake]} = await open(fewMounts().slice(0, 1));
  const asked = (op) => until(`${op} is asked`, () => fake.asked.filter((one) => one.op === op).at(-1));
  const fill = async (button, values, submit) => {
    await button.click();
    const dialog = page.getByRole('dialog');
    for (const [label, value] of Object.entries(values)) await dialog.getByLabel(label).fill(value);
    await dialog.getByRole('button', {name: submit, exact: true}).click();
    await dialog.waitFor({state: 'detached'});
  };
  await page.getByRole('switch', {name: 'Send to backup'}).click();
  assert.deepEqual(await asked('pause'), {op: 'pause', replica: 'backup'});
  await page.getByRole('button', {name: 'Pause for…', exact: true}).first().click();
  await page.getByRole('dialog').getByLabel('For how long').selectOption('3600000');
  await screenshot(page, 'dialog');
  await page.getByRole('dialog').getByRole('button', {name: 'Pause', exact: true}).click();
  await until('a pause for an hour', () => fake.asked.some((one) => one.for_ms === 3600000 && one.replica === undefined));
  await fill(page.getByRole('button', {name: 'Interval…'}), {Milliseconds: '250'}, 'Set');
  assert.deepEqual(await asked('set'), {op: 'set', interval_ms: 250});
  await page.getByText('More', {exact: true}).first().click();
  await screenshot(page, 'menu');
  await fill(page.getByRole('button', {name: 'Bandwidth: backup'}), {'Bytes a second at most': '2m'}, 'Set');
  await until('a limit', () => fake.asked.some((one) => one.bwlimit === '2M' && one.replica === 'backup'));
  await fill(page.getByRole('button', {name: 'Rename: backup'}), {'New name': 'cellar'}, 'Rename');
  assert.deepEqual(await asked('replica-rename'), {op: 'replica-rename', name: 'backup', to: 'cellar'});
  await fill(page.getByRole('button', {name: 'Add a replica…'}),
      {'Or an address': 'ssh://b', 'Name of the replica': 'b'}, 'Add');
  assert.deepEqual(await asked('replica-add'), {op: 'replica-add', name: 'b', url: 'ssh://b'});
  await page.getByRole('button', {name: 'Sync now', exact: true}).click();
  await page.locator('#toast', {hasText: 'In sync'}).waitFor();
});

test('a replica is removed only after a question', async () => {
  const {page, fakes: [fake]} = await open(fewMounts().slice(0, 1));
  const removals = () => fake.asked.filter((one) => one.op === 'replica-remove');
  const remove = page.getByRole('button', {name: 'Remove: attic'});
  await page.getByText('More', {exact: true}).nth(1).click();
  await remove.click();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({state: 'detached'});
  assert.equal(await remove.evaluate((node) => node === document.activeElement), true);
  assert.deepEqual(removals(), []);
  await remove.click();
  await page.getByRole('button', {name: 'Remove the replica'}).click();
  await until('it is removed', () => removals().length === 1);
});

test('what tandemfs refuses is shown', async () => {
  const {page, fakes: [fake]} = await open(fewMounts().slice(0, 1));
  fake.answers.set = () => ({error: 'no such operation: set', kind: 'usage'});
  await page.getByRole('button', {name: 'Interval…'}).click();
  await page.getByRole('dialog').getByRole('button', {name: 'Set'}).click();
  await page.getByRole('alert').getByText('no such operation: set').waitFor();
});

test('a bad token file is refused before anything is sent', async () => {
  const {page, fakes: [fake]} = await open(fewMounts().slice(0, 1));
  const file = path.join(scratch('token'), 'token');
  fs.writeFileSync(file, 'tandem-invite-9.not-a-token\n');
  await page.getByRole('button', {name: 'Add a replica…'}).click();
  await screenshot(page, 'add-replica');
  await page.getByLabel('Token file').setInputFiles(file);
  await page.getByRole('dialog').getByRole('button', {name: 'Add', exact: true}).click();
  await page.getByRole('alert').waitFor();
  assert.equal(fake.asked.some((one) => one.op === 'replica-add'), false);
});

test('a verify shows progress, then what it found, and goes on without the page', async () => {
  const {page, fakes: [fake]} = await open(fewMounts().slice(0, 1));
  let polls = 0;
  let finished = false;
  fake.answers.verify = () => ({jobs: [{job: 7, replica: 'backup'}]});
  fake.answers['verify-stop'] = () => ({ok: true});
  fake.answers['verify-poll'] = () => {
    polls += 1;
    return {objects: 500, bytes: 1 << 30, total_objects: 1000, total_bytes: 2 * 2 ** 30, full: true,
      finished, failure: '', difference_count: finished ? 1 : 0, more_differences: 0, unjudged: [],
      differences: finished ? [{kind: 'content', path: `a/${kEvil}`, what: 'byte 17', repaired: false}] : []};
  };
  await page.getByRole('button', {name: 'Verify…', exact: true}).click();
  await page.getByLabel('Compare all content').check();
  await page.getByRole('dialog').getByRole('button', {name: 'Verify', exact: true}).click();
  await page.getByText(/^50 %, 500 objects, 1 GiB of content/).waitFor();
  await screenshot(page, 'verify');
  await page.goto('about:blank');
  const before = polls;
  await until('it is polled while nobody looks', () => polls > before + 1);
  finished = true;
  await page.goBack();
  await page.getByText(/^✕ 1 difference /).waitFor();
  await page.getByText('What differs').click();
  await page.getByText(`content: a/${kEvil}: byte 17`).waitFor();
  await page.getByRole('button', {name: 'Dismiss'}).click();
  await page.locator('.verify').waitFor({state: 'detached'});
});

test('fifty mounts stay usable, and their names are only text', async () => {
  const {page, fakes} = await open(fiftyMounts());
  assert.equal(await page.locator('article').count(), 50);
  assert.match(await page.locator('#summary').textContent(), /^50 mounts, 100 replicas: 9\d in step/);
  assert.equal(await page.locator('main script, main img').count(), 0);
  assert.doesNotMatch(await page.title(), /hacked/);
  await screenshot(page, 'fifty');
  await page.getByLabel('Find').fill('volume-33');
  await page.getByText('1 of 50 shown').waitFor();
  await page.getByRole('button', {name: '/srv/volume-33'}).click();
  const began = Date.now();
  await page.getByRole('switch', {name: 'Replication'}).click();
  await page.locator('article:visible').getByText('‖ paused').first().waitFor();
  assert.ok(Date.now() - began < 3000, `a pause shows after ${Date.now() - began} ms`);
  assert.equal(fakes[33].status.replicas[1].state, 'paused');
  await page.locator('#attention').getByRole('button', {name: /Show/}).click();
  assert.equal(await page.locator('article:visible').count(), 50);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), '/srv/volume-07');
  assert.deepEqual(page.complaints, []);
});

test('a tandemfs that hangs is told of, and delays no other for long', async () => {
  const {page, fakes} = await open(fewMounts());
  fakes[0].answers.status = () => null;
  await page.getByText('✕ does not answer').waitFor();
  fakes[1].status.replicas[0].error = 'another error';
  await page.locator('article', {hasText: '/srv/mail'}).getByText('another error').waitFor({timeout: 6000});
});

test('changes of state are announced', async () => {
  const {page, fakes} = await open(fewMounts());
  fakes[2].status.replicas[0].state = 'blocked';
  await page.locator('#say', {hasText: '/srv/media, replica backup: blocked'}).waitFor();
});

test('it fits a small screen, and a dark one', async () => {
  const small = await openBrowser({viewport: {width: 320, height: 700}, colorScheme: 'dark',
    reducedMotion: 'reduce', deviceScaleFactor: 2});
  stops.push(() => small.close());
  const {page} = await open(fewMounts(), small);
  await page.locator('.u-over').first().waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  await screenshot(page, 'phone-dark');
  await page.getByRole('button', {name: 'Verify…', exact: true}).first().click();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  await screenshot(page, 'phone-dialog');
  await page.keyboard.press('Escape');
  await page.setViewportSize({width: 1100, height: 900});
  await page.waitForTimeout(300);
  await screenshot(page, 'few-dark');
});

test('all of it can be reached by the keyboard', async () => {
  const {page, fakes: [fake]} = await open(fewMounts().slice(0, 1));
  const reached = new Set();
  await page.evaluate(() => document.body.focus());
  for (let i = 0; i < 40; i += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => {
      const node = document.activeElement;
      return node.getAttribute('aria-label') ?? node.textContent;
    }));
  }
  for (const name of ['Skip to the mounts', 'Replication', 'Sync now', 'Send to attic', 'As a table']) {
    assert.ok(reached.has(name), `${name} in ${[...reached].join(', ')}`);
  }
  await page.getByRole('switch', {name: 'Replication'}).focus();
  await page.keyboard.press('Space');
  await until('a pause by keyboard', () => fake.asked.some((one) => one.op === 'pause'));
});
