import assert from 'node:assert/strict';
import { get } from 'node:http';
import { test } from 'node:test';
import {
  absentCallboard,
  backend,
  scriptedCallboard,
  scriptedSocket,
} from './support/stage.mjs';
import { read, until } from './support/reader.mjs';

const PAGE = '/default/component/shop/index.html';

const OK =
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello';

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

test('a Callboard that starts again in place answers those who asked meanwhile', async t => {
  const callboard = await absentCallboard(t);
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  const answers = Array.from({ length: 20 }, () => read(docs + PAGE));
  // That it was refused in between is not seen from here; after so long it was.
  await new Promise(resolve => setTimeout(resolve, 500));
  const requests = await callboard.start();
  for (const { text } of await Promise.all(answers)) {
    assert.equal(text, 'hello');
  }
  assert.equal(requests.length, 20);
  assert.deepEqual(lines, []);
});

test('once Callboard has been gone for a while, readers learn it at once, until it is back', async t => {
  let isDown = true;
  const callboard = await scriptedSocket(t, socket => {
    if (isDown) {
      socket.destroy();
    } else {
      socket.write(OK);
    }
  });
  const { docs } = await backend(t, { baseUrl: callboard.url });
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  assert.equal((await read(docs + PAGE)).status, 502);
  const patient = callboard.sockets.length;
  t.mock.timers.tick(3_000);
  assert.equal((await read(docs + PAGE)).status, 502);
  assert.equal(callboard.sockets.length, patient + 1);
  isDown = false;
  assert.equal((await read(docs + PAGE)).status, 200);
  isDown = true;
  assert.equal((await read(docs + PAGE)).status, 502);
  assert.ok(callboard.sockets.length > patient + 3);
});

test('a request whose connections keep ending is given up after a few', async t => {
  const callboard = await scriptedSocket(t, socket => socket.destroy());
  const { docs } = await backend(t, { baseUrl: callboard.url });
  assert.equal((await read(docs + PAGE)).status, 502);
  assert.equal(callboard.sockets.length, 4);
});

test('a reader who leaves while Callboard is waited for is forgotten', async t => {
  const callboard = await absentCallboard(t);
  const { docs, lines } = await backend(t, { baseUrl: callboard.url });
  const left = get(`${docs}/default/component/shop/left.html`).on(
    'error',
    () => {},
  );
  const stayed = read(`${docs}/default/component/shop/stayed.html`);
  await new Promise(resolve => setTimeout(resolve, 300));
  left.destroy();
  await new Promise(resolve => left.on('close', resolve));
  const requests = await callboard.start();
  assert.equal((await stayed).text, 'hello');
  assert.deepEqual(requests, [
    '/static/docs/default/component/shop/stayed.html',
  ]);
  assert.deepEqual(lines, []);
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
