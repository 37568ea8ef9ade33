// One release of Backstage with the Callboard module in it; see releases.sh.
//
//   node releases.mjs describe <folder> <sqlite>   writes package.json from manifest.json
//   node releases.mjs without <folder> <package>   does without a version that the registry lacks
//   node releases.mjs try                          starts it here with a Callboard, in each of WAYS
//   node releases.mjs once <way>                   starts it once, and reads as a reader does
//
// What it starts is as small as TechDocs allows: catalog, auth with the guest
// provider, techdocs. It uses what every release since 1.30 has.

import { spawn, spawnSync } from 'node:child_process';
import { once as event } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODULE = '@callboard/backstage-plugin-techdocs-backend-module-callboard';

/** What `techdocs.callboard` may say. */
const WAYS = { plain: {}, obo: { onBehalfOfUser: true }, fallback: { fallback: true } };

const named = name => `@backstage/${name}`;

/** What the module meets: without the release's own, the release is not tried. */
const MET = ['backend-defaults', 'backend-plugin-api', 'plugin-techdocs-backend', 'plugin-techdocs-node'].map(named);

/** What stands around it. The rest of a release comes along. */
const AROUND = ['plugin-auth-backend', 'plugin-auth-backend-module-guest-provider', 'plugin-catalog-backend'].map(named);

function describe(folder, sqlite) {
  const { releaseVersion, packages } = JSON.parse(read(folder, 'manifest.json'));
  const versions = Object.fromEntries(packages.map(({ name, version }) => [name, version]));
  // As sqlite/index.cjs has it, and under that name at once.
  const { libsql } = JSON.parse(read(sqlite, 'package.json')).dependencies;
  const dependencies = { 'better-sqlite3': `npm:libsql@${libsql}` };
  for (const name of [...MET, ...AROUND]) {
    dependencies[name] = versions[name];
    delete versions[name];
  }
  write(folder, {
    name: 'callboard-release',
    version: releaseVersion,
    private: true,
    dependencies,
    // As yarn's `backstage:^` has it: everything as the release has it, however deep.
    overrides: versions,
  });
}

function without(folder, missing) {
  const description = JSON.parse(read(folder, 'package.json'));
  const name = missing.slice(0, missing.lastIndexOf('@'));
  if (AROUND.includes(name) && !description.dependencies[name].startsWith('^')) {
    description.dependencies[name] = `^${description.dependencies[name]}`;
  } else if (name in description.overrides) {
    delete description.overrides[name];
  } else {
    process.exit(1);
  }
  write(folder, description);
}

const read = (folder, name) => readFileSync(join(folder, name), 'utf8');
const write = (folder, description) =>
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(description, null, 2)}\n`);

async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await event(server, 'listening');
  const { port } = server.address();
  server.close();
  await event(server, 'close');
  return port;
}

/** A site, the catalog that knows it, and the configuration of both programs. */
async function prepare(way) {
  const folder = mkdtempSync(join(tmpdir(), 'callboard-release-'));
  const site = join(folder, 'sites/default/component/shop');
  mkdirSync(site, { recursive: true });
  writeFileSync(join(site, 'index.html'), '<h1>Shop</h1>');
  writeFileSync(join(site, 'techdocs_metadata.json'), '{"site_name":"Shop","files":["index.html"]}');
  const catalog = ['shop', 'empty'].map(name => ({
    apiVersion: 'backstage.io/v1alpha1',
    kind: 'Component',
    metadata: { name, annotations: { 'backstage.io/techdocs-ref': 'dir:.' } },
    spec: { type: 'website', lifecycle: 'production', owner: 'guests' },
  }));
  writeFileSync(join(folder, 'catalog.yaml'), catalog.map(entity => JSON.stringify(entity)).join('\n---\n'));
  const [port, callboard, admin] = [await freePort(), await freePort(), await freePort()];
  const config = {
    app: { baseUrl: `http://127.0.0.1:${port}` },
    backend: {
      baseUrl: `http://127.0.0.1:${port}`,
      listen: { host: '127.0.0.1', port },
      database: { client: 'better-sqlite3', connection: ':memory:' },
    },
    auth: { providers: { guest: { dangerouslyAllowOutsideDevelopment: true } } },
    catalog: { locations: [{ type: 'file', target: join(folder, 'catalog.yaml') }] },
    techdocs: {
      builder: 'external',
      publisher: { type: 'local', local: { publishDirectory: join(folder, 'sites') } },
      callboard: { baseUrl: `http://127.0.0.1:${callboard}`, timeout: 5000, ...WAYS[way] },
    },
    callboard: {
      listen: `127.0.0.1:${callboard}`,
      admin: { listen: `127.0.0.1:${admin}` },
      limits: { drainDelay: '0s' },
    },
  };
  // JSON is YAML too.
  writeFileSync(join(folder, 'app-config.yaml'), JSON.stringify(config));
  return { folder, base: config.backend.baseUrl, callboard: config.techdocs.callboard.baseUrl };
}

