// config.json: what a set of files, variables and --config options comes to.
//
// Each case is laid out in a folder of its own and read by the published
// config-loader the way a Backstage backend reads its configuration.
//
//   cases      files, env, args  ->  expect (the whole configuration) or error
//   reads      one value, read as a type  ->  value, absent or error
//   durations  one value, read as a duration  ->  ms or error

import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ConfigReader, readDurationFromConfig } from '@backstage/config';
import { ConfigSources } from '@backstage/config-loader';
import { durationToMilliseconds } from '@backstage/types';
import { versions, writeVectors } from './lib.mjs';

// ------------------------------------------------------------------------- cases

const MAIN = 'app-config.yaml';
const LOCAL = 'app-config.local.yaml';
const cases = [];

function add(name, input, { env = {}, args = [], differs } = {}) {
  const files = typeof input === 'string' ? { [MAIN]: input } : input;
  cases.push({ name, files, env, args, differs });
}

// Which files are read.
const MISSING_DEFAULT = 'default files count where they exist; upstream wants app-config.yaml unless told otherwise';
add('no file at all', {}, { differs: MISSING_DEFAULT });
add('one default file', 'a: 1\n');
add('the local file lies over the default', { [MAIN]: 'a: 1\nb: 1\n', [LOCAL]: 'b: 2\n' });
add('the local file alone', { [LOCAL]: 'a: 1\n' }, { differs: MISSING_DEFAULT });
add('an option replaces both default files', { [MAIN]: 'a: 1\n', [LOCAL]: 'b: 2\n', 'x.yaml': 'c: 3\n' }, { args: ['x.yaml'] });
add('an option may name a default file', { [MAIN]: 'a: 1\n', [LOCAL]: 'b: 2\n' }, { args: [MAIN] });
add('options lie over each other in their order', { 'a.yaml': 'v: a\na: 1\n', 'b.yaml': 'v: b\nb: 1\n', 'c.yaml': 'v: c\n' }, { args: ['a.yaml', 'b.yaml', 'c.yaml'] });
add('the same files in another order', { 'a.yaml': 'v: a\n', 'b.yaml': 'v: b\n' }, { args: ['b.yaml', 'a.yaml'] });
add('the same file twice', { 'a.yaml': 'v: a\nl: [1]\n' }, { args: ['a.yaml', 'a.yaml'] });
add('an option in a folder', { 'conf/a.yaml': 'v: { $file: secret }\n', 'conf/secret': 's3\n', secret: 'wrong\n' }, { args: ['conf/a.yaml'] });
add('an option that names nothing', { [MAIN]: 'a: 1\n' }, { args: ['missing.yaml'] });
add('an option that names a folder', { 'conf/a.yaml': 'v: 1\n' }, { args: ['conf'] });
add('JSON is YAML', { 'a.json': '{"a": {"b": [1, "two", null, true]}}' }, { args: ['a.json'] });
add('the extension of a file does not matter', { 'a.txt': 'a: 1\n' }, { args: ['a.txt'] });
add('BACKSTAGE_ENV adds a file', { [MAIN]: 'v: main\n', 'app-config.production.yaml': 'v: production\np: 1\n' }, { env: { BACKSTAGE_ENV: 'production' } });
add('BACKSTAGE_ENV files stand between main and local', { [MAIN]: 'v: main\n', 'app-config.production.yaml': 'v: production\np: 1\n', 'app-config.production.local.yaml': 'v: both\n', [LOCAL]: 'v: local\np: 2\n' }, { env: { BACKSTAGE_ENV: 'production' } });
add('BACKSTAGE_ENV may be a list, and files may be missing', { [MAIN]: 'v: main\n', 'app-config.a.yaml': 'v: a\na: 1\n', 'app-config.b.yaml': 'v: b\n' }, { env: { BACKSTAGE_ENV: 'a, b ,c' } });
add('BACKSTAGE_ENV means nothing beside an option', { 'x.yaml': 'v: x\n', 'app-config.production.yaml': 'v: production\n' }, { env: { BACKSTAGE_ENV: 'production' }, args: ['x.yaml'] });

// How layers are merged.
const layered = (name, lower, upper, options = {}) =>
  add(name, { 'a.yaml': lower, 'b.yaml': upper }, { ...options, args: ['a.yaml', 'b.yaml'] });
