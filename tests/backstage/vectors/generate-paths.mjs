// paths.json: from a request target to a storage key.
//
// `upstream` is what the published code does: techdocs-node's S3 publisher runs
// inside express the way techdocs-backend mounts it, gets the target over a plain
// socket so that no client tidies it up, and a middleware of the AWS SDK catches
// the key that would be asked for. `expect` is computed by `resolve` below, a
// second implementation written from BACKSTAGE.md §2. Where the two disagree
// there has to be a reason in `REASONS`, and the generator fails without one.

import { connect } from 'node:net';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import express from 'express';
import { MiddlewareFactory } from '@backstage/backend-defaults/rootHttpRouter';
import { ConfigReader } from '@backstage/config';
import { Publisher } from '@backstage/plugin-techdocs-node';
import promiseRouter from 'express-promise-router';
import { silent, versions, writeVectors } from './lib.mjs';

const Router = promiseRouter.default;

// ---------------------------------------------------------------- what we want

const REASONS = {
  target: 'RFC 3986 has no such character in a target, browsers encode it, and hyper answers 400 before we see it',
  escape: 'a malformed escape is 404; upstream lets the decoder throw and answers 500, or 400 on metadata',
  utf8: 'what is not UTF-8 is 404; upstream lets the decoder throw and answers 500, or 400 on metadata',
  control: 'NUL and control characters are 404; upstream passes them to storage',
  backslash: 'a backslash is 404; upstream takes it for a slash, or passes it on',
  slash: 'an encoded slash is 404; upstream keeps the escape in the key, or takes it for a slash',
  decoded: 'every escape is decoded, so such names can be read; upstream leaves reserved characters encoded',
  outside: 'what leaves the folder of the entity is 404; upstream only guards the bucket root',
  directory: 'a last segment of . or .. names a directory, which is 404; upstream asks storage',
  folder: 'a path that comes back to the folder of the entity is 404; upstream asks storage for the folder',
  dots: 'a triplet part of . or .. is 404; upstream resolves it',
  trailing: 'a path ending in / is 404 without asking storage; upstream asks for a key ending in /',
  nothing: 'a path with no file part is 404; upstream throws, or asks storage for the folder',
  empty: 'an empty triplet part is 404; upstream collapses it',
  route: 'our routes are case-sensitive; express ignores case',
  routeEmpty: 'an empty segment before the route makes it none of ours; express swallows one after the prefix',
  metadataSlash: 'a path ending in / is 404; express ignores one trailing slash',
  root: 'all slashes around bucketRootPath are stripped; upstream strips one on each side',
  dotted: 'a name that merely starts with two dots is a name; upstream takes it for the way out',
  bytes: 'bytes beyond ASCII are read as UTF-8; node refuses the request with 400',
};

class Refused extends Error {}
const refuse = code => {
  throw new Refused(code);
};

function decode(segment) {
  if (/%(?![0-9a-f]{2})/i.test(segment)) refuse('escape');
  const bytes = [];
  for (let i = 0; i < segment.length; ) {
    if (segment[i] === '%') {
      bytes.push(parseInt(segment.slice(i + 1, i + 3), 16));
      i += 3;
    } else {
      const char = String.fromCodePoint(segment.codePointAt(i));
      bytes.push(...Buffer.from(char, 'utf8'));
      i += char.length;
    }
  }
  let text;
  try {
    // A byte order mark is a part of the name like any other.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(bytes));
  } catch {
    refuse('utf8');
  }
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) refuse('control');
  if (text.includes('\\')) refuse('backslash');
  if (text.includes('/')) refuse('slash');
  return text;
}

