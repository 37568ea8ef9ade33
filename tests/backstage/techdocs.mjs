// A real Backstage backend with TechDocs in it, from the published packages:
// catalog, auth with the guest provider, the permission framework, techdocs,
// and where the configuration asks for them, Callboard's module, search and the app.
//
//   node techdocs.mjs --config a.yaml [--config b.yaml]
//
// The files are app-config files as any Backstage reads them. On top of that:
//
//   techdocs.callboard          installs the Callboard module
//   app.packageName             serves that package's bundle with the app backend
//   search                      finds words in the documentation, which it reads as any reader does
//   backend.listen.port         0 or nothing for a free one; `backend.baseUrl`, where it is
//                               not given, is then where this backend listens
//   rig.denied: [name, …]       entities of these names are nobody's to read
//   rig.builds: always          has techdocs-backend build whatever is read, whoever should
//
// Prints one line of JSON to stdout once everything in `catalog.locations` is in
// the catalog, and exits when stdin closes, so that a test which dies takes its
// backend along. What it logs goes to the file that `rig.log` names, or else, as
// far as it is a warning or an error, to stderr.
//
// Whatever the module does for TechDocs is done with what a user would have:
// sign in at /api/auth/guest/refresh, get a cookie at
// /api/techdocs/.backstage/auth/v1/cookie.

import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { inspect } from 'node:util';
import { createBackend } from '@backstage/backend-defaults';
import {
  coreServices,
  createBackendModule,
  createBackendPlugin,
  createServiceFactory,
} from '@backstage/backend-plugin-api';
import { ConfigSources, StaticConfigSource } from '@backstage/config-loader';
import {
  catalogConditions,
  createCatalogConditionalDecision,
} from '@backstage/plugin-catalog-backend/alpha';
import { catalogServiceRef } from '@backstage/plugin-catalog-node';
import { AuthorizeResult } from '@backstage/plugin-permission-common';
import { policyExtensionPoint } from '@backstage/plugin-permission-node/alpha';
import { techdocsBuildsExtensionPoint } from '@backstage/plugin-techdocs-node';

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

/** What every such backend has, unless the files say otherwise. */
const DEFAULTS = {
  backend: {
    listen: { host: '127.0.0.1' },
    database: { client: 'better-sqlite3', connection: ':memory:' },
  },
  auth: { providers: { guest: { dangerouslyAllowOutsideDevelopment: true } } },
  catalog: { processingInterval: { hours: 1 } },
};

/** The configuration, with the addresses in it that are only known here. */
async function loadConfig() {
  const files = ConfigSources.default({ argv: process.argv, watch: false });
  const over = (first, ...others) =>
    ConfigSources.toConfig(
      ConfigSources.merge([StaticConfigSource.create({ data: first }), files, ...others]),
    );
  const asked = await over(DEFAULTS);
  const port = asked.getOptionalNumber('backend.listen.port') || (await freePort());
  const here = `http://127.0.0.1:${port}`;
  const baseUrl = asked.getOptionalString('backend.baseUrl') ?? here;
  const config = await over(
    DEFAULTS,
    StaticConfigSource.create({
      data: {
        app: { baseUrl: asked.getOptionalString('app.baseUrl') ?? baseUrl },
        backend: { baseUrl, listen: { port } },
      },
    }),
  );
  return { config, port, here, baseUrl };
}

const { config, port, here, baseUrl } = await loadConfig();
/** Stdout carries the ready line and nothing else. */
function createLogger(file) {
  const write = (level, message, meta) => {
    const line = `${level}: ${message} ${meta ? inspect(meta) : ''}\n`;
    if (file) {
      appendFileSync(file, line);
    } else if (level !== 'info') {
      process.stderr.write(line);
    }
  };
  const logger = {
    error: (message, meta) => write('error', message, meta),
    warn: (message, meta) => write('warn', message, meta),
    info: message => write('info', message),
    debug: () => {},
    child: () => logger,
  };
  return logger;
}

const logger = createLogger(config.getOptionalString('rig.log'));

/** Everybody may read everything but what `rig.denied` names. */
const policyModule = createBackendModule({
  pluginId: 'permission',
  moduleId: 'rig-policy',
  register(env) {
    env.registerInit({
      deps: { policy: policyExtensionPoint },
      async init({ policy }) {
        const denied = config.getOptionalStringArray('rig.denied') ?? [];
        policy.setPolicy({
          async handle({ permission }) {
            if (permission.resourceType !== 'catalog-entity' || denied.length === 0) {
              return { result: AuthorizeResult.ALLOW };
            }
            const [first, ...others] = denied.map(name => ({
              not: catalogConditions.hasMetadata({ key: 'name', value: name }),
            }));
            return createCatalogConditionalDecision(permission, { allOf: [first, ...others] });
          },
        });
      },
    });
  },
});

/** Does not ask who is to build. */
const buildsModule = createBackendModule({
  pluginId: 'techdocs',
  moduleId: 'rig-builds',
  register(env) {
    env.registerInit({
      deps: { builds: techdocsBuildsExtensionPoint },
      async init({ builds }) {
        builds.setBuildStrategy({ shouldBuild: async () => true });
      },
    });
  },
});

/** How many entities the files in `catalog.locations` declare. */
function declared() {
  const files = (config.getOptionalConfigArray('catalog.locations') ?? [])
    .filter(location => location.getString('type') === 'file')
    .map(location => readFileSync(location.getString('target'), 'utf8'));
  return files.join('\n').match(/^kind:/gm)?.length ?? 0;
}

/** Announces the backend once the catalog has all of them; it takes them in after the start. */
const announcer = createBackendPlugin({
  pluginId: 'rig',
  register(env) {
    env.registerInit({
      deps: {
        auth: coreServices.auth,
        catalog: catalogServiceRef,
        lifecycle: coreServices.rootLifecycle,
      },
      async init({ auth, catalog, lifecycle }) {
        const wanted = declared();
        const look = async () => {
          const credentials = await auth.getOwnServiceCredentials();
          const { items } = await catalog.getEntities({ fields: ['kind'] }, { credentials });
          if (items.filter(({ kind }) => kind !== 'Location').length < wanted) {
            setTimeout(look, 100);
            return;
          }
          console.log(JSON.stringify({ ready: true, port, url: here, baseUrl }));
        };
        lifecycle.addStartupHook(look);
      },
    });
  },
});

const backend = createBackend();
const instead = (service, value) =>
  backend.add(createServiceFactory({ service, deps: {}, factory: () => value }));
instead(coreServices.rootConfig, config);
instead(coreServices.rootLogger, logger);
backend.add(import('@backstage/plugin-auth-backend'));
backend.add(import('@backstage/plugin-auth-backend-module-guest-provider'));
backend.add(import('@backstage/plugin-catalog-backend'));
backend.add(import('@backstage/plugin-permission-backend'));
backend.add(policyModule);
backend.add(import('@backstage/plugin-techdocs-backend'));
backend.add(announcer);
if (config.has('techdocs.callboard')) {
  backend.add(import('@callboard/backstage-plugin-techdocs-backend-module-callboard'));
}
if (config.getOptionalString('rig.builds') === 'always') {
  backend.add(buildsModule);
}
if (config.has('search')) {
  backend.add(import('@backstage/plugin-search-backend'));
  backend.add(import('@backstage/plugin-search-backend-module-techdocs'));
}
if (config.has('app.packageName')) {
  backend.add(import('@backstage/plugin-app-backend'));
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
