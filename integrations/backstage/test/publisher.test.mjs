import assert from 'node:assert/strict';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  absentCallboard,
  backend,
  callboardError,
  claimsOf,
  hurry,
  scriptedCallboard,
} from './support/stage.mjs';
import { read } from './support/reader.mjs';

const NAME = { kind: 'Component', namespace: 'default', name: 'shop' };
const ENTITY = {
  kind: 'Component',
  metadata: { name: 'shop', namespace: 'default', uid: 'u' },
};

function folder(t) {
  const made = mkdtempSync(join(tmpdir(), 'callboard-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

const building = publishDirectory => ({
  builder: 'local',
  publisher: { type: 'local', local: { publishDirectory } },
});

test('metadata is what Callboard has', async t => {
  const metadata = {
    site_name: 'Shop',
    site_description: 'ü',
    etag: 'e',
    build_timestamp: 1,
    files: ['index.html'],
  };
  const callboard = await scriptedCallboard(t, (_req, res) =>
    res.end(JSON.stringify(metadata)),
  );
  const { publisher } = await backend(t, { baseUrl: callboard.url });
  assert.deepEqual(await publisher.fetchTechDocsMetadata(NAME), metadata);
  const [request] = callboard.requests;
  assert.deepEqual(
    [request.method, request.url],
    ['GET', '/metadata/techdocs/default/Component/shop'],
  );
  assert.equal(claimsOf(request).aud, 'callboard');
});

test('names are told to Callboard as they are, each in one segment', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) => res.end('{}'));
  const { publisher } = await backend(t, { baseUrl: callboard.url });
  await publisher.fetchTechDocsMetadata({
    kind: 'API',
    namespace: 'Team A',
    name: 'a/../b?c#文',
  });
  assert.equal(
    callboard.requests[0].url,
    '/metadata/techdocs/Team%20A/API/a%2F..%2Fb%3Fc%23%E6%96%87',
  );
});

test("metadata that is absent, or can't be read, is an error of that name", async t => {
  let status = 404;
  const callboard = await scriptedCallboard(t, (_req, res) =>
    callboardError(res, status, 'a sentence'),
  );
  const { publisher } = await backend(t, { baseUrl: callboard.url });
  await assert.rejects(publisher.fetchTechDocsMetadata(NAME), {
    name: 'NotFoundError',
    message: 'a sentence',
  });
  status = 503;
  await assert.rejects(publisher.fetchTechDocsMetadata(NAME), {
    name: 'ServiceUnavailableError',
    message: /503: a sentence/,
  });
});

test('a token that Callboard refuses is replaced for metadata, too', async t => {
  const callboard = await scriptedCallboard(t, (req, res) =>
    claimsOf(req).n === 1
      ? callboardError(res, 401, 'unknown key')
      : res.end('{"site_name":"x"}'),
  );
  const { publisher } = await backend(t, { baseUrl: callboard.url });
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  await assert.rejects(publisher.fetchTechDocsMetadata(NAME), /401/);
  t.mock.timers.tick(11_000);
  assert.equal((await publisher.fetchTechDocsMetadata(NAME)).site_name, 'x');
});

test('a site has been generated if it has an index, has not if that is absent, and a failure is neither', async t => {
  let status = 200;
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.statusCode = status;
    res.end();
  });
  const { publisher } = await backend(t, { baseUrl: callboard.url });
  assert.equal(await publisher.hasDocsBeenGenerated(ENTITY), true);
  assert.deepEqual(
    [callboard.requests[0].method, callboard.requests[0].url],
    ['HEAD', '/static/docs/default/Component/shop/index.html'],
  );
  status = 404;
  assert.equal(
    await publisher.hasDocsBeenGenerated({
      kind: 'API',
      metadata: { name: 'x' },
    }),
    false,
  );
  assert.equal(
    callboard.requests[1].url,
    '/static/docs/default/API/x/index.html',
  );
  status = 503;
  await assert.rejects(publisher.hasDocsBeenGenerated(ENTITY), {
    name: 'ServiceUnavailableError',
  });
});

