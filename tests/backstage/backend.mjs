// A real Backstage backend, as small as it gets, for tests that want tokens
// which Backstage itself minted and a JWKS which Backstage itself serves.
//
//   node backend.mjs            (PORT=… for a fixed port, 0 or nothing for a free one)
//   node backend.mjs --config app-config.yaml --plugin plugin.mjs
//
// With --config, once or more often, it is configured by those files as any
// backend is, port included; each --plugin adds a plugin by its default export.
//
// Prints one line of JSON to stdout once it is up and exits when stdin closes,
// so that a test which dies takes its backend along. Logs go to stderr.
//
//   GET /api/{plugin}/mint?audience=callboard            {"token"}: a plugin token
//   GET /api/{plugin}/mint?audience=…&obo=user:default/j {"token"}: …on behalf of that user
//   GET /api/{plugin}/whoami                             {"principal"} behind the caller's credentials
//   GET /api/auth/mint?user=user:default/j               {"token","limited"}: a user token, and what its cookie holds
//
// {plugin} is techdocs, catalog or scaffolder. Keys are served where Backstage
// serves them: /api/{plugin}/.backstage/auth/v1/jwks.json, and for users
// /api/auth/.well-known/jwks.json.
//
// KEYS_FILE=… keeps the plugins' public keys in that file in place of memory.
// Backends that share one are replicas of each other; a backend started again
// signs with new keys while the old ones stay published: a rotation.

import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createBackend } from '@backstage/backend-defaults';
import {
  coreServices,
  createBackendPlugin,
  createServiceFactory,
} from '@backstage/backend-plugin-api';
import { ConfigReader } from '@backstage/config';
import { ConfigSources, FileConfigSource } from '@backstage/config-loader';
import express from 'express';
import { createUserIssuer } from './users.mjs';

const PLUGINS = ['techdocs', 'catalog', 'scaffolder'];

/** Stdout carries the ready line and nothing else. */
const logger = {
  error: (message, meta) => console.error('error:', message, meta ?? ''),
  warn: (message, meta) => console.error('warn:', message, meta ?? ''),
  info: () => {},
  debug: () => {},
  child: () => logger,
};

/**
 * The one table that the auth service keeps its keys in, in place of a real
 * database: better-sqlite3 would have to be compiled first. This answers just
 * the queries of backend-defaults' DatabaseKeyStore.
 */
function keyTable(pluginId) {
  const file = process.env.KEYS_FILE;
  let memory = {};
  const load = () =>
    file && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : memory;
  const store = all => {
    memory = all;
    if (file) {
      // Other backends may be reading: never show them half a file.
      writeFileSync(`${file}.${process.pid}`, JSON.stringify(all));
      renameSync(`${file}.${process.pid}`, file);
    }
  };
  const rows = () => load()[pluginId] ?? [];
  return () => ({
    select: async () => rows(),
    insert: async row => store({ ...load(), [pluginId]: [...rows(), row] }),
    delete: () => ({
      whereIn: async (column, values) =>
        store({ ...load(), [pluginId]: rows().filter(row => !values.includes(row[column])) }),
    }),
  });
}

/** Discovery needs the port in the configuration before anything listens. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address();
  await new Promise(resolve => server.close(resolve));
  return port;
}

/** The files' configuration, or one for a port of its own. */
async function readConfig(files) {
  if (files.length > 0) {
    const sources = files.map(path => FileConfigSource.create({ path: resolve(path), watch: false }));
    return ConfigSources.toConfig(ConfigSources.merge(sources));
  }
  const port = Number(process.env.PORT || 0) || (await freePort());
  return new ConfigReader({
    app: { baseUrl: 'http://127.0.0.1:3000' },
    backend: { baseUrl: `http://127.0.0.1:${port}`, listen: { host: '127.0.0.1', port } },
  });
}

const { values: told } = parseArgs({
  options: {
    config: { type: 'string', multiple: true, default: [] },
    plugin: { type: 'string', multiple: true, default: [] },
  },
});
const config = await readConfig(told.config);
const baseUrl = config.getString('backend.baseUrl');
const users = await createUserIssuer(`${baseUrl}/api/auth`);

const backend = createBackend();
backend.add(
  createServiceFactory({
    service: coreServices.rootConfig,
    deps: {},
    factory: () => config,
  }),
);
backend.add(
  createServiceFactory({
    service: coreServices.rootLogger,
    deps: {},
    factory: () => logger,
  }),
);
backend.add(
  createServiceFactory({
    service: coreServices.database,
    deps: { plugin: coreServices.pluginMetadata },
    factory: ({ plugin }) => ({
      getClient: async () => keyTable(plugin.getId()),
      migrations: { skip: true },
    }),
  }),
);

for (const pluginId of PLUGINS) {
  backend.add(
    createBackendPlugin({
      pluginId,
      register(env) {
        env.registerInit({
          deps: {
            auth: coreServices.auth,
            http: coreServices.httpRouter,
            httpAuth: coreServices.httpAuth,
          },
          async init({ auth, http, httpAuth }) {
            const router = express.Router();
            router.get('/mint', async (req, res, next) => {
              try {
                const { audience, obo } = req.query;
                const onBehalfOf = obo
                  ? await auth.authenticate((await users.issue(obo)).token)
                  : await auth.getOwnServiceCredentials();
                res.json(
                  await auth.getPluginRequestToken({ onBehalfOf, targetPluginId: audience }),
                );
              } catch (error) {
                next(error);
              }
            });
            router.get('/whoami', async (req, res, next) => {
              try {
                const { principal } = await httpAuth.credentials(req, {
                  allow: ['user', 'service'],
                  allowLimitedAccess: true,
                });
                res.json({ principal });
              } catch (error) {
                next(error);
              }
            });
            http.use(router);
            http.addAuthPolicy({ path: '/mint', allow: 'unauthenticated' });
            // As techdocs-backend does for /static, so that cookies can be tried.
            http.addAuthPolicy({ path: '/whoami', allow: 'user-cookie' });
          },
        });
      },
    }),
  );
}

// plugin-auth-backend needs a real database and many providers; what a reader of
// tokens sees of it is its JWKS and its tokens, and users.mjs makes those alike.
backend.add(
  createBackendPlugin({
    pluginId: 'auth',
    register(env) {
      env.registerInit({
        deps: { http: coreServices.httpRouter },
        async init({ http }) {
          const router = express.Router();
          router.get('/.well-known/jwks.json', (_req, res) => {
            res.json(users.jwks);
          });
          router.get('/mint', (req, res, next) => {
            users.issue(req.query.user).then(issued => res.json(issued), next);
          });
          http.use(router);
          http.addAuthPolicy({ path: '/.well-known', allow: 'unauthenticated' });
          http.addAuthPolicy({ path: '/mint', allow: 'unauthenticated' });
        },
      });
    },
  }),
);

for (const path of told.plugin) {
  backend.add(import(pathToFileURL(resolve(path)).href));
}

process.stdin.resume();
process.stdin.on('error', () => {});
process.stdin.on('end', () => process.exit(0));
process.stdin.on('close', () => process.exit(0));

try {
  await backend.start();
} catch (error) {
  console.error(error);
  process.exit(1);
}
const port = Number(new URL(baseUrl).port);
console.log(JSON.stringify({ ready: true, port, baseUrl, plugins: PLUGINS }));
