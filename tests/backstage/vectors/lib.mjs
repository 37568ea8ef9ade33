// What the generators share: where vectors go, and how they are written so that
// running a generator twice changes nothing.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
export const repository = join(here, '..', '..', '..');

/** For reaching into packages which are CommonJS, or whose files are not exported. */
export const require = createRequire(import.meta.url);

/**
 * `name@version` of each package as installed, to be written into the vectors.
 * `a>b` is the b that a uses, which need not be the one that everybody else does.
 */
export function versions(...packages) {
  return packages.map(path => {
    const names = path.split('>');
    const nested = join(here, '..', 'node_modules', names.join('/node_modules/'), 'package.json');
    const hoisted = join(here, '..', 'node_modules', names.at(-1), 'package.json');
    const file = existsSync(nested) ? nested : hoisted;
    return `${names.at(-1)}@${JSON.parse(readFileSync(file, 'utf8')).version}`;
  });
}

/** Non-ASCII and control characters escaped: diffs and reviews see which they are. */
function ascii(value) {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Writes `{…head, [list]: […]}`, one item of each list a line. */
export function writeVectors(file, head, lists) {
  const parts = Object.entries(head).map(([key, value]) => `  ${ascii(key)}: ${ascii(value)}`);
  for (const [key, items] of Object.entries(lists)) {
    parts.push(`  ${ascii(key)}: [\n${items.map(item => `    ${ascii(item)}`).join(',\n')}\n  ]`);
  }
  writeFileSync(join(repository, 'tests', 'vectors', file), `{\n${parts.join(',\n')}\n}\n`);
  const counts = Object.entries(lists).map(([key, items]) => `${items.length} ${key}`);
  console.log(`${file}: ${counts.join(', ')}`);
}

/** A logger that says nothing, for services which want one. */
export const silent = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silent,
};