function resolve(target, { bucketRootPath, legacyUseCaseSensitiveTripletPaths: legacy }) {
  if (/[<>`]/.test(target)) refuse('target');
  const path = target.replace(/\?.*$/s, '').replace(/^\/api\/(techdocs|callboard)(?=\/)/, '');
  const isStatic = path.startsWith('/static/docs/');
  const isMetadata = path.startsWith('/metadata/techdocs/');
  if (path === '/static/docs') refuse('nothing');
  if (path.startsWith('//')) refuse('routeEmpty');
  if (!isStatic && !isMetadata) refuse('route');
  const [, , , ...raw] = path.split('/');
  const [namespace, kind, name, ...rest] = raw.map(decode);
  const triplet = [namespace, kind, name];
  if (name === undefined || (rest.length === 0 && isStatic)) refuse('nothing');
  if (triplet.includes('')) refuse('empty');
  if (triplet.includes('.') || triplet.includes('..')) refuse('dots');
  const entity = triplet.map(part => (legacy ? part : part.toLowerCase())).join('/');

  let key;
  if (isMetadata) {
    if (rest.length === 1 && rest[0] === '') refuse('metadataSlash');
    if (rest.length > 0) refuse('route');
    key = `${entity}/techdocs_metadata.json`;
  } else {
    const last = rest.at(-1);
    if (rest.every(part => part === '')) refuse(rest.length > 1 ? 'trailing' : 'nothing');
    key = posix.normalize(`${entity}/${rest.join('/')}`);
    if (!`${key}/`.startsWith(`${entity}/`)) refuse('outside');
    if (last === '') refuse('trailing');
    if (last === '.' || last === '..') refuse('directory');
    if (key === entity) refuse('folder');
  }
  const root = bucketRootPath.replace(/^\/+|\/+$/g, '');
  return root ? `${root}/${key}` : key;
}

/** Why `expect` may differ from upstream although both have a key. */
function reasonForKeys(target, { bucketRootPath }) {
  if (/[^\x00-\x7f]/.test(target)) return 'bytes';
  if (/^\/\/|\/\/$/.test(bucketRootPath)) return 'root';
  if (/^\/static\/docs\/\.\.[^/]/.test(target)) return 'dotted';
  if (/%/.test(target)) return 'decoded';
  return undefined;
}

// -------------------------------------------------------------- what upstream does

const HANGS = Symbol('no answer');
// fetchTechDocsMetadata throws inside a promise executor for paths outside of the
// bucket root: nobody hears of it and the request is never answered.
process.on('unhandledRejection', error => {
  if (error?.message !== 'Metadata Not Found') throw error;
  hung?.();
});
let hung;

const asked = [];

async function startUpstream({ bucketRootPath, legacyUseCaseSensitiveTripletPaths }) {
  const config = new ConfigReader({
    techdocs: {
      legacyUseCaseSensitiveTripletPaths,
      publisher: {
        type: 'awsS3',
        awsS3: {
          bucketName: 'docs',
          // Upstream's reader refuses an empty string where none is fine.
          bucketRootPath: bucketRootPath || undefined,
          region: 'us-east-1',
          credentials: { accessKeyId: 'none', secretAccessKey: 'none' },
        },
      },
    },
  });
  const publisher = await Publisher.fromConfig(config, { logger: silent, discovery: {} });
  publisher.storageClient.middlewareStack.add(
    () => async args => {
      asked.push(args.input.Key);
      return { response: {}, output: { Body: Readable.from([Buffer.from('{}')]) } };
    },
    { step: 'initialize', priority: 'high' },
  );

  // As techdocs-backend's router does, for an entity that the catalog knows.
  const router = Router();
  router.get('/metadata/techdocs/:namespace/:kind/:name', async (req, res) => {
    res.json(await publisher.fetchTechDocsMetadata(req.params));
  });
  router.use('/static/docs', publisher.docsRouter());
  const middleware = MiddlewareFactory.create({ config: new ConfigReader({}), logger: silent });
  const app = express();
  app.use('/api/techdocs', router);
  app.use(middleware.notFound());
  app.use(middleware.error());
  const server = app.listen(0, '127.0.0.1');
  await new Promise(done => server.once('listening', done));
  return server;
}

/** Sends the target as it is and reads the status, or learns that none will come. */
function request(server, target) {
  return new Promise((done, fail) => {
    const socket = connect(server.address().port, '127.0.0.1');
    let answer = '';
    hung = () => {
      socket.destroy();
      done(HANGS);
    };
    socket.on('error', fail);
    socket.on('data', data => (answer += data.toString('latin1')));
    socket.on('end', () => done(Number(answer.slice(9, 12))));
    socket.write(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: docs\r\nConnection: close\r\n\r\n`));
  });
}

