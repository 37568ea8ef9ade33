import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const root = fileURLToPath(new URL('..', import.meta.url));

test('a package made from a fresh checkout holds what is needed to run it and nothing else', t => {
  const checkout = mkdtempSync(join(tmpdir(), 'callboard-'));
  t.after(() => rmSync(checkout, { recursive: true }));
  cpSync(root, checkout, {
    recursive: true,
    filter: path => !/\/(node_modules|dist)$|\.tgz$/.test(path),
  });
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));

  const told = execFileSync('npm', ['pack', '--json', '--silent'], {
    cwd: checkout,
    encoding: 'utf8',
  });
  const files = JSON.parse(told.slice(told.indexOf('[')))[0].files.map(
    ({ path }) => path,
  );
  const outside = files.filter(path => !path.startsWith('dist/'));
  assert.deepEqual(outside.sort(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'config.d.ts',
    'package.json',
  ]);
  const built = files.filter(path => path.startsWith('dist/'));
  for (const path of built) {
    assert.match(path, /^dist\/\w+\.(js|d\.ts)$/);
  }
  for (const path of ['dist/index.js', 'dist/index.d.ts', 'dist/module.js']) {
    assert.ok(built.includes(path), path);
  }
});
