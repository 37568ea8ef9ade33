import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  backend,
  publisherOf,
  scriptedCallboard,
  services,
} from './support/stage.mjs';

const started = callboard =>
  publisherOf(
    services({
      techdocs: { builder: 'external', ...(callboard && { callboard }) },
    }),
  );

for (const [what, callboard, problem] of [
  [
    'no section',
    undefined,
    /techdocs\.callboard\.baseUrl is missing: write .*http:\/\/callboard:7008/,
  ],
  ['no baseUrl', { fallback: true }, /techdocs\.callboard\.baseUrl is missing/],
  [
    'no URL',
    { baseUrl: 'callboard' },
    /techdocs\.callboard\.baseUrl is no http or https URL/,
  ],
  [
    'a host and port alone',
    { baseUrl: 'callboard:7008' },
    /techdocs\.callboard\.baseUrl is no http or https URL/,
  ],
  [
    'another scheme',
    { baseUrl: 'unix:///run/callboard' },
    /is no http or https URL/,
  ],
  [
    'a password in the URL',
    { baseUrl: 'http://a:b@callboard' },
    /user name or password/,
  ],
  ['a query', { baseUrl: 'http://callboard/?a=b' }, /query or fragment/],
  [
    'an unknown key',
    { baseUrl: 'http://callboard', baseURL: 'x' },
    /techdocs\.callboard\.baseURL is unknown: there are baseUrl/,
  ],
  [
    'an odd timeout',
    { baseUrl: 'http://callboard', timeout: 'soon' },
    /techdocs\.callboard\.timeout/,
  ],
  [
    'a timeout of zero',
    { baseUrl: 'http://callboard', timeout: 0 },
    /techdocs\.callboard\.timeout must be at least 1 ms/,
  ],
  [
    'a timeout of a year',
    { baseUrl: 'http://callboard', timeout: { years: 1 } },
    /techdocs\.callboard\.timeout must/,
  ],
  [
    'an audience that is no plugin id',
    { baseUrl: 'http://callboard', audience: 'a b' },
    /techdocs\.callboard\.audience is no plugin id/,
  ],
  [
    'no boolean',
    { baseUrl: 'http://callboard', fallback: 'maybe' },
    /techdocs\.callboard\.fallback/,
  ],
]) {
  test(`${what} is told at the start, with its key`, async () => {
    await assert.rejects(
      started(callboard),
      error => error.name === 'InputError' && problem.test(error.message),
    );
  });
}

test('all problems are told at once', async () => {
  await assert.rejects(
    started({ baseUrl: 'x', timeout: 0, fallback: 'maybe', other: 1 }),
    error => {
      for (const key of ['baseUrl', 'timeout', 'fallback', 'other']) {
        assert.match(
          error.message,
          new RegExp(`techdocs\\.callboard\\.${key}`),
        );
      }
      return true;
    },
  );
});

test("durations are taken in all of Backstage's spellings", async () => {
  for (const timeout of [
    200,
    '15s',
    'PT15S',
    { seconds: 15 },
    { minutes: 1, seconds: 30 },
  ]) {
    await started({ baseUrl: 'http://callboard', timeout });
  }
});

test("a cache of techdocs-backend's own is warned of", async t => {
  const callboard = await scriptedCallboard(t);
  const { lines } = await backend(
    t,
    { baseUrl: callboard.url },
    { techdocs: { cache: { ttl: 3600000 } } },
  );
  assert.match(lines[0].message, /techdocs\.cache\.ttl/);
});

test('the schema has the keys that are read, all of them for the backend only', () => {
  const schema = readFileSync(
    new URL('../config.d.ts', import.meta.url),
    'utf8',
  );
  const section = schema.slice(schema.indexOf('callboard?: {'));
  const keys = [...section.matchAll(/^ {6}(\w+)\??:/gm)].map(([, key]) => key);
  assert.deepEqual(keys, [
    'baseUrl',
    'audience',
    'timeout',
    'onBehalfOfUser',
    'fallback',
  ]);
  assert.equal(section.match(/@visibility backend/g).length, keys.length);
});