test('where sites are built here, what is not at Callboard is looked for where it is published', async t => {
  const directory = folder(t);
  let status = 404;
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.statusCode = status;
    res.end();
  });
  const { publisher } = await backend(
    t,
    { baseUrl: callboard.url },
    { techdocs: building(directory) },
  );
  assert.equal(await publisher.hasDocsBeenGenerated(ENTITY), false);
  mkdirSync(join(directory, 'default/component/shop'), { recursive: true });
  writeFileSync(join(directory, 'default/component/shop/index.html'), 'x');
  for (status of [404, 503]) {
    assert.equal(await publisher.hasDocsBeenGenerated(ENTITY), true, status);
  }
});

test('a published site is published by the original publisher, and purged at Callboard', async t => {
  const [directory, built] = [folder(t), folder(t)];
  writeFileSync(join(built, 'index.html'), 'new');
  const callboard = await scriptedCallboard(t, (_req, res) =>
    res.end('{"sites":1}'),
  );
  const { publisher, lines } = await backend(
    t,
    { baseUrl: callboard.url },
    { techdocs: building(directory) },
  );
  await publisher.publish({ entity: ENTITY, directory: built });
  assert.equal(await publisher.hasDocsBeenGenerated(ENTITY), true);
  const [request] = callboard.requests;
  assert.deepEqual(
    [request.method, request.url],
    ['POST', '/.callboard/v1/purge?entity=component%3Adefault%2Fshop'],
  );
  assert.equal(claimsOf(request).sub, 'techdocs');
  assert.deepEqual(
    lines.filter(({ level }) => level === 'warn'),
    [],
  );
});

for (const [how, answer, advice] of [
  [
    'is refused',
    (_req, res) => callboardError(res, 403, 'The caller may not purge'),
    /plugin:techdocs.*callboard\.purge\.subjects/,
  ],
  [
    'fails',
    (_req, res) => callboardError(res, 503, 'Redis is away'),
    /503: Redis is away/,
  ],
  ['breaks off', req => req.socket.destroy(), /was not told/],
]) {
  test(`a purge that ${how} fails no build, and the log says what to do`, async t => {
    const [directory, built] = [folder(t), folder(t)];
    writeFileSync(join(built, 'index.html'), 'new');
    const callboard = await scriptedCallboard(t, answer);
    const { publisher, lines } = await backend(
      t,
      { baseUrl: callboard.url },
      { techdocs: building(directory) },
    );
    await publisher.publish({ entity: ENTITY, directory: built });
    assert.equal(callboard.requests.length, 1);
    assert.match(
      lines.filter(({ level }) => level === 'warn').at(-1).message,
      advice,
    );
  });
}

test('where sites are built elsewhere, publishing is refused and says where it belongs', async t => {
  const callboard = await scriptedCallboard(t);
  for (const fallback of [false, true]) {
    const { publisher } = await backend(t, {
      baseUrl: callboard.url,
      fallback,
    });
    await assert.rejects(
      publisher.publish({ entity: ENTITY, directory: '/' }),
      /techdocs-cli publish.*techdocs\.builder/,
    );
  }
  assert.deepEqual(callboard.requests, []);
});

test('ready is what Callboard says of itself, and the log says what is wrong', async t => {
  const ready = await scriptedCallboard(t);
  assert.deepEqual(
    await (await backend(t, { baseUrl: ready.url })).publisher.getReadiness(),
    { isAvailable: true },
  );

  const gone = await absentCallboard(t);
  const { publisher, lines } = await backend(t, { baseUrl: gone.url });
  hurry(t);
  assert.deepEqual(await publisher.getReadiness(), { isAvailable: false });
  assert.match(lines[0].message, /techdocs\.callboard\.baseUrl/);
});

test('a Callboard that is not ready is still asked for documents', async t => {
  const callboard = await scriptedCallboard(t);
  callboard.server.removeAllListeners('request');
  callboard.server.on('request', (req, res) => {
    res.statusCode = req.url.includes('/health/') ? 503 : 200;
    res.end(
      req.url.includes('/health/')
        ? '{"message":"Storage refuses everything"}'
        : 'hello',
    );
  });
  const { publisher, lines, docs } = await backend(t, {
    baseUrl: callboard.url,
  });
  assert.deepEqual(await publisher.getReadiness(), { isAvailable: false });
  assert.match(lines[0].message, /Storage refuses everything/);
  assert.equal(
    (await read(`${docs}/default/component/shop/index.html`)).text,
    'hello',
  );
});
