import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import {
  absentCallboard,
  backend,
  callboardError,
  claimsOf,
  document,
  hurry,
  listening,
  scriptedCallboard,
} from './support/stage.mjs';
import { read, until } from './support/reader.mjs';

const SITE = '/default/component/shop';
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

/** What Callboard may answer, what becomes of it, and what the reader is told. */
const TABLE = [
  [401, 'AuthenticationError', 502, /refuses this backend's token/],
  [403, 'The caller may not read', 502, /refuses this backend's token/],
  [429, 'Too many requests: try again in 7 s.', 503, /Too many documents/],
  [400, 'One host, please.', 502, /One host, please\./],
  [500, 'A fault in Callboard.', 502, /A fault in Callboard\./],
  [502, 'Storage refused Callboard.', 502, /Storage refused Callboard\./],
  [
    503,
    "Storage can't be reached just now.",
    503,
    /Storage can't be reached just now\./,
  ],
  [
    504,
    'Storage did not answer in time.',
    504,
    /Storage did not answer in time\./,
  ],
];

for (const [given, message, status, sentence] of TABLE) {
  test(`${given} of Callboard ends in a page, a style sheet and an error that say something`, async t => {
    const callboard = await scriptedCallboard(t, (_req, res) =>
      callboardError(res, given, message, {
        'Retry-After': '7',
        ETag: '"x"',
        'Cache-Control': 'max-age=60',
      }),
    );
    const { docs, lines } = await backend(t, { baseUrl: callboard.url });

    const page = await read(`${docs}${SITE}/guide/index.html?a=b`, {
      headers: { traceparent: TRACEPARENT },
    });
    assert.equal(page.status, status);
    assert.match(page.text, sentence);
    assert.match(
      page.text,
      /<link rel="stylesheet" href="main\.[0-9a-f]{8}\.min\.css">/,
    );
    assert.deepEqual(
      [
        'content-type',
        'cache-control',
        'x-content-type-options',
        'retry-after',
        'etag',
      ].map(name => page.headers[name]),
      ['text/plain; charset=utf-8', 'no-store', 'nosniff', '7', undefined],
    );

    const styles = await read(
      `${docs}${SITE}/assets/stylesheets/main.0123abcd.min.css`,
    );
    assert.deepEqual(
      [
        styles.status,
        styles.headers['content-type'],
        styles.headers['cache-control'],
      ],
      [200, 'text/css; charset=utf-8', 'no-store'],
    );

    const script = await read(`${docs}${SITE}/search/search_index.json`);
    assert.equal(script.status, status);
    const told = JSON.parse(script.text);
    assert.match(told.error.message, sentence);
    assert.equal(told.response.statusCode, status);
    assert.equal(
      told.request.url,
      `/api/techdocs/static/docs${SITE}/search/search_index.json`,
    );

    // Once for all three, with what finds it in Callboard's log, and no token.
    assert.equal(lines.length, 1);
    assert.match(lines[0].message, new RegExp(`Callboard answered ${given}`));
    assert.equal(lines[0].meta.traceId, TRACE);
    assert.doesNotMatch(JSON.stringify(lines), /Bearer|eyJ/);
  });
}

test("what stands in a page of Callboard's words is text", async t => {
  const callboard = await scriptedCallboard(t, (_req, res) =>
    callboardError(res, 503, '<b>&"storage"</b>'),
  );
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { text } = await read(`${docs}${SITE}/index.html`);
  assert.match(text, /<p>&lt;b&gt;&amp;"storage"&lt;\/b&gt;<\/p>/);
});

test('the style sheet of the page that is made here is served from here', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) =>
    callboardError(res, 503, 'no'),
  );
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { text } = await read(`${docs}${SITE}/guide/index.html`);
  const [, name] = text.match(/href="([^"]+)"/);
  const asked = callboard.requests.length;
  const { status, headers } = await read(`${docs}${SITE}/guide/${name}`);
  assert.deepEqual(
    [status, headers['content-type']],
    [200, 'text/css; charset=utf-8'],
  );
  assert.equal(callboard.requests.length, asked);
});