layered('maps merge, deeply', 'a: { b: { c: 1, d: 2 } }\n', 'a: { b: { d: 3, e: 4 } }\n');
layered('lists replace', 'a: [1, 2, 3]\n', 'a: [9]\n');
layered('an empty list replaces', 'a: [1, 2, 3]\n', 'a: []\n');
layered('lists of maps replace', 'a: [{ x: 1, y: 2 }]\n', 'a: [{ x: 3 }]\n');
layered('an empty map replaces nothing', 'a: { b: 1 }\n', 'a: {}\n');
layered('a scalar over a map', 'a: { b: 1 }\n', 'a: 2\n');
layered('a map over a scalar', 'a: 2\n', 'a: { b: 1 }\n');
layered('a list over a map', 'a: { b: 1 }\n', 'a: [1]\n');
layered('a map over a list', 'a: [1]\n', 'a: { b: 1 }\n');
layered('scalars of other types', 'a: 1\nb: true\nc: x\n', 'a: "1"\nb: no\nc: 0\n');
layered('null over a scalar', 'a: 1\nb: 1\n', 'a: null\n');
layered('null over a map', 'a: { b: 1 }\n', 'a: null\n');
layered('null over a list', 'a: [1]\n', 'a: ~\n');
layered('a key without a value', 'a: { b: 1, c: 2 }\n', 'a:\n  b:\n');
layered('a scalar over null', 'a: null\n', 'a: 1\n');
layered('a map over null', 'a: null\n', 'a: { b: 1 }\n');
layered('an empty string replaces', 'a: x\n', 'a: ""\n');
layered('false and zero replace', 'a: true\nb: 5\n', 'a: false\nb: 0\n');
layered('an empty file on top', 'a: 1\n', '');
layered('an empty file below', '', 'a: 1\n');
layered('undefined on top lets the value below through', 'a: 1\n', 'a: ${MISSING}\n');
layered('an undefined member lets the map below through', 'a: { b: 1, c: 2 }\n', 'a: { b: "${MISSING}", d: 4 }\n');
add('null in the middle of three', { 'a.yaml': 'v: { x: 1 }\n', 'b.yaml': 'v: null\n', 'c.yaml': 'v: { y: 2 }\n' }, { args: ['a.yaml', 'b.yaml', 'c.yaml'] });
add('a scalar in the middle of three', { 'a.yaml': 'v: { x: 1 }\n', 'b.yaml': 'v: 5\n', 'c.yaml': 'v: { y: 2 }\n' }, { args: ['a.yaml', 'b.yaml', 'c.yaml'] });
add('a list in the middle of three', { 'a.yaml': 'v: { x: 1 }\n', 'b.yaml': 'v: [1]\n', 'c.yaml': 'v: { y: 2 }\n' }, { args: ['a.yaml', 'b.yaml', 'c.yaml'] });

// ${VAR}
const VARS = { FOO: 'foo', BAR: 'bar', EMPTY: '', SPACES: '  x  ', NUMBER: '42', TRUE: 'true', YAML: '{ a: 1 }', NESTED: '${FOO}', DOLLAR: '$', NAME: 'FOO', BLANK: '   ' };
/** Those of VARS that the text speaks of. */
const varsIn = text => Object.fromEntries(Object.entries(VARS).filter(([name]) => text.includes(name)));
const substituted = (name, text, options = {}) =>
  add(`substitution: ${name}`, `v: ${text}\n`, { env: varsIn(text), ...options });
