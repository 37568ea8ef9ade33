import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backend, claimsOf, scriptedCallboard } from './support/stage.mjs';
import { read } from './support/reader.mjs';

const PAGE = '/default/component/shop/index.html';

test('one token serves many requests, also those that come before it is made', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs, minted } = await backend(t, { baseUrl: callboard.url });
  await Promise.all(Array.from({ length: 20 }, () => read(docs + PAGE)));
  await read(docs + PAGE);
  assert.deepEqual(minted, [
    {
      onBehalfOf: { type: 'service', subject: 'plugin:techdocs' },
      targetPluginId: 'callboard',
    },
  ]);
});

for (const [life, stillGood, renewed] of [
  [3600, 3530, 3545],
  [50, 38, 41],
]) {
  test(`a token good for ${life} s is replaced between ${stillGood} and ${renewed} s`, async t => {
    const callboard = await scriptedCallboard(t);
    t.mock.timers.enable({
      apis: ['Date'],
      now: Math.ceil(Date.now() / 1000) * 1000,
    });
    const { docs, minted } = await backend(
      t,
      { baseUrl: callboard.url },
      {
        adjust: ({ auth }) => (auth.lifeSeconds = life),
      },
    );
    await read(docs + PAGE);
    t.mock.timers.tick(stillGood * 1000);
    await read(docs + PAGE);
    assert.equal(minted.length, 1);
    t.mock.timers.tick((renewed - stillGood) * 1000);
    await read(docs + PAGE);
    assert.equal(minted.length, 2);
  });
}

test('a token that could not be made is tried again for the next request', async t => {
  const callboard = await scriptedCallboard(t);
  let failures = 0;
  const { docs } = await backend(
    t,
    { baseUrl: callboard.url, audience: 'callboard' },
    {
      adjust: ({ auth }) => {
        const mint = auth.getPluginRequestToken;
        auth.getPluginRequestToken = async options => {
          if (failures < 1) {
            failures += 1;
            throw new Error('the database is starting');
          }
          return mint(options);
        };
      },
    },
  );
  assert.equal((await read(docs + PAGE)).status, 502);
  assert.equal((await read(docs + PAGE)).status, 200);
});

test('the configured audience is the one that tokens are for', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(t, {
    baseUrl: callboard.url,
    audience: 'docs-proxy',
  });
  await read(docs + PAGE);
  assert.equal(claimsOf(callboard.requests[0]).aud, 'docs-proxy');
});

for (const how of ['an old kind of token', 'none at all']) {
  test(`where Backstage makes ${how} for plugins it does not run, tokens are for techdocs`, async t => {
    const callboard = await scriptedCallboard(t);
    const { docs, minted } = await backend(
      t,
      { baseUrl: callboard.url },
      {
        adjust: ({ auth }) => {
          const mint = auth.getPluginRequestToken;
          auth.getPluginRequestToken = async options => {
            if (options.targetPluginId !== 'callboard') {
              auth.typ = 'vnd.backstage.plugin';
            } else if (how === 'none at all') {
              throw new Error('You must configure at least one key');
            } else {
              auth.typ = undefined;
            }
            return mint(options);
          };
        },
      },
    );
    await read(docs + PAGE);
    await read(docs + PAGE);
    assert.deepEqual(
      callboard.requests.map(request => claimsOf(request).aud),
      ['techdocs', 'techdocs'],
    );
    assert.equal(minted.at(-1).targetPluginId, 'techdocs');
  });
}

test('on behalf of readers each has a token of their own, kept while it is good', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs, minted } = await backend(t, {
    baseUrl: callboard.url,
    onBehalfOfUser: true,
  });
  for (const user of [
    'user:default/jane',
    'user:default/joe',
    'user:default/jane',
  ]) {
    await read(docs + PAGE, { headers: { 'x-test-user': user } });
  }
  // An external caller is nobody's reader.
  await read(docs + PAGE);
  assert.deepEqual(
    minted.map(
      ({ onBehalfOf }) => onBehalfOf.userEntityRef ?? onBehalfOf.subject,
    ),
    ['user:default/jane', 'user:default/joe', 'plugin:techdocs'],
  );
  assert.deepEqual(
    callboard.requests.map(request => claimsOf(request).n),
    [1, 2, 1, 3],
  );
});

test('the tokens of a thousand readers are kept, of those who read last', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs, minted } = await backend(t, {
    baseUrl: callboard.url,
    onBehalfOfUser: true,
  });
  const as = user =>
    read(docs + PAGE, { headers: { 'x-test-user': `user:default/${user}` } });
  await as('first');
  await as('second');
  for (let i = 0; i < 998; i += 50) {
    await Promise.all(
      Array.from({ length: Math.min(50, 998 - i) }, (_, n) => as(`u${i + n}`)),
    );
  }
  await as('first');
  assert.equal(minted.length, 1000);
  await as('one-more');
  await as('first');
  assert.equal(minted.length, 1001);
  await as('second');
  assert.equal(minted.length, 1002);
});

test('a reader whose credentials are no good gets what Backstage says', async t => {
  const callboard = await scriptedCallboard(t);
  const { docs } = await backend(
    t,
    { baseUrl: callboard.url, onBehalfOfUser: true },
    {
      adjust: ({ httpAuth }) => {
        httpAuth.credentials = async () => {
          throw Object.assign(new Error('expired'), {
            name: 'AuthenticationError',
          });
        };
      },
    },
  );
  assert.equal((await read(docs + PAGE)).status, 401);
  assert.deepEqual(callboard.requests, []);
});
