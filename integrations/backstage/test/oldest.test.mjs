import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

/**
 * What is used of Backstage at run time, all of which its release 1.30 has:
 * backend-plugin-api 0.8.0, catalog-model 1.6.0, config 1.2.0, errors 1.2.4,
 * plugin-techdocs-node 1.12.9, types 1.1.1. Look there before adding a name.
 */
const IN_BACKSTAGE_1_30 = {
  'backend-plugin-api': ['coreServices', 'createBackendModule'],
  'catalog-model': ['DEFAULT_NAMESPACE', 'stringifyEntityRef'],
  config: ['readDurationFromConfig'],
  errors: [
    'InputError',
    'NotFoundError',
    'NotImplementedError',
    'ServiceUnavailableError',
  ],
  'plugin-techdocs-node': ['Publisher', 'techdocsPublisherExtensionPoint'],
  types: ['durationToMilliseconds'],
};

test('nothing is used that the oldest supported release lacks', () => {
  const dist = new URL('../dist/', import.meta.url);
  const used = {};
  for (const name of readdirSync(dist).filter(file => file.endsWith('.js'))) {
    const code = readFileSync(new URL(name, dist), 'utf8');
    for (const [, alias, from] of code.matchAll(
      /const (\w+) = require\("@backstage\/([\w-]+)"\)/g,
    )) {
      const names = (used[from] ??= new Set());
      for (const [, member] of code.matchAll(
        new RegExp(`\\b${alias}\\.(\\w+)`, 'g'),
      )) {
        names.add(member);
      }
    }
  }
  const sorted = Object.fromEntries(
    Object.entries(used).map(([from, names]) => [from, [...names].sort()]),
  );
  assert.deepEqual(sorted, IN_BACKSTAGE_1_30);
});
