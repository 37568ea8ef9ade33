import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend, scriptedCallboard } from './support/stage.mjs';
import { readRaw } from './support/reader.mjs';

const DOCS = '/api/techdocs/static/docs';

/** How Callboard finds the entity in a path: split, then decode each segment once. */
function entityAtCallboard(url) {
  const [, , , namespace, kind, name] = url
    .split('/')
    .map(segment => decodeURIComponent(segment));
  return { namespace, kind, name };
}

/** Spellings of a path below /static/docs whose first three segments are names. */
const PLAIN = [
  '/default/component/shop/index.html',
  '/Default/Component/SHOP/index.html',
  '/default/component/shop/a%20b%2Bc%23d.html',
  '/default/component/shop/%E6%96%87/%25zz.html',
  '/default/component/shop/index.html?x=../y&z=//',
  '/default/component/se%63ret/index.html',
  '/default/component/a%252fb/index.html',
  '/default/component/%252e%252e/index.html',
  '/default/component/.hidden/index.html',
  '/default/component/a.b-c_d/index.html',
  '/default/component/with%20space/index.html',
  '/default/component/%E6%96%87/index.html',
  '/default/component/%E2%84%AA/index.html',
  "/default/component/~!$&'()*+,;=:@/index.html",
  '/default/component/shop//index.html',
  '/default/component/shop/a/../b/./c.html',
  '/default/component/shop/%2e%2e/secret/index.html',
  '/default/component/shop/a%2fb.html',
];

/** Spellings that techdocs-backend and Callboard might take for different entities, or for none. */
const ODD = [
  '//default/component/secret/index.html',
  '///default/component/secret/index.html',
  '/default//component/secret/index.html',
  '/default/component//secret/index.html',
  '//',
  '/',
  '',
  '/default',
  '/default/component/secret',
  '/default/component/secret?/index.html',
  '/default?/component/secret/index.html',
  '/./default/component/secret/index.html',
  '/../docs/default/component/secret/index.html',
  '/default/./component/secret/index.html',
  '/default/component/./secret/index.html',
  '/default/component/../component/secret/index.html',
  '/default/component/%2e/secret/index.html',
  '/default/component/%2E%2E/component/secret/index.html',
  '/default/component/.%2e/component/secret/index.html',
  '/%2e%2e/default/component/secret/index.html',
  '/default%2fcomponent%2fsecret/x/y/index.html',
  '/default/component%2Fsecret/x/index.html',
  '/default/component/shop%2f..%2fsecret/index.html',
  '/default/component/shop%5c..%5csecret/index.html',
  '/default/component/shop\\..\\secret/index.html',
  '/default\\component\\secret\\/x/y/index.html',
  '/default/component/secret%00/index.html',
  '/default/component/secret%0a/index.html',
  '/default/component/secret%7f/index.html',
  '/default/component/%zz/index.html',
  '/default/component/%/index.html',
  '/default/component/%c0%ae%c0%ae/index.html',
  '/default/component/%ff/index.html',
  '/default/component/\xc3\xa9/index.html',
  '/default/component/shop#/../secret/index.html',
  '/default/component/shop/#/index.html',
  '/default/component/shop"/index.html',
  '/default/component/<shop>/index.html',
  '/default/component/{shop}/index.html',
  '/default/component/sh^op/index.html',
  '/default/component/sh|op/index.html',
  '/default/component/sh`op/index.html',
];

test('a path that names an entity goes to Callboard byte for byte, and permission was asked for that entity', async t => {
  const callboard = await scriptedCallboard(t);
  const { port, asked } = await backend(t, { baseUrl: callboard.url });
  for (const path of PLAIN) {
    asked.length = 0;
    callboard.requests.length = 0;
    const { status } = await readRaw(port, DOCS + path);
    assert.equal(status, 200, path);
    assert.deepEqual(
      callboard.requests.map(({ url }) => url),
      [`/static/docs${path}`],
    );
    assert.deepEqual(
      asked,
      [entityAtCallboard(callboard.requests[0].url)],
      path,
    );
  }
});

test('a path that might name two entities is not found, and nobody is asked', async t => {
  const callboard = await scriptedCallboard(t);
  const { port } = await backend(t, { baseUrl: callboard.url });
  for (const path of ODD) {
    const { status } = await readRaw(port, DOCS + path);
    // Express itself turns malformed escapes away with 400, where it decodes them.
    assert.ok([400, 404].includes(status), `${path}: ${status}`);
  }
  assert.deepEqual(callboard.requests, []);
});

test('a target with scheme and host is not found', async t => {
  const callboard = await scriptedCallboard(t);
  const { port } = await backend(t, { baseUrl: callboard.url });
  for (const host of [
    'http://backstage',
    'http://backstage:80',
    'http://user@backstage',
  ]) {
    const { status } = await readRaw(
      port,
      `${host}${DOCS}/default/component/secret/index.html`,
    );
    assert.equal(status, 404, host);
  }
  assert.deepEqual(callboard.requests, []);
});

test('odd spellings of what is above the documents lead to the same entity or to none', async t => {
  const callboard = await scriptedCallboard(t);
  const { port, asked } = await backend(t, { baseUrl: callboard.url });
  for (const mount of [
    '/API/TechDocs/Static/Docs',
    '/api/techdocs//static/docs',
    '//api/techdocs/static/docs',
    '/api/techdocs/static//docs',
    '/api/techdocs/%73tatic/docs',
    '/api/techdocs/static/docs%2f',
  ]) {
    asked.length = 0;
    callboard.requests.length = 0;
    await readRaw(port, `${mount}/default/component/secret/index.html`);
    assert.equal(callboard.requests.length, asked.length, mount);
    for (const { url } of callboard.requests) {
      assert.equal(
        url,
        '/static/docs/default/component/secret/index.html',
        mount,
      );
    }
  }
});

test('a base path stands in front of the path', async t => {
  const callboard = await scriptedCallboard(t);
  const { port } = await backend(t, {
    baseUrl: `${callboard.url}/inner/docs/`,
  });
  await readRaw(port, `${DOCS}/default/component/shop/index.html`);
  assert.equal(
    callboard.requests[0].url,
    '/inner/docs/static/docs/default/component/shop/index.html',
  );
});