substituted('a variable', '${FOO}');
substituted('inside text', 'a-${FOO}-b');
substituted('two of them', '${FOO}${BAR}');
substituted('the same twice', '${FOO} ${FOO}');
substituted('white space inside the braces', '${ FOO }');
substituted('the value is trimmed', "'[${SPACES}]'");
substituted('a number stays text', '${NUMBER}');
substituted('a boolean stays text', '${TRUE}');
substituted('a value is not parsed', '${YAML}');
substituted('a value is not substituted again', '${NESTED}');
substituted('missing', '${MISSING}');
substituted('missing inside text', 'a-${MISSING}-b');
substituted('one of two missing', '${FOO}-${MISSING}');
substituted('empty variable', '${EMPTY}');
substituted('blank variable', '${BLANK}');
substituted('empty variable inside text', 'a${EMPTY}b');
substituted('fallback not needed', '${FOO:-other}');
substituted('fallback needed', '${MISSING:-other}');
substituted('fallback for an empty variable', '${EMPTY:-other}');
substituted('fallback for a blank variable', '${BLANK:-other}');
substituted('an empty fallback', '${MISSING:-}');
substituted('an empty fallback for an empty variable', '${EMPTY:-}');
substituted('a fallback is trimmed', "'[${MISSING:-  a b  }]'");
substituted('a fallback with colons and dashes', '${MISSING:-http://a:80/-/b:-c}');
substituted('a fallback with a dollar sign', '${MISSING:-$5}');
substituted('a fallback inside text', "'pre ${MISSING:-x} post'");
substituted('a fallback with a variable inside', '${MISSING:-${FOO}}');
substituted('a minus without a colon', '${MISSING-other}');
substituted('a colon without a minus', '${FOO:x}');
substituted('escaped', '$${FOO}');
substituted('escaped inside text', 'a$${FOO}b${BAR}');
substituted('escaped and missing', '$${MISSING}');
substituted('escaped with a fallback', '$${MISSING:-x}');
substituted('three dollar signs', '$$${FOO}');
substituted('four dollar signs', '$$$${FOO}');
substituted('a dollar sign before', "'$ ${FOO}'");
substituted('no braces', '$FOO');
substituted('no name', '${}');
substituted('a name of spaces', '"${ }"');
substituted('not closed', "'${FOO'");
substituted('not opened', "'FOO}'");
substituted('braces inside', "'${FOO{}}'");
substituted('a name out of a name', '${${NAME}}');
substituted('in a quoted string', '"${FOO}"');
substituted('in a block', '|\n  a ${FOO}\n  b ${BAR}');
substituted('across lines', '"${FOO\n  }"');
substituted('in a list', '["${FOO}", "${MISSING}", "${BAR}"]');
substituted('in a map', '{ a: "${FOO}", b: "${MISSING}" }');
substituted('in a key', '{ "${FOO}": 1 }');
substituted('only missing in a list', '["${MISSING}"]');
substituted('only missing in a map', '{ a: "${MISSING}" }');
substituted('lower-case and other names', '${foo}${FOO-BAR}${1}', { env: { foo: 'a', 'FOO-BAR': 'b', 1: 'c' } });

