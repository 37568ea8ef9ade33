// The module as a backend runs it, between a reader and a scripted Callboard.
//
// Everything is wired by the module itself; what a backend has around it is
// Express with Backstage's own order of middleware, and services that mint
// tokens without keys.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { createRequire } from 'node:module';
import compression from 'compression';
import express from 'express';
import { ConfigReader } from '@backstage/config';

const require = createRequire(import.meta.url);
const { default: callboardModule } = require('../..');

/** A server on a port of its own that ends with the test. */
export async function listening(t, server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections?.();
    server.close();
  });
  return server.address().port;
}

/**
 * A server that answers as the test says and keeps what it was asked.
 *
 * @param answer - `(req, res, count)`; 200 with a small document, if left out
 */
export async function scriptedCallboard(t, answer = document) {
  const requests = [];
  const server = createServer((req, res) => {
    if (req.url.startsWith('/.backstage/health/v1/')) {
      res.end('{"status":"ok"}');
      return;
    }
    requests.push({ method: req.method, url: req.url, headers: req.headers });
    answer(req, res, requests.length);
  });
  let connections = 0;
  server.on('connection', () => (connections += 1));
  const port = await listening(t, server);
  return {
    server,
    port,
    url: `http://127.0.0.1:${port}`,
    requests,
    connections: () => connections,
  };
}

/** A server that speaks bytes: `script` gets each connection's request, as text, and its number. */
export async function scriptedSocket(t, script) {
  const sockets = [];
  const server = createSocketServer(socket => {
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

/** An address that refuses connections until something is started there. */
export async function absentCallboard(t, answer = document) {
  const held = createServer();
  held.listen(0, '127.0.0.1');
  await once(held, 'listening');
  const { port } = held.address();
  held.close();
  await once(held, 'close');
  return {
    url: `http://127.0.0.1:${port}`,
    async start() {
      const requests = [];
      const server = createServer((req, res) => {
        requests.push(req.url);
        answer(req, res);
      });
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => {
        server.closeAllConnections();
        server.close();
      });
      return requests;
    },
  };
}

/** From now on a second passes in the time of twenty milliseconds, for what looks at the clock. */
export function hurry(t) {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const tick = setInterval(() => t.mock.timers.tick(1_000), 20);
  t.after(() => clearInterval(tick));
}

export function document(_req, res) {
  res.writeHead(200, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': 5,
  });
  res.end('hello');
}

/** An error as Callboard itself tells it. */
export function callboardError(res, status, message, headers = {}) {
  res.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  });
  res.end(
    JSON.stringify({
      error: { name: 'SomeError', message },
      response: { statusCode: status },
    }),
  );
}

/** Services of a backend; what they were asked for is kept. */
export function services(config) {
  const lines = [];
  const log = level => (message, meta) => lines.push({ level, message, meta });
  const minted = [];
  const auth = {
    lifeSeconds: 3600,
    typ: 'vnd.backstage.plugin',
    async getOwnServiceCredentials() {
      return { principal: { type: 'service', subject: 'plugin:techdocs' } };
    },
    isPrincipal: (credentials, type) => credentials.principal.type === type,
    async getPluginRequestToken({ onBehalfOf, targetPluginId }) {
      const number = minted.length + 1;
      minted.push({ onBehalfOf: onBehalfOf.principal, targetPluginId });
      return {
        token: jwt(
          auth.typ,
          { aud: targetPluginId, n: number },
          auth.lifeSeconds,
        ),
      };
    },
  };
  const hooks = [];
  return {
    lines,
    minted,
    hooks,
    auth,
    httpAuth: {
      async credentials(req) {
        const user = req.headers['x-test-user'];
        return user
          ? { principal: { type: 'user', userEntityRef: user } }
          : { principal: { type: 'service', subject: 'external:script' } };
      },
    },
    config: new ConfigReader(config),
    logger: {
      error: log('error'),
      warn: log('warn'),
      info: log('info'),
      debug: log('debug'),
    },
    discovery: {
      getBaseUrl: async id => `http://backstage/api/${id}`,
      getExternalBaseUrl: async id => `http://backstage/api/${id}`,
    },
    lifecycle: { addShutdownHook: hook => hooks.push(hook) },
  };
}

/** A token that says what a plugin token says; nobody here checks signatures. */
export function jwt(typ, claims, lifeSeconds) {
  const part = value =>
    Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + lifeSeconds;
  return [
    part({ typ, alg: 'ES256' }),
    part({ sub: 'techdocs', exp, ...claims }),
    'signature',
  ].join('.');
}

/** What is in a token that {@link jwt} made. */
export function claimsOf(request) {
  const [scheme, token] = request.headers.authorization.split(' ');
  if (scheme !== 'Bearer') {
    throw new Error(`${scheme} is not Bearer`);
  }
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
}

/** Starts the module; what it registers is the publisher of the backend. */
export async function publisherOf(given) {
  const [{ init }] = callboardModule.getRegistrations();
  const { lines, minted, hooks, ...deps } = given;
  let publisher;
  await init.func({
    ...deps,
    publishers: {
      registerPublisher: (_type, registered) => (publisher = registered),
    },
  });
  return publisher;
}

/**
 * A backend with the module in it.
 *
 * @param callboard - `techdocs.callboard`
 * @param techdocs - the rest of `techdocs`
 */
export async function backend(
  t,
  callboard,
  { techdocs = {}, adjust = () => {} } = {},
) {
  const given = services({
    techdocs: { builder: 'external', ...techdocs, callboard },
  });
  adjust(given);
  const publisher = await publisherOf(given);
  t.after(() => Promise.all(given.hooks.map(hook => hook())));

  /** The entities that techdocs-backend asked permission for, as its middleware finds them. */
  const asked = [];
  const techdocsRouter = express.Router();
  techdocsRouter.use(
    '/static/docs/:namespace/:kind/:name',
    (req, _res, next) => {
      asked.push({ ...req.params });
      next();
    },
  );
  techdocsRouter.use('/static/docs', publisher.docsRouter());
  const app = express();
  app.use((_req, res, next) => {
    res.setHeader('X-Frame-Options', 'SAMEORIGIN');
    res.setHeader('Vary', 'Origin');
    next();
  });
  app.use(compression());
  app.use('/api/techdocs', techdocsRouter);
  app.use((_req, res) => res.status(404).end('no such route'));
  app.use((error, _req, res, _next) => {
    res
      .status(
        error.status ?? (error.name === 'AuthenticationError' ? 401 : 500),
      )
      .end(error.name);
  });
  const server = createServer(app);
  const port = await listening(t, server);
  return {
    ...given,
    publisher,
    asked,
    server,
    port,
    docs: `http://127.0.0.1:${port}/api/techdocs/static/docs`,
  };
}
