// tokens.json: recipes for tokens, how they are presented, and the verdict.
//
// No token and no key is written down: recipes name keys that whoever runs them
// makes first (see tests/vectors/README.md). This generator does so too, serves
// the public halves, mints every recipe and shows it to a plugin of the published
// backend-defaults, with its real auth, httpAuth and httpRouter services, under
// the id `techdocs`. That is `upstream`. Where it and what token-recipes.mjs
// expects disagree there has to be a reason, where they agree there must be none,
// or the generator fails.

import http from 'node:http';
import { connect } from 'node:net';
import express from 'express';
import { authServiceFactory } from '@backstage/backend-defaults/auth';
import { HostDiscovery } from '@backstage/backend-defaults/discovery';
import { httpAuthServiceFactory } from '@backstage/backend-defaults/httpAuth';
import { httpRouterServiceFactory } from '@backstage/backend-defaults/httpRouter';
import { ConfigReader } from '@backstage/config';
import { silent, versions, writeVectors } from './lib.mjs';
import { fill, mint, published } from './mint.mjs';
import {
  badSettings,
  bearer,
  DEFAULTS,
  ENDPOINTS,
  KEYS,
  REASONS,
  recipes,
  SECRETS,
} from './token-recipes.mjs';

const listen = handler =>
  new Promise(done => {
    // Room for long tokens; what node does with headers is not what is asked here.
    const server = http.createServer({ maxHeaderSize: 64 * 1024 }, handler);
    server.listen(0, '127.0.0.1', () => done(server));
  });

const jwksServer = await listen((req, res) => {
  const keys = Object.hasOwn(ENDPOINTS, req.url) && ENDPOINTS[req.url];
  res.writeHead(keys ? 200 : 404, { 'content-type': 'application/json' });
  res.end(JSON.stringify(keys ? { keys: keys.map(published) } : { error: 'not found' }));
});
const jwksPort = jwksServer.address().port;
const base = `http://127.0.0.1:${jwksPort}`;

/** A plugin with the id techdocs, made of the published services. */
async function startUpstream(settings) {
  const { externalAccess, keys, disableDefaultAuthPolicy } = fill(settings, base);
  const config = new ConfigReader({
    backend: {
      baseUrl: base,
      listen: { host: '127.0.0.1', port: jwksPort },
      auth: {
        externalAccess,
        keys,
        dangerouslyDisableDefaultAuthPolicy: disableDefaultAuthPolicy,
      },
    },
  });
  const discovery = HostDiscovery.fromConfig(config);
  const plugin = { getId: () => 'techdocs' };
  const auth = await authServiceFactory.factory({
    config,
    discovery,
    plugin,
    logger: silent,
    // Holds the plugin's own keys, and this one never mints.
    database: { getClient: async () => () => ({ select: async () => [] }), migrations: { skip: true } },
    pluginTokenHandlerDecorator: handler => handler,
    externalTokenHandlers: [],
  });
  const httpAuth = await httpAuthServiceFactory.factory({ auth, discovery, plugin });
  const app = express();
  const router = await httpRouterServiceFactory.factory({
    auth,
    httpAuth,
    config,
    plugin,
    logger: silent,
    lifecycle: { addStartupHook: hook => hook(), addShutdownHook() {} },
    rootHttpRouter: { use: (path, handler) => app.use(path, handler) },
  });
  const answer = options => async (req, res, next) => {
    try {
      const { principal } = await httpAuth.credentials(req, options);
      res.json({ principal });
    } catch (error) {
      next(error);
    }
  };
  const routes = express.Router();
  routes.get('/static', answer({ allowLimitedAccess: true }));
  routes.get('/metadata', answer());
  router.use(routes);
  // As techdocs-backend has it.
  router.addAuthPolicy({ path: '/static', allow: 'user-cookie' });
  return listen(app);
}

/** Headers go out as they are written: several of a name, and odd white space. */
function request(server, route, headers) {
  return new Promise((done, fail) => {
    const socket = connect(server.address().port, '127.0.0.1');
    let answer = '';
    socket.on('error', fail);
    socket.on('data', data => (answer += data));
    socket.on('end', () => {
      const [head, body] = answer.split('\r\n\r\n');
      done({ status: Number(head.slice(9, 12)), body: JSON.parse(body) });
    });
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.write(`GET /api/techdocs/${route} HTTP/1.1\r\nHost: docs\r\nConnection: close\r\n${lines}\r\n`);
  });
}

async function runUpstream(server, { present = bearer, route = 'static', other, ...recipe }) {
  const token = mint(recipe, base);
  const otherToken = other && mint(other, base);
  const headers = present.map(([name, template]) => [
    name,
    template.replaceAll('{token}', token).replaceAll('{other}', otherToken),
  ]);
  const { status, body } = await request(server, route, headers);
  if (status !== 200) return { status, error: body.error.name, message: body.error.message };
  const { type, subject, userEntityRef, actor } = body.principal;
  const name = subject ?? userEntityRef;
  return { status, principal: type, ...(name && { subject: name }), ...(actor && { actor: actor.subject }) };
}

const servers = new Map();
async function upstreamFor(settings) {
  const key = JSON.stringify(settings);
  if (!servers.has(key)) servers.set(key, await startUpstream(settings));
  return servers.get(key);
}

const same = (upstream, expect) =>
  upstream.status === expect.status &&
  (upstream.status !== 200 || (upstream.subject === expect.subject && upstream.actor === expect.actor));

const results = [];
const complaints = [];
for (const { expect, differs, settings = {}, ...recipe } of recipes) {
  const upstream = await runUpstream(await upstreamFor({ ...DEFAULTS, ...settings }), recipe);
  const result = { ...recipe, settings, upstream, expect, ...(differs && { differs: REASONS[differs] }) };
  if (same(upstream, expect) === Boolean(differs) || (differs && !REASONS[differs])) {
    complaints.push(`${recipe.kind}, ${recipe.name}: ${JSON.stringify({ upstream, expect, differs })}`);
  }
  results.push(result);
}

const refused = [];
for (const { name, settings, differs } of badSettings) {
  let error;
  try {
    (await startUpstream({ ...DEFAULTS, ...settings })).close();
  } catch (thrown) {
    error = thrown.message.replaceAll(base, '{base}');
  }
  if (Boolean(error) === Boolean(differs)) {
    complaints.push(`settings, ${name}: ${error ?? 'upstream takes them'}`);
  }
  refused.push({ name, settings, ...(error ? { error } : { differs: REASONS[differs] }) });
}
for (const reason of Object.keys(REASONS)) {
  if (![...recipes, ...badSettings].some(({ differs }) => differs === reason)) {
    complaints.push(`the reason ${reason} is not needed`);
  }
}

if (complaints.length) {
  console.error(complaints.join('\n'));
  process.exit(1);
}

writeVectors(
  'tokens.json',
  {
    generator: 'tests/backstage/vectors/generate-tokens.mjs',
    packages: versions('@backstage/backend-defaults', '@backstage/plugin-auth-node', '@backstage/backend-defaults>jose', '@backstage/backend-defaults>cookie', '@backstage/backend-defaults>express'),
    keys: KEYS,
    endpoints: ENDPOINTS,
    secrets: SECRETS,
    defaults: DEFAULTS,
  },
  { recipes: results, badSettings: refused },
);
process.exit(0);