// $env, $file, $include
const FEW = { FOO: 'foo', BAR: 'bar', NAME: 'FOO', NESTED: '${FOO}', SPACES: '  x  ', EMPTY: '' };
add('$env', 'v: { $env: FOO }\n', { env: FEW });
add('$env is trimmed', 'v: { $env: SPACES }\n', { env: FEW });
add('$env missing', 'v: { $env: MISSING }\nw: 1\n', { env: FEW });
add('$env empty', 'v: { $env: EMPTY }\n', { env: FEW });
add('$env whose name is a variable', 'v: { $env: "${NAME}" }\n', { env: FEW });
add('$env of a value with a variable inside', 'v: { $env: NESTED }\n', { env: FEW });
add('$env that is not a string', 'v: { $env: 5 }\n');
add('$env with a neighbour', 'v: { $env: FOO, other: 1 }\n', { env: FEW });
add('$env in a list', 'v: [{ $env: FOO }, { $env: MISSING }, x]\n', { env: FEW });
add('$file', { [MAIN]: 'v: { $file: secret.txt }\n', 'secret.txt': '  hunter2 \n\n' });
add('$file keeps lines', { [MAIN]: 'v: { $file: cert.pem }\n', 'cert.pem': 'a\n b\nc\r\n' });
add('$file is not substituted', { [MAIN]: 'v: { $file: f }\n', f: '${FOO}\n' }, { env: FEW });
add('$file that is empty', { [MAIN]: 'v: { $file: f }\n', f: '' });
add('$file missing', 'v: { $file: f }\n');
add('$file in a folder', { [MAIN]: 'v: { $file: ./a/b/f }\n', 'a/b/f': 'x' });
add('$file above', { 'a/c.yaml': 'v: { $file: ../f }\n', f: 'x' }, { args: ['a/c.yaml'] });
add('$file whose path is a variable', { [MAIN]: 'v: { $file: "${FOO}.txt" }\n', 'foo.txt': 'x' }, { env: FEW });
add('$file whose path is a missing variable', 'v: { $file: "${MISSING}" }\n');
add('$file with a neighbour', { [MAIN]: 'v: { $file: f, other: 1 }\n', f: 'x' });
add('$include of a whole YAML file', { [MAIN]: 'v: { $include: i.yaml }\n', 'i.yaml': 'a: 1\nb: [x]\n' });
add('$include of a part', { [MAIN]: 'v: { $include: i.yaml#a.b }\n', 'i.yaml': 'a: { b: { c: 1 } }\n' });
add('$include of a scalar', { [MAIN]: 'v: { $include: i.yaml#a.b.c }\n', 'i.yaml': 'a: { b: { c: 1 } }\n' });
add('$include of a list', { [MAIN]: 'v: { $include: i.yaml#a }\n', 'i.yaml': 'a: [1, 2]\n' });
add('$include into a list', { [MAIN]: 'v: { $include: i.yaml#a.0 }\n', 'i.yaml': 'a: [1, 2]\n' });
add('$include of a part of JSON', { [MAIN]: 'v: { $include: i.json#a.b }\n', 'i.json': '{"a": {"b": "x"}}' });
add('$include of .yml', { [MAIN]: 'v: { $include: i.yml }\n', 'i.yml': 'a: 1\n' });
add('$include of another extension', { [MAIN]: 'v: { $include: i.txt }\n', 'i.txt': 'a: 1\n' });
add('$include of an upper-case extension', { [MAIN]: 'v: { $include: i.YAML }\n', 'i.YAML': 'a: 1\n' });
add('$include of YAML named JSON', { [MAIN]: 'v: { $include: i.json }\n', 'i.json': 'a: 1\n' });
add('$include of a missing file', 'v: { $include: i.yaml }\n');
add('$include of a missing part', { [MAIN]: 'v: { $include: i.yaml#x }\nw: 1\n', 'i.yaml': 'a: 1\n' });
add('$include of a part of a missing part', { [MAIN]: 'v: { $include: i.yaml#x.y }\n', 'i.yaml': 'a: 1\n' });
add('$include of a part of a scalar', { [MAIN]: 'v: { $include: i.yaml#a.b }\n', 'i.yaml': 'a: 1\n' });
add('$include with an empty part', { [MAIN]: 'v: { $include: i.yaml# }\n', 'i.yaml': 'a: 1\n' });
add('$include of a null', { [MAIN]: 'v: { $include: i.yaml#a }\n', 'i.yaml': 'a: null\n' });
add('$include of a broken file', { [MAIN]: 'v: { $include: i.yaml }\n', 'i.yaml': 'a: [1\n' });
add('$include of an empty file', { [MAIN]: 'v: { $include: i.yaml }\nw: 1\n', 'i.yaml': '' });
add('$include substitutes a string', { [MAIN]: 'v: { $include: i.yaml#a }\n', 'i.yaml': 'a: x-${FOO}\n' }, { env: FEW });
add('$include substitutes inside a map', { [MAIN]: 'v: { $include: i.yaml }\n', 'i.yaml': 'a: x-${FOO}\nb: ["${BAR}"]\nc: $${FOO}\n' }, { env: FEW });
add('$include of an escaped string', { [MAIN]: 'v: { $include: i.yaml#a }\n', 'i.yaml': 'a: $${FOO}\n' }, { env: FEW });
add('$include inside an include', { [MAIN]: 'v: { $include: i.yaml }\n', 'i.yaml': 'a: { $include: j.yaml#x }\n', 'j.yaml': 'x: 5\n' });
add('$include that is an include itself', { [MAIN]: 'v: { $include: i.yaml#a }\n', 'i.yaml': 'a: { $include: j.yaml#x }\n', 'j.yaml': 'x: 5\n' });
add('$include that is an $env itself', { [MAIN]: 'v: { $include: i.yaml#a }\n', 'i.yaml': 'a: { $env: FOO }\n' }, { env: FEW });
add('$env inside an include', { [MAIN]: 'v: { $include: i.yaml }\n', 'i.yaml': 'a: { $env: FOO }\n' }, { env: FEW });
add('paths are relative to the file that they stand in', { [MAIN]: 'v: { $include: sub/i.yaml }\n', 'sub/i.yaml': 'f: { $file: f }\nj: { $include: deep/j.yaml }\n', 'sub/f': 'sub\n', f: 'top\n', 'sub/deep/j.yaml': 'f: { $file: f }\ng: { $file: ../f }\n', 'sub/deep/f': 'deep\n' });
add('paths after an include are relative to the outer file again', { [MAIN]: 'a: { $include: sub/i.yaml }\nb: { $file: f }\n', 'sub/i.yaml': 'x: 1\n', f: 'top\n', 'sub/f': 'sub\n' });
add('$include through a variable', { [MAIN]: 'v: { $include: "${FOO}.yaml#${BAR}" }\n', 'foo.yaml': 'bar: 1\n' }, { env: FEW });
add('$include with a neighbour', { [MAIN]: 'v: { $include: i.yaml, x: 1 }\n', 'i.yaml': 'a: 1\n' });
add('$include at the top', { [MAIN]: '$include: i.yaml\n', 'i.yaml': 'a: 1\nb: { $file: f }\n', f: 'x' });
add('$include with anchors in it', { [MAIN]: 'v: { $include: i.yaml#b }\n', 'i.yaml': 'a: &a { x: 1 }\nb: *a\n' });
add('an unknown key with a dollar sign', 'v: { $foo: x }\n');
add('an unknown key with a dollar sign and a neighbour', 'v: { $foo: x, y: 1 }\n');
add('$data is long gone', { [MAIN]: 'v: { $data: i.yaml#a }\n', 'i.yaml': 'a: 1\n' });
add('two of them at once', { [MAIN]: 'v: { $file: f, $env: FOO }\n', f: 'x' }, { env: FEW });
add('$env at the top', '$env: FOO\n', { env: FEW });

