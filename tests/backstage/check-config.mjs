// What Backstage's own `config:check` says of app-config files, by the schemas
// that the packages of a backend bring along, Callboard's module among them.
//
//   node check-config.mjs a.yaml b.yaml …
//
// Prints one line of JSON: for each file what is wrong with it, or null.

import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigSources, loadConfigSchema } from '@backstage/config-loader';

const files = process.argv.slice(2).map(file => resolve(file));
// Packages are looked for from where it runs.
process.chdir(dirname(fileURLToPath(import.meta.url)));

const schema = await loadConfigSchema({
  dependencies: [
    '@backstage/backend-defaults',
    '@backstage/plugin-techdocs-backend',
    '@callboard/backstage-plugin-techdocs-backend-module-callboard',
  ],
});

async function problemOf(file) {
  const argv = ['--config', file];
  const config = await ConfigSources.toConfig(ConfigSources.default({ argv, watch: false }));
  try {
    schema.process([{ context: file, data: config.get() }]);
    return null;
  } catch (error) {
    return error.message;
  }
}

const problems = [];
for (const file of files) {
  problems.push(await problemOf(file));
}
console.log(JSON.stringify(problems));