test('HEAD of what fails has the status and no body', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) =>
    callboardError(res, 503, 'no'),
  );
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { status, text } = await read(`${docs}${SITE}/index.html`, {
    method: 'HEAD',
  });
  assert.deepEqual([status, text], [503, '']);
});

test('a Callboard that is not there ends in a page that says so', async t => {
  const { url } = await absentCallboard(t);
  const { docs, lines } = await backend(t, { baseUrl: url });
  hurry(t);
  const { status, text } = await read(`${docs}${SITE}/index.html`);
  assert.equal(status, 502);
  assert.match(text, /Callboard can't be reached/);
  assert.equal(
    (await read(`${docs}${SITE}/main.0123abcd.min.css`)).status,
    200,
  );
  assert.equal(lines.length, 1);
  assert.match(lines[0].message, /techdocs\.callboard\.baseUrl/);
});

test('a Callboard that says nothing ends in a page that says so, after the timeout', async t => {
  const silent = createServer(socket => socket.on('error', () => {}));
  const port = await listening(t, silent);
  silent.on('connection', socket => t.after(() => socket.destroy()));
  const { docs, lines } = await backend(t, {
    baseUrl: `http://127.0.0.1:${port}`,
    timeout: 150,
  });
  const { status, text } = await read(`${docs}${SITE}/index.html`);
  assert.equal(status, 504);
  assert.match(text, /did not answer in time/);
  assert.match(lines[0].message, /techdocs\.callboard\.timeout/);
});

test('an answer that is no HTTP counts as none', async t => {
  const odd = createServer(socket =>
    socket.on('error', () => {}).end('SSH-2.0-OpenSSH\r\n'),
  );
  const { docs } = await backend(t, {
    baseUrl: `http://127.0.0.1:${await listening(t, odd)}`,
  });
  hurry(t);
  assert.equal((await read(`${docs}${SITE}/index.html`)).status, 502);
});

test('a token that Callboard refuses is replaced once, if it is not new', async t => {
  const callboard = await scriptedCallboard(t, (req, res) => {
    if (claimsOf(req).n === 1) {
      callboardError(res, 401, 'The key is unknown');
    } else {
      document(req, res);
    }
  });
  const { docs, lines, minted } = await backend(t, { baseUrl: callboard.url });
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  assert.equal((await read(`${docs}${SITE}/index.html`)).status, 502);
  t.mock.timers.tick(11_000);
  const { status, text } = await read(`${docs}${SITE}/index.html`);
  assert.deepEqual([status, text], [200, 'hello']);
  assert.equal(minted.length, 2);
  assert.deepEqual(
    callboard.requests.map(request => claimsOf(request).n),
    [1, 1, 2],
  );
  assert.equal(lines.length, 1);
});

test('a backend that can make no token says so', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs, lines } = await backend(
    t,
    { baseUrl: callboard.url, audience: 'callboard' },
    {
      adjust: ({ auth }) => {
        auth.getPluginRequestToken = async () => {
          throw new Error('no keys');
        };
      },
    },
  );
  const { status, text } = await read(`${docs}${SITE}/index.html`);
  assert.equal(status, 502);
  assert.match(text, /no token/);
  assert.equal(lines[0].meta.cause, 'no keys');
  assert.deepEqual(callboard.requests, []);
});

test('a failure is told again after a minute', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) =>
    callboardError(res, 503, 'no'),
  );
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  for (const [wait, count] of [
    [0, 1],
    [59_000, 1],
    [2_000, 2],
  ]) {
    t.mock.timers.tick(wait);
    await read(`${docs}${SITE}/index.html`);
    assert.equal(lines.length, count);
  }
});

test('of an error without an end no more is read than it takes', async t => {
  const closed = [];
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(500, { 'Content-Type': 'text/html' });
    res.write('x'.repeat(20_000));
    res.on('close', () => closed.push(res.writableFinished));
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  assert.equal((await read(`${docs}${SITE}/index.html`)).status, 502);
  await until(() => closed.length === 1);
});
