import assert from 'node:assert/strict';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  absentCallboard,
  backend,
  callboardError,
  listening,
  scriptedCallboard,
} from './support/stage.mjs';
import { read, readRaw, until } from './support/reader.mjs';

const PAGE = '/default/component/shop/index.html';
const ENTITY = { kind: 'Component', namespace: 'default', name: 'shop' };

/** The configuration of a real publisher whose site says `original`. */
function local(t) {
  const publishDirectory = mkdtempSync(join(tmpdir(), 'callboard-'));
  t.after(() => rmSync(publishDirectory, { recursive: true }));
  const folder = join(publishDirectory, 'default/component/shop');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'index.html'), 'original');
  writeFileSync(
    join(folder, 'techdocs_metadata.json'),
    '{"site_name":"original"}',
  );
  return { publisher: { type: 'local', local: { publishDirectory } } };
}

test('with fallback the original publisher serves what an absent Callboard does not', async t => {
  const { url } = await absentCallboard(t);
  const { docs, publisher, lines } = await backend(
    t,
    { baseUrl: url, fallback: true },
    { techdocs: local(t) },
  );
  assert.equal((await read(docs + PAGE)).text, 'original');
  assert.equal(
    (await publisher.fetchTechDocsMetadata(ENTITY)).site_name,
    'original',
  );
  assert.deepEqual(await publisher.getReadiness(), { isAvailable: true });
  const told = lines
    .filter(({ level }) => level === 'warn')
    .map(({ message }) => message)
    .join('\n');
  assert.match(told, /original publisher serves/);
});

test('the original publisher compresses as it would without the module', async t => {
  const { url } = await absentCallboard(t);
  const settings = local(t);
  writeFileSync(
    join(
      settings.publisher.local.publishDirectory,
      'default/component/shop/index.html',
    ),
    'x'.repeat(5000),
  );
  const { docs } = await backend(
    t,
    { baseUrl: url, fallback: true },
    { techdocs: settings },
  );
  const { headers } = await read(docs + PAGE, {
    headers: { 'accept-encoding': 'gzip' },
  });
  assert.equal(headers['content-encoding'], 'gzip');
});

test('Callboard is looked at again after a pause, and serves again once it is there', async t => {
  const later = await absentCallboard(t);
  const { docs } = await backend(
    t,
    { baseUrl: later.url, fallback: true },
    { techdocs: local(t) },
  );
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  assert.equal((await read(docs + PAGE)).text, 'original');
  const requests = await later.start();
  assert.equal((await read(docs + PAGE)).text, 'original');
  assert.deepEqual(requests, []);
  t.mock.timers.tick(5_000);
  assert.equal((await read(docs + PAGE)).text, 'original');
  await until(async () => (await read(docs + PAGE)).text === 'hello');
  assert.equal(requests.filter(url => url.endsWith('/liveness')).length, 1);
});

test('while Callboard says nothing, no reader but the first waits for it', async t => {
  const silent = createServer(socket => socket.on('error', () => {}));
  const connections = [];
  silent.on('connection', socket => connections.push(socket));
  t.after(() => connections.forEach(socket => socket.destroy()));
  const port = await listening(t, silent);
  const { docs } = await backend(
    t,
    { baseUrl: `http://127.0.0.1:${port}`, fallback: true, timeout: 300 },
    { techdocs: local(t) },
  );
  assert.equal((await read(docs + PAGE)).text, 'original');
  const asked = connections.length;
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 6_000 });
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => read(docs + PAGE)),
  );
  assert.deepEqual(
    answers.map(({ text }) => text),
    Array(10).fill('original'),
  );
  await until(() => connections.length > asked);
  assert.equal(connections.length - asked, 1);
});

test('a proxy in between that has lost Callboard counts as no Callboard', async t => {
  for (const status of [502, 503, 504]) {
    const callboard = await scriptedCallboard(t, (_req, res) => {
      res.writeHead(status, { 'Content-Type': 'text/html' });
      res.end('<html>no upstream</html>');
    });
    const { docs } = await backend(
      t,
      { baseUrl: callboard.url, fallback: true },
      { techdocs: local(t) },
    );
    assert.equal((await read(docs + PAGE)).text, 'original', status);
  }
});

test('what Callboard itself says stands: the original publisher would call an outage of storage a missing page', async t => {
  for (const method of ['GET', 'HEAD']) {
    for (const status of [401, 403, 404, 429, 500, 502, 503, 504]) {
      const callboard = await scriptedCallboard(t, (_req, res) =>
        callboardError(res, status, 'a sentence'),
      );
      const { docs } = await backend(
        t,
        { baseUrl: callboard.url, fallback: true },
        { techdocs: local(t) },
      );
      const answer = await read(docs + PAGE, { method });
      assert.notEqual(answer.status, 200, `${method} ${status}`);
      assert.notEqual(answer.text, 'original');
    }
  }
});

test('odd spellings do not reach the original publisher either', async t => {
  const { url } = await absentCallboard(t);
  const { port } = await backend(
    t,
    { baseUrl: url, fallback: true },
    { techdocs: local(t) },
  );
  for (const path of [
    '//default/component/shop/index.html',
    '/default//component/shop/index.html',
    '/default/component/%2e/shop/index.html',
  ]) {
    assert.equal(
      (await readRaw(port, `/api/techdocs/static/docs${path}`)).status,
      404,
      path,
    );
  }
});

test('without fallback the original publisher is not even made', async t => {
  const callboard = await scriptedCallboard(t);
  // It could not be: there is no such bucket's configuration.
  const techdocs = { builder: 'external', publisher: { type: 'awsS3' } };
  await backend(t, { baseUrl: callboard.url }, { techdocs });
  await assert.rejects(
    backend(t, { baseUrl: callboard.url, fallback: true }, { techdocs }),
    /awsS3/,
  );
});