/** Asks until `good` is content with an answer, or with an error. */
async function until(url, options, good) {
  for (;;) {
    const answer = await fetch(url, options).catch(() => undefined);
    if (answer && (await good(answer))) {
      return answer;
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

async function startBackend(config) {
  process.argv.push('--config', config);
  const require = createRequire(import.meta.url);
  const { createBackend } = require('@backstage/backend-defaults');
  const backend = createBackend();
  for (const name of ['auth-backend', 'auth-backend-module-guest-provider', 'catalog-backend', 'techdocs-backend']) {
    const plugin = require(`@backstage/plugin-${name}`);
    // Where old releases have the plugin of the new backend system.
    backend.add(Promise.resolve(plugin.default ? plugin : require(`@backstage/plugin-${name}/alpha`)));
  }
  backend.add(Promise.resolve(require(MODULE)));
  await backend.start();
}

/** Everything that a reader does, and what came of it: nothing where it is as it should be. */
async function* differences(way, base, stopCallboard) {
  const session = await until(`${base}/api/auth/guest/refresh`, {}, answer => answer.ok);
  const { token } = (await session.json()).backstageIdentity;
  const bearer = { Authorization: `Bearer ${token}` };
  await until(`${base}/api/catalog/entities`, { headers: bearer }, async answer => {
    const entities = await answer.json();
    return ['shop', 'empty'].every(name => entities.some(({ metadata }) => metadata.name === name));
  });
  const techdocs = `${base}/api/techdocs`;
  const signedIn = await fetch(`${techdocs}/.backstage/auth/v1/cookie`, { headers: bearer });
  const cookie = { Cookie: signedIn.headers.get('set-cookie')?.split(';')[0] };
  const page = `${techdocs}/static/docs/default/component/shop/index.html`;
  const get = async (url, headers) => {
    const answer = await fetch(url, { headers });
    return { status: answer.status, text: await answer.text(), headers: answer.headers };
  };

  for (const [who, headers] of Object.entries({ bearer, cookie })) {
    const { status, text, headers: told } = await get(page, headers);
    if (status !== 200 || text !== '<h1>Shop</h1>') {
      yield `page with ${who}: ${status} ${text}`;
    } else if (!told.get('cache-status')?.startsWith('callboard;')) {
      yield `page with ${who}: not from Callboard`;
    }
    const known = await get(page, { ...headers, 'If-None-Match': told.get('etag') ?? '"none"' });
    if (known.status !== 304) {
      yield `known page with ${who}: ${known.status}`;
    }
  }
  const metadata = await get(`${techdocs}/metadata/techdocs/default/component/shop`, bearer);
  if (metadata.status !== 200 || JSON.parse(metadata.text).site_name !== 'Shop') {
    yield `metadata: ${metadata.status} ${metadata.text}`;
  }
  for (const [what, path, wanted] of [
    ['absent file', 'static/docs/default/component/shop/absent.html', 404],
    ['absent site', 'static/docs/default/component/empty/index.html', 404],
    ['absent metadata', 'metadata/techdocs/default/component/empty', 404],
  ]) {
    const { status, text } = await get(`${techdocs}/${path}`, bearer);
    if (status !== wanted) {
      yield `${what}: ${status} ${text}`;
    }
  }
  const sync = await get(`${techdocs}/sync/default/component/shop`, bearer);
  if (sync.status !== 200 || !/event: finish\s+data: \{"updated":false\}/.test(sync.text)) {
    yield `sync: ${sync.status} ${sync.text}`;
  }
  const stranger = await get(page, {});
  if (stranger.status !== 401) {
    yield `page without a token: ${stranger.status}`;
  }
  await stopCallboard();
  const down = await get(page, bearer);
  const told = down.status >= 500 && down.text.includes('Callboard');
  const shown = down.status === 200 && down.text === '<h1>Shop</h1>';
  if (way === 'fallback' ? !shown : !told) {
    yield `page while Callboard is down: ${down.status} ${down.text}`;
  }
}

async function once(way) {
  const { folder, base, callboard } = await prepare(way);
  const config = join(folder, 'app-config.yaml');
  const proxy = spawn(process.env.CALLBOARD, ['--config', config], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = event(proxy, 'exit');
  process.on('exit', () => proxy.kill());
  await until(`${callboard}/.backstage/health/v1/readiness`, {}, answer => answer.ok);
  // Its log goes where it may, and what came of it alone to stdout.
  const say = process.stdout.write.bind(process.stdout);
  process.stdout.write = process.stderr.write.bind(process.stderr);
  await startBackend(config);
  const found = [];
  for await (const difference of differences(way, base, () => proxy.kill() && ended)) {
    found.push(`${way}: ${difference.replaceAll(/\s+/g, ' ').slice(0, 300)}`);
  }
  rmSync(folder, { recursive: true });
  say(found.join('; '), () => process.exit(found.length > 0 ? 1 : 0));
}

/** How many of its packages are there as the release has them. */
function asReleased() {
  const { packages } = JSON.parse(read('.', 'manifest.json'));
  const versions = new Map(packages.map(({ name, version }) => [name, version]));
  const installed = Object.entries(JSON.parse(read('node_modules', '.package-lock.json')).packages)
    .map(([path, { version }]) => [path.split('node_modules/').at(-1), version])
    .filter(([name]) => versions.has(name));
  const same = installed.filter(([name, version]) => versions.get(name) === version);
  return `${same.length} of ${installed.length} packages as released`;
}

const [task, ...rest] = process.argv.slice(2);
if (task === 'describe') {
  describe(...rest);
} else if (task === 'without') {
  without(...rest);
} else if (task === 'once') {
  await once(...rest);
} else {
  const found = [];
  for (const way of Object.keys(WAYS)) {
    const { status, stdout } = spawnSync(process.execPath, [process.argv[1], 'once', way], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (status !== 0) {
      found.push(stdout.toString() || `${way}: did not start`);
    }
  }
  console.log(`${found.join('; ') || `ok (${Object.keys(WAYS).join(', ')})`}; ${asReleased()}`);
  process.exitCode = found.length > 0 ? 1 : 0;
}
