import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { test } from 'node:test';
import {
  backend,
  scriptedCallboard,
  scriptedSocket,
} from './support/stage.mjs';
import { read, until } from './support/reader.mjs';

const PAGE = '/default/component/shop/index.html';

test('a document is passed on while it still arrives', async t => {
  let finish;
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    res.write('first');
    finish = () => res.end('last');
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const [res] = await once(get(docs + PAGE), 'response');
  const [first] = await once(res, 'data');
  assert.equal(first.toString(), 'first');
  finish();
  const [last] = await once(res, 'data');
  assert.equal(last.toString(), 'last');
});

test('a reader who takes nothing stops Callboard, and gets the rest when it goes on', async t => {
  const length = 64 * 1024 * 1024;
  const piece = Buffer.alloc(64 * 1024, 'x');
  let sent = 0;
  let isStopped = false;
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, {
      'Content-Type': 'image/png',
      'Content-Length': length,
    });
    const send = () => {
      isStopped = false;
      while (sent < length) {
        sent += piece.length;
        if (!res.write(piece)) {
          isStopped = true;
          return;
        }
      }
      res.end();
    };
    res.on('drain', send);
    send();
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const [res] = await once(get(docs + PAGE), 'response');
  res.pause();
  // What the kernel and Node hold of three connections, and no more: it has
  // stopped once nothing moves between two looks.
  let before = -1;
  await until(async () => {
    const same = isStopped && before === sent;
    before = sent;
    await new Promise(resolve => setTimeout(resolve, 50));
    return same && before === sent;
  });
  assert.ok(sent < length / 2, `${sent} bytes were read ahead`);
  let taken = 0;
  res.on('data', chunk => (taken += chunk.length)).resume();
  await once(res, 'end');
  assert.equal(taken, length);
});

test('a reader who pauses for longer than the timeout is not cut off', async t => {
  const length = 16 * 1024 * 1024;
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, {
      'Content-Type': 'image/png',
      'Content-Length': length,
    });
    res.end(Buffer.alloc(length));
  });
  const { docs } = await backend(t, { baseUrl: callboard.url, timeout: 200 });
  const [res] = await once(get(docs + PAGE), 'response');
  res.pause();
  await new Promise(resolve => setTimeout(resolve, 700));
  let taken = 0;
  res.on('data', chunk => (taken += chunk.length)).resume();
  await once(res, 'end');
  assert.equal(taken, length);
});

test('a reader who leaves before the answer ends the request', async t => {
  const closed = [];
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.on('close', () => closed.push(res.writableFinished));
  });
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  const reader = get(docs + PAGE).on('error', () => {});
  await until(() => callboard.requests.length === 1);
  reader.destroy();
  await until(() => closed.length === 1);
  assert.deepEqual(closed, [false]);
  assert.deepEqual(lines, []);
});

test('a reader who leaves in the middle ends the request', async t => {
  const closed = [];
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    res.write('first');
    res.on('close', () => closed.push(res.writableFinished));
  });
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  const reader = get(docs + PAGE).on('error', () => {});
  const [res] = await once(reader, 'response');
  res.on('error', () => {});
  reader.destroy();
  await until(() => closed.length === 1);
  assert.deepEqual(closed, [false]);
  assert.deepEqual(lines, []);
});

for (const [how, head] of [
  ['with a length', 'Content-Length: 100\r\n\r\nhello'],
  ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
]) {
  test(`an answer ${how} that breaks off breaks the reader's connection`, async t => {
    const callboard = await scriptedSocket(t, socket => {
      socket.end(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${head}`);
    });
    const { docs, lines } = await backend(t, { baseUrl: callboard.url });
    const { complete, text } = await read(docs + PAGE);
    assert.deepEqual([complete, text], [false, 'hello']);
    assert.equal(lines.length, 1);
    assert.match(lines[0].message, /broke an answer off/);
    assert.equal(
      callboard.sockets.length,
      1,
      'what has begun is not asked for again',
    );
  });
}

test("an answer that stops in the middle breaks the reader's connection after the timeout", async t => {
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 100 });
    res.write('hello');
  });
  const { docs } = await backend(t, { baseUrl: callboard.url, timeout: 200 });
  const { complete, text } = await read(docs + PAGE);
  assert.deepEqual([complete, text], [false, 'hello']);
});

test('a backend that stops finishes what it has begun', async t => {
  let finish;
  const callboard = await scriptedCallboard(t, (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain' });
    res.write('first');
    finish = () => res.end('last');
  });
  const { docs, hooks } = await backend(t, { baseUrl: callboard.url });
  const [res] = await once(get(docs + PAGE), 'response');
  const stopped = Promise.all(hooks.map(hook => hook()));
  let text = '';
  res.on('data', chunk => (text += chunk));
  finish();
  await once(res, 'end');
  await stopped;
  assert.equal(text, 'firstlast');
});

test('header values beyond ASCII arrive as they were sent', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, { baseUrl: callboard.url });
  await read(docs + PAGE, { headers: { 'if-none-match': '"\x80\xff"' } });
  assert.equal(callboard.requests[0].headers['if-none-match'], '"\x80\xff"');
});
