import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';

test('the package holds what is needed to run it and nothing else', () => {
  const told = execFileSync(
    'npm',
    ['pack', '--dry-run', '--json', '--ignore-scripts'],
    {
      encoding: 'utf8',
    },
  );
  const files = JSON.parse(told)[0]
    .files.map(file => file.path)
    .sort();
  const outside = files.filter(file => !file.startsWith('dist/'));
  assert.deepEqual(outside, [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'config.d.ts',
    'package.json',
  ]);
  for (const file of files.filter(name => name.startsWith('dist/'))) {
    assert.match(file, /^dist\/\w+\.(js|d\.ts)$/);
  }
  assert.ok(
    files.includes('dist/index.js') && files.includes('dist/index.d.ts'),
  );
});