async function runUpstream(server, target) {
  asked.length = 0;
  // Upstream knows one prefix, so what has another of ours, or none, is put under that one.
  const path = target.replace(/^\/api\/callboard(?=\/)/, '');
  const status = await request(server, /^\/api\//i.test(path) ? path : `/api/techdocs${path}`);
  if (status === HANGS) return { hangs: true };
  if (asked.length > 1) throw new Error(`${target}: asked for ${asked}`);
  return asked.length ? { key: asked[0] } : { status };
}

// ------------------------------------------------------------------------- cases

const cases = [];
const PLAIN = { bucketRootPath: '', legacyUseCaseSensitiveTripletPaths: false };

function add(group, targets, settings = {}) {
  for (const target of [targets].flat()) {
    cases.push({ group, target, settings: { ...PLAIN, ...settings } });
  }
}
const hex = byte => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
const encode = text => [...Buffer.from(text, 'utf8')].map(hex).join('');
const STATIC = '/static/docs/default/component/svc';
const META = '/metadata/techdocs';

add('ordinary', [
  '/static/docs/Default/Component/My-Svc/a%20b.html',
  `${STATIC}/index.html`,
  `${STATIC}/assets/stylesheets/main.84d31ad4.min.css`,
  `${STATIC}/search/search_index.json`,
  `${STATIC}/techdocs_metadata.json`,
  `${STATIC}/Images/Logo.PNG`,
  `${STATIC}/a/b/c/d/e/f.txt`,
  `${STATIC}/README`,
  `${STATIC}/.nojekyll`,
  `${STATIC}/a.b.c.d`,
  `${STATIC}/...`,
  `${STATIC}/.../a`,
  `${STATIC}/..a`,
  `${STATIC}/a..`,
  `${STATIC}/a../b`,
  `${STATIC}/default/component/svc/index.html`,
  `${STATIC}/static/docs/default/component/svc/index.html`,
  '/static/docs/DEFAULT/COMPONENT/SVC/INDEX.HTML',
  '/static/docs/default/API/My.Svc_v1-2/Index.html',
  '/static/docs/a/b/c/d',
]);

for (const prefix of ['', '/api/techdocs', '/api/callboard']) {
  add('prefix', [
    `${prefix}/static/docs/Default/Component/Svc/a/Index.html`,
    `${prefix}/static/docs/default/component/svc/a%2Bb%23c.html`,
    `${prefix}/static/docs/default/component/svc/../other/index.html`,
    `${prefix}/static/docs/default/component/svc/`,
    `${prefix}/metadata/techdocs/Default/Component/Svc`,
    `${prefix}/metadata/techdocs/Default/Component/Svc/`,
  ]);
}

add('routing', [
  '/',
  '/static',
  '/static/',
  '/static/docs',
  '/static/docs/',
  '/static/docs/default',
  '/static/docs/default/',
  '/static/docs/default/component',
  '/static/docs/default/component/',
  STATIC,
  `${STATIC}/`,
  `${STATIC}//`,
  `${STATIC}///`,
  `${STATIC}?x`,
  '/metadata',
  '/metadata/',
  META,
  `${META}/`,
  `${META}/default`,
  `${META}/default/component`,
  `${META}/default/component/`,
  '/metadata/entity/default/component/svc',
  '/metadata/other/default/component/svc',
  '/Static/Docs/default/component/svc/index.html',
  '/static/Docs/default/component/svc/index.html',
  '/STATIC/DOCS/default/component/svc/index.html',
  '/Metadata/TechDocs/default/component/svc',
  '/metadata/techDocs/default/component/svc',
  '/st%61tic/docs/default/component/svc/index.html',
  '/static%2Fdocs/default/component/svc/index.html',
  '/static/docs%2Fdefault/component/svc/index.html',
  '/metadata%2Ftechdocs/default/component/svc',
  '/static/docsdefault/component/svc/index.html',
  '/static/docs.default/component/svc/index.html',
  '/xstatic/docs/default/component/svc/index.html',
  '/static/docs/../docs/default/component/svc/index.html',
  '/static/../static/docs/default/component/svc/index.html',
  '/./static/docs/default/component/svc/index.html',
  '//static/docs/default/component/svc/index.html',
  '/api/techdocs//static/docs/default/component/svc/index.html',
  '/api//techdocs/static/docs/default/component/svc/index.html',
  '/API/techdocs/static/docs/default/component/svc/index.html',
  '/api/Callboard/static/docs/default/component/svc/index.html',
  '/api/catalog/static/docs/default/component/svc/index.html',
  '/api/techdocs/api/techdocs/static/docs/default/component/svc/index.html',
  '/static//docs/default/component/svc/index.html',
  '/sync/default/component/svc',
  '/cookie',
  '/api/static/docs/default/component/svc/index.html',
]);

add('metadata', [
  `${META}/default/component/svc`,
  `${META}/DEFAULT/Component/My-Svc`,
  `${META}/default/component/svc/`,
  `${META}/default/component/svc//`,
  `${META}/default/component/svc/index.html`,
  `${META}/default/component/svc/techdocs_metadata.json`,
  `${META}/default/component/svc?x=1`,
  `${META}/default/component/svc?/../../x`,
  `${META}/default/component/a%20b`,
  `${META}/default/component/a%2Bb`,
  `${META}/default/component/a+b`,
  `${META}/default/component/a%40b%3Ac`,
  `${META}/default/component/a%25b`,
  `${META}/default/component/a%2520b`,
  `${META}/default/component/a%2Fb`,
  `${META}/default/component/..%2Fsvc`,
  `${META}/default/component/..%2F..%2F..%2F..%2Fsvc`,
  `${META}/default/component/a%5Cb`,
  `${META}/default/component/a%00b`,
  `${META}/default/component/a%0Ab`,
  `${META}/default/component/%zz`,
  `${META}/default/component/%`,
  `${META}/default/component/%FF`,
  `${META}/default/component/%C3%9Cber`,
  `${META}/default/component/..`,
  `${META}/default/component/%2e%2e`,
  `${META}/default/component/.`,
  `${META}/default/../svc`,
  `${META}/../component/svc`,
  `${META}/../../svc`,
  `${META}/../../..`,
  `${META}//component/svc`,
  `${META}/default//svc`,
  `${META}/default/component//`,
]);

// Every character that ASCII has, encoded, in a file's name.
for (let byte = 0; byte < 0x80; byte++) {
  add('ascii-encoded', `${STATIC}/a${hex(byte)}b.txt`);
}
// The ones that may stand in a path as they are.
for (const char of "-._~!$&'()*+,;=:@") {
  add('ascii-plain', `${STATIC}/a${char}b${char}.txt`);
}
// Lenient parsers let these through too.
for (const char of '"<>^`{|}[]\\') {
  add('ascii-lenient', `${STATIC}/a${char}b.txt`);
}
// In the triplet, where lower-casing comes after decoding.
for (const char of ' +%#?=@:;,$&!~/\\') {
  add('triplet-encoded', `/static/docs/De${hex(char.charCodeAt(0))}F/Co%4Dponent/S${hex(char.charCodeAt(0))}Vc/Index.html`);
}
// The hexadecimal digits of an escape have no case.
add('hex-case', [`${STATIC}/%c3%bc.html`, `${STATIC}/%C3%bC.html`, `${STATIC}/a%2bb`, `${STATIC}/a%2Bb`]);

add('query', [
  `${STATIC}/index.html?`,
  `${STATIC}/index.html?v=1`,
  `${STATIC}/index.html?a=/../../b`,
  `${STATIC}/index.html?%zz`,
  `${STATIC}/index.html?a?b`,
  `${STATIC}/index.html?a=%00`,
  `${STATIC}/index.html/?a`,
  `${STATIC}/?index.html`,
  `${STATIC}/a%3Fb.html?c`,
  `${STATIC}/a%23b.html?c#d`,
]);

add('malformed-escape', [
  `${STATIC}/%`,
  `${STATIC}/a%`,
  `${STATIC}/a%2`,
  `${STATIC}/%zz`,
  `${STATIC}/%2z`,
  `${STATIC}/%z2`,
  `${STATIC}/%%20`,
  `${STATIC}/100%.html`,
  `${STATIC}/%u0041`,
  `${STATIC}/%-1`,
  `${STATIC}/%+1`,
  `${STATIC}/a/%/b`,
  `${STATIC}/%/20`,
  '/static/docs/%/component/svc/index.html',
  '/static/docs/default/%zz/svc/index.html',
  '/static/docs/default/component/%2/index.html',
]);

add('not-utf8', [
  `${STATIC}/%FF`,
  `${STATIC}/%FE%FF`,
  `${STATIC}/%80`,
  `${STATIC}/%BF.html`,
  `${STATIC}/%C3`,
  `${STATIC}/%C3.html`,
  `${STATIC}/%C3/%BC`,
  `${STATIC}/%E2%82`,
  `${STATIC}/%F0%9F%98`,
  `${STATIC}/%FC.html`,
  `${STATIC}/%C0%AF`,
  `${STATIC}/%C0%AE%C0%AE/x`,
  `${STATIC}/%C0%80`,
  `${STATIC}/%C1%81`,
  `${STATIC}/%E0%80%AF`,
  `${STATIC}/%E0%80%AE%E0%80%AE/x`,
  `${STATIC}/%F0%80%80%AF`,
  `${STATIC}/%F8%88%80%80%80`,
  `${STATIC}/%ED%A0%80`,
  `${STATIC}/%ED%A0%BD%ED%B8%80`,
  `${STATIC}/%F4%90%80%80`,
  '/static/docs/default/component/%FF/index.html',
]);

for (const code of [0x80, 0x85, 0x8d, 0x90, 0x9b, 0x9f]) {
  add('c1-control', `${STATIC}/a${encode(String.fromCharCode(code))}b`);
}
add('control-in-triplet', [
  '/static/docs/de%00fault/component/svc/index.html',
  '/static/docs/default/component/svc%0D%0A/index.html',
  '/static/docs/default/comp%09onent/svc/index.html',
  '/static/docs/default/component/s%7Fvc/index.html',
  `${STATIC}/a%0D%0AX-Evil:%201/b`,
  `${STATIC}/index.html%00.png`,
]);

add('encoded-slash', [
  `${STATIC}/a%2Fb`,
  `${STATIC}/a%2fb`,
  `${STATIC}/%2F`,
  `${STATIC}/..%2F..%2Fother`,
  `${STATIC}/..%2fother`,
  `${STATIC}/a%2F..%2F..%2Fb`,
  `${STATIC}%2Findex.html`,
  `${STATIC}/a%5Cb`,
  `${STATIC}/..%5C..%5Cother`,
  `${STATIC}/..\\..\\other`,
  `${STATIC}/a\\b.html`,
  `${STATIC}\\index.html`,
  '/static/docs/default\\component\\svc\\index.html',
  '/static/docs/default%5Ccomponent%5Csvc%5Cindex.html',
]);

add('double-encoding', [
  `${STATIC}/a%2520b.html`,
  `${STATIC}/a%252520b.html`,
  `${STATIC}/a%252Fb`,
  `${STATIC}/%252e%252e/other`,
  `${STATIC}/%252e%252e%252fother`,
  `${STATIC}/..%252f..%252fother`,
  `${STATIC}/a%255Cb`,
  `${STATIC}/a%2500b`,
  `${STATIC}/a%25zz`,
  `${STATIC}/100%25.html`,
  `${STATIC}/%2525`,
  `${STATIC}/%25C3%25BC`,
  '/static/docs/default/component/a%2520b/index.html',
]);

add('traversal', [
  `${STATIC}/..`,
  `${STATIC}/../`,
  `${STATIC}/.`,
  `${STATIC}/./`,
  `${STATIC}/../index.html`,
  `${STATIC}/../other/index.html`,
  `${STATIC}/../../api/svc/index.html`,
  `${STATIC}/../../../other/component/svc/index.html`,
  `${STATIC}/../../../../etc/passwd`,
  `${STATIC}/../../../../../../../../etc/passwd`,
  `${STATIC}/../svc/index.html`,
  `${STATIC}/../../component/svc/index.html`,
  `${STATIC}/../../../default/component/svc/index.html`,
  `${STATIC}/../../../../default/component/svc/index.html`,
  `${STATIC}/../SVC/index.html`,
  `${STATIC}/../svc`,
  `${STATIC}/../svc/`,
  `${STATIC}/../svc2/index.html`,
  `${STATIC}/../svc-other/index.html`,
  `${STATIC}/%2e%2e/other/index.html`,
  `${STATIC}/%2E%2E/other/index.html`,
  `${STATIC}/.%2e/other/index.html`,
  `${STATIC}/%2e./other/index.html`,
  `${STATIC}/%2e%2e/svc/index.html`,
  `${STATIC}/%2e/index.html`,
  `${STATIC}/%2e%2e`,
  `${STATIC}/%2e`,
  `${STATIC}/./index.html`,
  `${STATIC}/././index.html`,
  `${STATIC}/a/./index.html`,
  `${STATIC}/a/../index.html`,
  `${STATIC}/a/b/../../index.html`,
  `${STATIC}/a/b/../c/../../index.html`,
  `${STATIC}/a/../../other/index.html`,
  `${STATIC}/a/../../svc/index.html`,
  `${STATIC}/a/b/../../../index.html`,
  `${STATIC}/a/..`,
  `${STATIC}/a/../`,
  `${STATIC}/a/b/..`,
  `${STATIC}/a/b/../`,
  `${STATIC}/a/.`,
  `${STATIC}/a/./`,
  `${STATIC}/a/b/../..`,
  `${STATIC}/a/%2e%2e/%2e%2e/other`,
  `${STATIC}//../index.html`,
  `${STATIC}/a//../index.html`,
  `${STATIC}/a//..//index.html`,
  `${STATIC}/..;/other/index.html`,
  `${STATIC}/..%20/other/index.html`,
  `${STATIC}/%20../other/index.html`,
  `${STATIC}/..%00/other/index.html`,
  `${STATIC}/${encode('\u2025')}/other`,
  `${STATIC}/${encode('\uff0e\uff0e')}/other`,
  `${STATIC}/${encode('\u2024\u2024')}/other`,
  `${STATIC}/..${encode('\u2215')}other`,
  `${STATIC}/..${encode('\uff0f')}other`,
  '/static/docs/../component/svc/index.html',
  '/static/docs/./component/svc/index.html',
  '/static/docs/default/../svc/index.html',
  '/static/docs/default/./svc/index.html',
  '/static/docs/default/component/../index.html',
  '/static/docs/default/component/./index.html',
  '/static/docs/default/component/../svc/index.html',
  '/static/docs/default/component/../../a/b/index.html',
  '/static/docs/../../../index.html',
  '/static/docs/%2e%2e/component/svc/index.html',
  '/static/docs/default/%2e%2e/svc/index.html',
  '/static/docs/default/component/%2e/index.html',
  '/static/docs/..default/component/svc/index.html',
  '/static/docs/default/component/svc../index.html',
  '/static/docs/default/component/.../index.html',
]);

add('empty-segments', [
  `${STATIC}//index.html`,
  `${STATIC}///a////b//index.html`,
  `${STATIC}/a//index.html`,
  `${STATIC}/a//`,
  '/static/docs//default/component/svc/index.html',
  '/static/docs/default//svc/index.html',
  '/static/docs/default/component//index.html',
  '/static/docs/default//component/svc/index.html',
  '/static/docs////index.html',
]);

add('trailing-slash', [
  `${STATIC}/index.html/`,
  `${STATIC}/a/`,
  `${STATIC}/a/b/`,
  `${STATIC}/a%20b/`,
  `${STATIC}/a/?x`,
]);

const NAMES = [
  '\u00fcber.html',
  'u\u0308ber.html',
  '\u00c5ngstr\u00f6m',
  'A\u030angstro\u0308m',
  '\u212bngstr\u00f6m',
  'caf\u00e9/men\u00fc.html',
  'cafe\u0301/menu\u0308.html',
  '\u30ac\u30a4\u30c9.html',
  '\u30ab\u3099\u30a4\u30c8\u3099.html',
  '\ud55c\uae00.html',
  '\u1112\u1161\u11ab\u1100\u1173\u11af.html',
  '\u4e2d\u6587/\u6587\u6863.html',
  '\u0420\u0443\u043a\u043e\u0432\u043e\u0434\u0441\u0442\u0432\u043e.pdf',
  '\u0627\u0644\u0639\u0631\u0628\u064a\u0629.html',
  '\u05e2\u05d1\u05e8\u05d9\u05ea.html',
  '\u0939\u093f\u0928\u094d\u0926\u0940.html',
  '\u{1f600}.png',
  '\u{1f469}\u200d\u{1f4bb}.md',
  '\u{1f1e9}\u{1f1ea}.svg',
  '\u{10ffff}',
  '\u{20bb7}\u91ce\u5bb6.html',
  '\ufeffbom.txt',
  'a\u00a0b.txt',
  'a\u2028b.txt',
  'a\u202eb.txt',
  'a\u200bb.txt',
  'a\u00adb.txt',
  'a\ufffdb.txt',
  'a\uffffb.txt',
  '\u00b1 5 %.html',
];
for (const name of NAMES) {
  add('unicode', `${STATIC}/${name.split('/').map(encode).join('/')}`);
}
// Catalog names are ASCII, so this is about not letting requests through twice
// under two keys: toLowerCase is not asciiLowerCase, nor case folding.
for (const name of [
  '\u00dcBER',
  'U\u0308BER',
  '\u0130stanbul',
  'I\u0307x',
  '\u0131',
  '\u1e9e',
  'STRASSE\u1e9e',
  '\u00df',
  '\u039f\u0394\u039f\u03a3',
  '\u03a3',
  '\u03a3\u03a3',
  'A\u03a3',
  'A\u03a3.',
  'A\u03a3.B',
  'A\u03a3-B',
  'A.\u03a3',
  '\u03a3A\u03a3 A\u03a3',
  '\u212a8s',
  '\u212b',
  '\u01c4\u01c5\u01c6',
  '\u0410\u0411\u0412',
  '\u10a0',
  '\u13a0',
  '\u{10400}',
  '\uff21\uff22',
  '\u2160\u24b6',
  '\u1f88',
]) {
  add('unicode-triplet', [
    `/static/docs/default/component/${encode(name)}/Index.html`,
  ]);
}
add('unicode-triplet', [
  `${META}/${encode('\u0130')}/${encode('\u03a3\u03a3')}/${encode('\u1e9e')}`,
  `/static/docs/${encode('\u0130')}/${encode('\u03a3\u03a3')}/${encode('\u1e9e')}/${encode('\u0130\u03a3\u1e9e')}`,
]);

// Not allowed in a URL, and sent by careless clients all the same.
add('plain-utf8-bytes', [
  `${STATIC}/\u00fcber.html`,
  `${STATIC}/\u4e2d\u6587.html`,
  `${STATIC}/\u{1f600}.png`,
  `${STATIC}/u\u0308%C3%BC.html`,
]);

add('long', [
  `${STATIC}/${'a'.repeat(2000)}`,
  `${STATIC}/${'a'.repeat(2000)}.html`,
  `${STATIC}/${'%C3%BC'.repeat(1000)}`,
  `${STATIC}/${'%2B'.repeat(1000)}`,
  `${STATIC}/${'a/'.repeat(200)}b`,
  `${STATIC}/${'a/'.repeat(200)}`,
  `${STATIC}/${'../'.repeat(200)}b`,
  `${STATIC}/${'a/'.repeat(100)}${'../'.repeat(100)}b`,
  `${STATIC}/${'a/'.repeat(100)}${'../'.repeat(101)}b`,
  `${STATIC}/${'./'.repeat(200)}b`,
  `${STATIC}${'/'.repeat(500)}b`,
  `/static/docs/default/component/${'N'.repeat(2000)}/index.html`,
  `${META}/default/component/${'N'.repeat(2000)}`,
]);

const ROOTS = ['docs', '/docs', 'docs/', '/docs/', '//docs//', 'a/b', '/a/b/', 'Team Docs', 'Caf\u00e9', 'a%20b', 'a+b'];
for (const bucketRootPath of ROOTS) {
  for (const legacyUseCaseSensitiveTripletPaths of [false, true]) {
    add(
      'root',
      [
        '/static/docs/Default/Component/Svc/Index.html',
        '/metadata/techdocs/Default/Component/Svc',
        '/static/docs/Default/Component/Svc/../../../../outside/index.html',
      ],
      { bucketRootPath, legacyUseCaseSensitiveTripletPaths },
    );
  }
}
add(
  'root-traversal',
  [
    '/static/docs/default/component/svc/../../../default/component/svc/a',
    '/static/docs/default/component/svc/../../../../docs/default/component/svc/a',
    '/static/docs/default/component/svc/../../../../docs-private/x',
    '/static/docs/default/component/svc/../../../../../etc/passwd',
    '/static/docs/../default/component/svc/index.html',
    '/metadata/techdocs/../docs/svc',
    '/metadata/techdocs/../../svc',
    '/metadata/techdocs/..%2F../a/b',
  ],
  { bucketRootPath: 'docs' },
);
add(
  'legacy',
  [
    '/static/docs/Default/Component/My-Svc/Index.html',
    '/static/docs/default/component/my-svc/Index.html',
    '/static/docs/DEFAULT/API/%C3%9CBER/Index.html',
    `/static/docs/Default/Component/${encode('\u0130\u03a3\u1e9e')}/Index.html`,
    '/metadata/techdocs/Default/Component/My-Svc',
    '/static/docs/Default/Component/My-Svc',
    '/static/docs/Default/Component/My-Svc/',
    '/static/docs/Default/Component/My-Svc/../my-svc/Index.html',
    '/static/docs/Default/Component/My-Svc/../My-Svc/Index.html',
    '/static/docs/Default/Component/My-Svc/a%5Cb',
    '/static/docs/Default/Component',
    '/static/docs/Default',
    '/static/docs//Default/Component/My-Svc/Index.html',
    '/static/docs/Default/Component/My%2BSvc/a%2Bb',
  ],
  { legacyUseCaseSensitiveTripletPaths: true },
);

// ----------------------------------------------------------------------------- run

const seen = new Map();
const servers = new Map();
const results = [];
for (const { group, target, settings } of cases) {
  const settingsKey = JSON.stringify(settings);
  if (seen.has(settingsKey + target)) continue;
  seen.set(settingsKey + target, true);
  if (!servers.has(settingsKey)) servers.set(settingsKey, await startUpstream(settings));

  const upstream = await runUpstream(servers.get(settingsKey), target);
  let expect;
  let code;
  try {
    expect = { key: resolve(target, settings) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    expect = { status: error.message === 'target' ? 400 : 404 };
    code = error.message;
  }
  const result = { group, target, settings, upstream, expect };
  if (JSON.stringify(upstream) !== JSON.stringify(expect)) {
    code ??= reasonForKeys(target, settings);
    if (!REASONS[code]) {
      throw new Error(`no reason for ${JSON.stringify(result)}`);
    }
    result.differs = REASONS[code];
  }
  results.push(result);
}
for (const server of servers.values()) server.close();

writeVectors(
  'paths.json',
  {
    generator: 'tests/backstage/vectors/generate-paths.mjs',
    packages: versions('@backstage/plugin-techdocs-node', '@backstage/backend-defaults', 'express'),
  },
  { cases: results },
);
process.exit(0);
