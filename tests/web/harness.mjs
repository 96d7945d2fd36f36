// Starts what the tests use, and ends it again: `tandem web`, Chromium, processes.
import {spawn, spawnSync} from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import {createRequire} from 'node:module';
import net from 'node:net';
import path from 'node:path';

const require = createRequire(`${process.env.TANDEM_WEB_MODULES}/`);
const {chromium} = require('playwright-core');

export const kScratch = process.env.TANDEM_SCRATCH;
export const kBin = process.env.TANDEM_BIN_DIR;

export function scratch(name) {
  return fs.mkdtempSync(path.join(kScratch, `${name}-`));
}

// Waits until `check` returns something true, and returns that.
export async function until(what, check, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export function start(program, args, options = {}) {
  const child = spawn(program, args, {stdio: ['ignore', 'pipe', 'pipe'], ...options});
  child.out = '';
  child.err = '';
  child.stdout.on('data', (data) => { child.out += data; });
  child.stderr.on('data', (data) => { child.err += data; });
  child.ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve({code, signal})));
  return child;
}

export async function end(child) {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await child.ended;
}

export function run(program, args) {
  const done = spawnSync(program, args, {encoding: 'utf8', timeout: 60000});
  if (done.error) throw done.error;
  return {code: done.status, out: done.stdout, err: done.stderr};
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.on('listening', resolve));
  const {port} = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const kLink = /http:\/\/127\.0\.0\.1:(\d+)\/login\?key=[0-9a-f]{64}/g;

// `tandem web`, on a free port. `sockets`: a directory of fake control sockets.
export async function startWeb(sockets) {
  const args = ['web', '--listen', '127.0.0.1:0'];
  if (sockets) args.push('--sockets', sockets);
  const child = start(process.env.TANDEM_WEB, args);
  const links = () => [...child.out.matchAll(kLink)];
  await until(`a link: ${child.err}`, () => links().length > 0);
  const port = Number(links()[0][1]);
  return {
    child,
    port,
    origin: `http://127.0.0.1:${port}`,
    links: () => links().map((link) => link[0]),
    // As many links as wanted can be had by a signal, too.
    async newLink() {
      const before = links().length;
      child.kill('SIGUSR1');
      await until('another link', () => links().length > before);
      return links().at(-1)[0];
    },
    stop: () => end(child),
  };
}

export async function openBrowser(options = {}) {
  return chromium.launchPersistentContext(scratch('profile'), {
    executablePath: process.env.CHROMIUM,
    headless: true,
    viewport: {width: 1100, height: 900},
    locale: 'en-GB',
    ...options,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

// Opens the page logged in. What its console complains about is in page.complaints.
export async function openPage(context, web) {
  const page = await context.newPage();
  page.setDefaultTimeout(10000);
  page.complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error') page.complaints.push(message.text());
  });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  await page.goto(await web.newLink());
  await page.waitForURL(`${web.origin}/`);
  await page.locator('#connection', {hasText: 'live'}).waitFor();
  return page;
}

// A request that no browser would send like this.
export function request(port, options, body = '') {
  return new Promise((resolve, reject) => {
    const sent = http.request({host: '127.0.0.1', port, agent: false, ...options}, (answer) => {
      let text = '';
      answer.on('data', (data) => { text += data; });
      answer.on('end', () => resolve({status: answer.statusCode, headers: answer.headers, text}));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

export async function screenshot(page, name) {
  const directory = process.env.TANDEM_SHOTS;
  if (!directory) return;
  fs.mkdirSync(directory, {recursive: true});
  await page.screenshot({path: path.join(directory, `${name}.png`), fullPage: true});
}