// APP_CONFIG_*
const variables = (name, env, files = { [MAIN]: 'other: 1\n' }) => add(`APP_CONFIG: ${name}`, files, { env });
const BELOW = { [MAIN]: 'a: { b: { c: 1, d: 2 }, l: [1, 2] }\n' };
variables('text', { APP_CONFIG_a_b_c: 'some text' }, BELOW);
variables('a number', { APP_CONFIG_a_b_c: '5' }, BELOW);
variables('a fraction', { APP_CONFIG_a_b_c: '1e3' }, BELOW);
variables('a number that is not JSON', { APP_CONFIG_a_b_c: '007' }, BELOW);
variables('a boolean', { APP_CONFIG_a_b_c: 'true' }, BELOW);
variables('a boolean that is not JSON', { APP_CONFIG_a_b_c: 'True' }, BELOW);
variables('a quoted string', { APP_CONFIG_a_b_c: '"5"' }, BELOW);
variables('null', { APP_CONFIG_a_b_c: 'null' }, BELOW);
variables('empty', { APP_CONFIG_a_b_c: '' }, BELOW);
variables('white space', { APP_CONFIG_a_b_c: '  ' }, BELOW);
variables('white space around a number', { APP_CONFIG_a_b_c: ' 5 ' }, BELOW);
variables('white space around text', { APP_CONFIG_a_b_c: ' x ' }, BELOW);
variables('a map merges', { APP_CONFIG_a_b: '{"c": 9, "e": 3}' }, BELOW);
variables('a list replaces', { APP_CONFIG_a_l: '[3]' }, BELOW);
variables('broken JSON is text', { APP_CONFIG_a_b: '{"c": 9' }, BELOW);
variables('YAML is text', { APP_CONFIG_a_b: '{c: 9}' }, BELOW);
variables('over local and main', { APP_CONFIG_v: 'env' }, { [MAIN]: 'v: main\n', [LOCAL]: 'v: local\n' });
variables('several', { APP_CONFIG_a_x: '1', APP_CONFIG_a_y: '2', APP_CONFIG_z: '3' }, BELOW);
variables('below a value', { APP_CONFIG_a: '1', APP_CONFIG_a_b: '2' }, BELOW);
variables('below a list', { APP_CONFIG_a: '[1]', APP_CONFIG_a_b: '2' }, BELOW);
variables('below a map', { APP_CONFIG_a: '{"x": 1}', APP_CONFIG_a_b: '2' }, BELOW);
variables('above a value', { APP_CONFIG_a_b: '2', APP_CONFIG_a: '1' }, BELOW);
variables('the same twice through a map', { APP_CONFIG_a: '{"b": 1}', APP_CONFIG_a_b: '2' }, BELOW);
variables('keys with a dash, a colon and a digit', { 'APP_CONFIG_a-b_c1': '1', 'APP_CONFIG_x:y': '2' });
variables('upper case is kept', { APP_CONFIG_backend_baseUrl: 'http://x', APP_CONFIG_BACKEND: '1' });
variables('two underscores', { APP_CONFIG_a__b: '1' });
variables('a last underscore', { APP_CONFIG_a_: '1' });
variables('no key', { APP_CONFIG_: '1' });
variables('a key that begins with a digit', { APP_CONFIG_1a: '1' });
variables('a dot in the key', { 'APP_CONFIG_a.b': '1' });
variables('a bad key with an empty value', { 'APP_CONFIG_a.b': '' });
variables('other prefixes mean nothing', { app_config_a: '1', APP_CONFIG: '2', XAPP_CONFIG_a: '3', 'APP_CONFIG-a': '4' });
variables('not substituted', { APP_CONFIG_a: '${FOO}', APP_CONFIG_b: '{"$env": "FOO"}', FOO: 'foo' });
variables('long numbers', { APP_CONFIG_id: '123456789012', APP_CONFIG_zip: '"00123"' });
add('APP_CONFIG: beside an option', { 'x.yaml': 'a: 1\nb: 1\n' }, { args: ['x.yaml'], env: { APP_CONFIG_b: '2' } });

