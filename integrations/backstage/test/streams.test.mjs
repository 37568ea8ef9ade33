import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { backend, listening, scriptedCallboard } from './support/stage.mjs';
import { read, until } from './support/reader.mjs';

const PAGE = '/default/component/shop/index.html';

/** A server that speaks bytes: `script` gets each connection's request, as text, and its number. */
async function scriptedSocket(t, script) {
  const sockets = [];
  const server = createServer(socket => {
    sockets.push(socket);
    const number = sockets.length;
    let count = 0;
    socket.on('error', () => {});
    socket.on('data', data => {
      count += 1;
      script(socket, {
        text: data.toString('latin1'),
        connection: number,
        request: count,
      });
    });
  });
  t.after(() => sockets.forEach(socket => socket.destroy()));
  const port = await listening(t, server);
  return { url: `http://127.0.0.1:${port}`, sockets };
}

const OK =
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello';

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

test('connections are used again', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, { baseUrl: callboard.url });
  const before = callboard.connections();
  for (let i = 0; i < 5; i++) {
    await read(docs + PAGE);
  }
  assert.ok(callboard.connections() - before <= 1);
});

test('a request on a connection that ends just then is sent once more on another', async t => {
  const callboard = await scriptedSocket(
    t,
    (socket, { connection, request }) => {
      if (connection === 1 && request === 2) {
        socket.destroy();
      } else {
        socket.write(OK);
      }
    },
  );
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  assert.equal((await read(docs + PAGE)).text, 'hello');
  assert.equal((await read(docs + PAGE)).text, 'hello');
  assert.equal(callboard.sockets.length, 2);
  assert.deepEqual(lines, []);
});

test('readers whose connections all end at once are all answered', async t => {
  const waiting = [];
  const rounds = [
    // Ten connections that have worked, since each answer waits for all requests.
    socket => socket.write(OK),
    socket => socket.resetAndDestroy(),
  ];
  const callboard = await scriptedSocket(t, socket => {
    waiting.push(socket);
    if (rounds.length === 0) {
      socket.write(OK);
    } else if (waiting.length === 10) {
      waiting.splice(0).forEach(rounds.shift());
    }
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => read(docs + PAGE)),
    );
    assert.deepEqual(
      answers.map(({ text }) => text),
      Array(10).fill('hello'),
    );
  }
  assert.equal(rounds.length, 0);
});

test('a request on a fresh connection is sent once', async t => {
  const callboard = await scriptedSocket(t, socket => socket.destroy());
  const { docs } = await backend(t, { baseUrl: callboard.url });
  assert.equal((await read(docs + PAGE)).status, 502);
  assert.equal(callboard.sockets.length, 1);
});

test('a request is not sent a third time', async t => {
  let isDown = false;
  const callboard = await scriptedSocket(t, socket => {
    if (isDown) {
      socket.destroy();
    } else {
      socket.write(OK);
    }
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  assert.equal((await read(docs + PAGE)).status, 200);
  isDown = true;
  assert.equal((await read(docs + PAGE)).status, 502);
  assert.equal(callboard.sockets.length, 2);
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

test('beyond what may wait for a connection requests are turned away, and places of those who left are free again', async t => {
  const held = [];
  const callboard = await scriptedCallboard(t, (_req, res) => held.push(res));
  const { docs, publisher } = await backend(t, { baseUrl: callboard.url });
  const ask = () =>
    publisher.fetchTechDocsMetadata({ kind: 'c', namespace: 'd', name: 'e' });
  const waiting = Array.from({ length: 4096 }, () =>
    ask().catch(error => error),
  );
  await until(() => held.length === 256);
  const { status, text } = await read(docs + PAGE);
  assert.equal(status, 503);
  assert.match(text, /Too many requests are waiting/);
  assert.equal(
    callboard.requests.length,
    256,
    'there are so many connections at a time',
  );

  callboard.server.closeAllConnections();
  callboard.server.on('request', (_req, res) => res.end('{}'));
  const ended = setInterval(() => callboard.server.closeAllConnections(), 20);
  await Promise.all(waiting);
  clearInterval(ended);
  callboard.server.removeAllListeners('request');
  callboard.server.on('request', (_req, res) => res.end('hello'));
  assert.equal((await read(docs + PAGE)).text, 'hello');
});

test('header values beyond ASCII arrive as they were sent', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, { baseUrl: callboard.url });
  await read(docs + PAGE, { headers: { 'if-none-match': '"\x80\xff"' } });
  assert.equal(callboard.requests[0].headers['if-none-match'], '"\x80\xff"');
});
