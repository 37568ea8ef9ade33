import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  backend,
  callboardError,
  claimsOf,
  scriptedCallboard,
} from './support/stage.mjs';
import { read } from './support/reader.mjs';

const PAGE = '/default/component/shop/index.html';
const TEXT = 'All the world is a stage. '.repeat(200);

const FULL = {
  'Content-Type': 'text/plain; charset=utf-8',
  'Content-Length': String(TEXT.length),
  'Accept-Ranges': 'bytes',
  ETag: '"abc"',
  'Last-Modified': 'Wed, 21 Oct 2015 07:28:00 GMT',
  'Cache-Control': 'private, max-age=0, must-revalidate',
  Vary: 'Accept-Encoding',
  Age: '12',
  'Cache-Status': 'callboard; hit; ttl=30',
  'X-Content-Type-Options': 'nosniff',
};

/** The values of `names` in the answer, which is silent about those that are undefined. */
function told(headers, names) {
  return Object.fromEntries(
    names.map(name => [name, headers[name.toLowerCase()]]),
  );
}

test('an answer arrives with its status, validators and caching headers', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, {
      ...FULL,
      Server: 'inner',
      'Set-Cookie': 'a=b',
      'X-Frame-Options': 'ALLOW',
    });
    res.end(TEXT);
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { status, headers, text } = await read(docs + PAGE);
  assert.equal(status, 200);
  assert.equal(text, TEXT);
  assert.deepEqual(told(headers, Object.keys(FULL)), {
    ...FULL,
    Vary: 'Origin, Accept-Encoding',
  });
  // Of the backend's own, and none of what is between it and Callboard.
  assert.equal(headers['x-frame-options'], 'SAMEORIGIN');
  assert.equal(headers.server, undefined);
  assert.equal(headers['set-cookie'], undefined);
});

test("conditions, ranges, encodings and the trace are passed on, and nothing that is the reader's own", async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const passed = {
    'accept-encoding': 'br;q=1.0, gzip;q=0.5',
    'if-none-match': 'W/"abc", "def"',
    'if-modified-since': 'Wed, 21 Oct 2015 07:28:00 GMT',
    'if-match': '"abc"',
    'if-unmodified-since': 'Wed, 21 Oct 2015 07:28:00 GMT',
    range: 'bytes=0-9,-5',
    'if-range': '"abc"',
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    tracestate: 'a=b',
  };
  await read(docs + PAGE, {
    headers: {
      ...passed,
      cookie: 'backstage-auth=secret',
      authorization: 'Bearer reader',
      'x-other': 'y',
      'content-length': '0',
    },
  });
  const { authorization, host, connection, ...headers } =
    callboard.requests[0].headers;
  assert.deepEqual(headers, passed);
  assert.equal(host, `127.0.0.1:${callboard.port}`);
  assert.equal(connection, 'keep-alive');
  assert.equal(claimsOf(callboard.requests[0]).aud, 'callboard');
});

test('where this process is traced, the tracer says which trace it is', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const own = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const trace = ({ request }) => request.addHeader('traceparent', own);
  subscribe('undici:request:create', trace);
  t.after(() => unsubscribe('undici:request:create', trace));
  await read(docs + PAGE, {
    headers: {
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    },
  });
  assert.equal(callboard.requests[0].headers.traceparent, own);
});

test('304, 206, 412 and 416 are passed on with what belongs to them', async t => {
  const answers = {
    304: [{ ETag: '"abc"', 'Cache-Control': 'private' }, ''],
    206: [
      {
        'Content-Type': 'text/plain; charset=utf-8',
        'Content-Range': 'bytes 0-9/5000',
        'Content-Length': '10',
      },
      TEXT.slice(0, 10),
    ],
    412: [
      {
        'Content-Type': 'application/json; charset=utf-8',
        'Content-Length': '2',
      },
      '{}',
    ],
    416: [
      {
        'Content-Type': 'application/json; charset=utf-8',
        'Content-Range': 'bytes */5000',
        'Content-Length': '2',
      },
      '{}',
    ],
  };
  const callboard = await scriptedCallboard(t, (req, res) => {
    const status = Number(req.url.match(/(\d+)$/)[1]);
    res.writeHead(status, answers[status][0]);
    res.end(answers[status][1]);
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  for (const [status, [headers, body]] of Object.entries(answers)) {
    const answer = await read(`${docs}/default/component/shop/${status}`, {
      headers: { 'accept-encoding': 'gzip' },
    });
    assert.equal(answer.status, Number(status));
    assert.equal(answer.text, body);
    assert.deepEqual(told(answer.headers, Object.keys(headers)), headers);
    assert.equal(answer.headers['content-encoding'], undefined, status);
  }
});

test('404 is passed on as Callboard says it', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) =>
    callboardError(res, 404, 'The site has no such file'),
  );
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  for (const file of ['none.html', 'none.css', 'none.png']) {
    const { status, text } = await read(
      `${docs}/default/component/shop/${file}`,
    );
    assert.equal(status, 404);
    assert.match(text, /The site has no such file/);
  }
  assert.deepEqual(lines, []);
});

test('HEAD is asked as HEAD and has no body', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, FULL);
    res.end();
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { status, headers, text } = await read(docs + PAGE, { method: 'HEAD' });
  assert.equal(callboard.requests[0].method, 'HEAD');
  assert.deepEqual(
    [status, headers['content-length'], text],
    [200, String(TEXT.length), ''],
  );
});

test('other methods are turned away here', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, { baseUrl: callboard.url });
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    const { status, headers } = await read(docs + PAGE, { method });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
  }
  assert.deepEqual(callboard.requests, []);
});

test('what Callboard sends compressed arrives as it is', async t => {
  const packed = gzipSync(TEXT);
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, {
      ...FULL,
      'Content-Encoding': 'gzip',
      'Content-Length': packed.length,
    });
    res.end(packed);
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { headers, body } = await read(docs + PAGE, {
    headers: { 'accept-encoding': 'gzip, br' },
  });
  assert.deepEqual(
    [headers['content-encoding'], headers['content-length']],
    ['gzip', String(packed.length)],
  );
  assert.deepEqual(body, packed);
  assert.equal(gunzipSync(body).toString(), TEXT);
});

test('what Callboard sends as it is stays so, with its length and its strong tag, though the backend could compress it', async t => {
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, FULL);
    res.end(TEXT);
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const { headers, text } = await read(docs + PAGE, {
    headers: { 'accept-encoding': 'gzip, br' },
  });
  assert.equal(headers['content-encoding'], undefined);
  assert.deepEqual(
    [headers['content-length'], headers.etag],
    [FULL['Content-Length'], FULL.ETag],
  );
  assert.equal(text, TEXT);
});