// YAML itself.
const yaml = (name, text, options) => add(`YAML: ${name}`, text, options);
yaml('an empty file', '');
yaml('comments only', '# nothing\n\n# here\n');
yaml('white space only', '  \n\n');
yaml('an empty document', '---\n');
yaml('null at the top', 'null\n');
yaml('an empty map', '{}\n');
yaml('a list at the top', '- a\n- b\n');
yaml('a scalar at the top', 'just text\n');
yaml('anchors and aliases', 'a: &x { b: 1, c: [1, 2] }\nd: *x\ne: [*x]\n');
yaml('an unknown alias', 'a: *x\n');
yaml('a merge key', 'a: &x { b: 1 }\nd:\n  <<: *x\n  c: 2\n');
yaml('words that YAML 1.1 took for booleans', 'a: yes\nb: no\nc: on\nd: off\ne: y\nf: n\n');
yaml('booleans and nulls of every case', 'a: [true, True, TRUE, tRUE]\nb: [false, False, FALSE]\nc: [null, Null, NULL, ~, nULL]\n');
yaml('numbers', 'a: [0, -0, 1, -1, +1, 12345678901, 1e3, 1E-3, .5, -.5, 5., 1.50, 0x1F, 0o17]\n');
yaml('what looks like a number', 'a: [017, 08, 1_000, 0b11, 1:30, 1.2.3, 0x, 1e, "5", 1,2]\n');
yaml('large numbers', 'a: 9007199254740993\nb: 123456789012345678901234567890\n');
yaml('dates and times', 'a: 2026-11-20\nb: 2026-11-20T10:00:00Z\nc: 10:30:00\n');
yaml('strings of every kind', "a: plain text\nb: 'it''s'\nc: \"tab\\tx\\u00fc\\x41\\\\\"\nd: |\n  one\n    two\n  three\ne: >\n  one\n  two\n\n  three\nf: |-\n  one\ng: |+\n  one\n\nh: >-\n  folded\n  text\n");
yaml('a plain string over lines', 'a: one\n  two\n  three\nb: 1\n');
yaml('a plain string with a colon and a hash', 'a: http://x:80/a#b\nb: x #c\nc: a:b\n');
yaml('flow and block mixed', 'a: { b: [1, { c: 2 }], d: x }\ne:\n  - f: 1\n    g: 2\n  - - 1\n    - 2\n');
yaml('keys that are not strings', '1: a\ntrue: b\n1.5: c\n~: d\n');
yaml('quoted keys', '"a b": 1\n\'c\': 2\n');
yaml('a key twice', 'a: 1\nb: 2\na: 3\n');
yaml('a key twice, deeper', 'x: { a: 1, a: 2 }\n');
yaml('several documents', 'a: 1\n---\nb: 2\n');
yaml('an end of document', '---\na: 1\n...\n');
yaml('tabs for indentation', 'a:\n\tb: 1\n');
yaml('an open bracket', 'a: [1, 2\n');
yaml('wrong indentation', 'a:\n  b: 1\n c: 2\n');
yaml('Windows line ends', 'a: 1\r\nb:\r\n  c: x\r\n');
yaml('a byte order mark', '\ufeffa: 1\n');
yaml('Unicode', 'a: \u00fc\u4e2d\u{1f600}\n"\u00e9": 1\n');
yaml('tags', 'a: !!str 5\nb: !!int "5"\nc: !!bool "true"\n');
yaml('an unknown tag', 'a: !foo 5\n');
yaml('comments after values', 'a: 1 # one\nb: "#no" # yes\n');
yaml('deep nesting', `${[...'abcdefghij'].map((key, depth) => `${'  '.repeat(depth)}${key}:`).join('\n')} 1\n`);

// Configurations as they are met.
add('a production setting', {
  [MAIN]: 'app: { title: Docs }\nbackend:\n  baseUrl: http://localhost:7007\n  listen: { port: 7007 }\n  cache: { store: memory }\ntechdocs:\n  builder: local\n  publisher: { type: local }\n',
  'app-config.production.yaml':
    'backend:\n  baseUrl: ${BASE_URL:-https://backstage.example.com}\n  listen: ":7007"\n  cache: { store: redis, connection: "redis://:${REDIS_PASSWORD}@redis:6379" }\n  auth:\n    externalAccess:\n      - type: static\n        options: { token: { $file: token.txt }, subject: ci }\n        accessRestrictions: [{ plugin: techdocs }]\ntechdocs:\n  builder: external\n  publisher:\n    type: awsS3\n    awsS3:\n      bucketName: ${BUCKET}\n      region: { $env: AWS_REGION }\n      endpoint: ${S3_ENDPOINT}\n      credentials: { $include: secrets/aws.yaml#techdocs }\n  cache: { ttl: { minutes: 5 }, readTimeout: 500 }\n',
  'token.txt': 'a-test-value\n',
  'secrets/aws.yaml': 'techdocs:\n  accessKeyId: ${AWS_KEY}\n  secretAccessKey: { $file: key }\n',
  'secrets/key': 'another-test-value\n',
}, {
  args: [MAIN, 'app-config.production.yaml'],
  env: { REDIS_PASSWORD: 'pw', BUCKET: 'docs', AWS_REGION: 'eu-central-1', AWS_KEY: 'AKTEST', APP_CONFIG_techdocs_publisher_awsS3_bucketRootPath: 'team/docs', APP_CONFIG_techdocs_publisher_awsS3_maxAttempts: '3' },
});
add('a private key in a variable', 'techdocs: { publisher: { googleGcs: { credentials: { $env: GCS } } } }\n', { env: { GCS: '{"type": "service_account", "private_key": "-----BEGIN\\nxyz\\n-----END\\n"}' } });

// ------------------------------------------------------------------------- reading

const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'callboard-config-')));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

async function readCase({ files, env, args }, folder, allowMissingDefaultConfig) {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  process.chdir(folder);
  // The loader takes variables for ${VAR} from the process itself.
  for (const name of Object.keys(process.env)) {
    if (/^(APP_CONFIG|BACKSTAGE_ENV)/i.test(name)) delete process.env[name];
  }
  Object.assign(process.env, env);
  try {
    const source = ConfigSources.default({
      rootDir: folder,
      argv: args.flatMap(path => ['--config', path]),
      watch: false,
      allowMissingDefaultConfig,
    });
    const config = await ConfigSources.toConfig(source);
    return { expect: config.get() };
  } catch (error) {
    return { error: String(error.message).replaceAll(folder, '{folder}') };
  } finally {
    for (const name of Object.keys(env)) delete process.env[name];
  }
}

// What upstream's loader says of a configuration without any value.
const NOTHING = "Missing required config value at '' in 'mock-config'";
const EMPTY = 'a configuration with nothing in it is empty; upstream stumbles over it';

const results = [];
for (const { differs, ...input } of cases) {
  const folder = join(scratch, String(results.length));
  const upstream = await readCase(input, folder);
  const wanted = differs ? await readCase(input, folder, true) : upstream;
  if (wanted.error === NOTHING) {
    results.push({ ...input, expect: {}, upstream, differs: differs ?? EMPTY });
  } else if (differs) {
    results.push({ ...input, ...wanted, upstream, differs });
  } else {
    results.push({ ...input, ...upstream });
  }
}
process.chdir(tmpdir());

// --------------------------------------------------------------------------- types

const values = [
  'text', '', ' ', '5', ' 5 ', '-1', '1.5', '1e3', '0x10', 'NaN', 'Infinity', 'true', 'false', 'True', 'TRUE', 'yes', 'no', 'on', 'off',
  '1', '0', 'y', 'n', 't', 'f', 0, 1, 5, -1, 1.5, true, false, null, [], ['a'], [''], ['a', 1], [null], [['a']], {}, { a: 1 }, [{ a: 1 }, { a: 2 }], [{ a: 1 }, 'x'],
];
const getters = {
  string: config => config.getOptionalString('v'),
  number: config => config.getOptionalNumber('v'),
  boolean: config => config.getOptionalBoolean('v'),
  strings: config => config.getOptionalStringArray('v'),
  map: config => config.getOptionalConfig('v')?.getOptional(),
  maps: config => config.getOptionalConfigArray('v')?.map(item => item.getOptional()),
};
const reads = [];
for (const [as, get] of Object.entries(getters)) {
  for (const value of values) {
    const config = new ConfigReader({ v: value }, 'test');
    try {
      const read = get(config);
      reads.push({ value, as, ...(read === undefined ? { absent: true } : { expect: read }) });
    } catch (error) {
      reads.push({ value, as, error: error.message });
    }
  }
}

// ----------------------------------------------------------------------- durations

// A plain number is what techdocs-backend reads techdocs.cache.ttl as, before it
// turns to the common way of reading durations.
function readDuration(value) {
  const config = new ConfigReader({ v: value }, 'test');
  return typeof config.get('v') === 'number'
    ? config.getNumber('v')
    : durationToMilliseconds(readDurationFromConfig(config, { key: 'v' }));
}

const durationInputs = [
  0, 1, 500, 3600000, 1.5,
  '5m', '5 m', '5min', '5 mins', '5 minute', '5 minutes', '5M', '5 Minutes', '5s', '5sec', '5 secs', '5 seconds', '5ms', '5 msecs',
  '5 milliseconds', '5h', '5hr', '5 hours', '5d', '5 days', '2w', '2 weeks', '1y', '1 yr', '1 year', '1.5h', '.5m', '0s', '0ms', '90s', '100ms', '1.5ms', '0.5ms', ' 5m ', '2 days 3 hours',
  '5', '500', '', ' ', 'm', '-5m', '+5m', '5mm', '5 fortnights', '5mo', '1 month', '5m 3s', '5,5m', '1e3ms', '0x10ms', 'five minutes', '5\u00a0m', `${'9'.repeat(101)}ms`,
  'PT5M', 'PT1H30M', 'P1D', 'P1DT12H', 'P1W', 'P2M', 'P1Y', 'PT0.5S', 'PT1.5S', 'PT1,5S', 'PT1.5M', 'PT1.25H', 'P0.5D', 'PT36H', 'PT0S', 'P1Y2M3W4DT5H6M7.089S', 'PT1.0009S', 'PT90S', ' PT5M ',
  'P', 'PT', 'P1', 'P1H', 'PT1D', 'pt5m', 'PT5m', 'PT-5M', '-PT5M', 'P-1D', 'PT5M3H', 'P1DT', 'PT5MX', 'P1Y1Y',
  { minutes: 5 }, { hours: 1, minutes: 30 }, { milliseconds: 250 }, { seconds: 0 }, { days: 1 }, { weeks: 1 }, { months: 1 }, { years: 1 },
  { years: 1, months: 1, weeks: 1, days: 1, hours: 1, minutes: 1, seconds: 1, milliseconds: 1 }, { minutes: 1.5 }, { minutes: '5' }, { hours: '1.5' },
  { minutes: -5 }, { minutes: 5, seconds: -1 }, {}, { minute: 5 }, { Minutes: 5 }, { minutes: 5, foo: 1 }, { minutes: 'five' }, { minutes: null }, { minutes: '' },
  { minutes: null, seconds: 5 }, { ms: 5 }, null, true, [], [5], ['5m'],
  -1,
];
const NEGATIVE = 'a negative duration is an error; upstream only says so for strings such as -5m';
const durations = durationInputs.map(input => {
  let upstream;
  try {
    upstream = { ms: readDuration(input) };
  } catch (error) {
    upstream = { error: error.message.split('\n')[0] };
  }
  return upstream.ms < 0 ? { input, error: NEGATIVE, upstream, differs: NEGATIVE } : { input, ...upstream };
});

writeVectors(
  'config.json',
  {
    generator: 'tests/backstage/vectors/generate-config.mjs',
    packages: versions('@backstage/config-loader', '@backstage/config', '@backstage/types', '@backstage/config-loader>yaml', '@backstage/config>ms'),
  },
  { cases: results, reads, durations },
);
