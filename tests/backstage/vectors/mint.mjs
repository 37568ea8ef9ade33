// Makes keys, and tokens from recipes; tests/vectors/README.md tells how.

import crypto from 'node:crypto';
import { KEYS, SECRETS } from './token-recipes.mjs';

const base64url = data => Buffer.from(data).toString('base64url');

const pairs = {};
for (const [name, { alg, of }] of Object.entries(KEYS)) {
  pairs[name] = of
    ? pairs[of]
    : alg === 'EdDSA'
      ? crypto.generateKeyPairSync('ed25519')
      : alg.startsWith('ES')
        ? crypto.generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' })
        : crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
}

export function published(name) {
  const { alg, jwk = {} } = KEYS[name];
  const whole = { ...pairs[name].publicKey.export({ format: 'jwk' }), kid: name, alg, ...jwk };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== null));
}

const secrets = Object.fromEntries(
  // Letters of both cases, so that swapping them always makes a difference; and no
  // spare bits at the end, so that it is base64 to the strictest of decoders.
  SECRETS.map(name => [name, `AaAa${crypto.randomBytes(30).toString('base64url')}`]),
);

/** Fills in `{secret:…}` and `{base}` in whatever a recipe or its settings hold. */
export function fill(value, base) {
  if (typeof value === 'string') {
    return value.replaceAll('{base}', base).replace(/\{secret:([\w-]+)\}/g, (_, name) => secrets[name]);
  }
  if (Array.isArray(value)) return value.map(item => fill(item, base));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, base)]));
  }
  return value;
}

function hmacKey(key) {
  const [how, name, form] = key.split(':');
  if (how === 'secret') return Buffer.from(secrets[name], 'base64url');
  if (how === 'text') return Buffer.from(secrets[name]);
  const { publicKey } = pairs[name];
  if (form === 'pem') return Buffer.from(publicKey.export({ format: 'pem', type: 'spki' }));
  if (form === 'jwk') return Buffer.from(JSON.stringify(published(name)));
  return Buffer.from(published(name).x, 'base64url');
}

function sign(key, headerAlg, data) {
  if (key === 'none') return Buffer.alloc(0);
  if (key.includes(':')) {
    const hash = /^HS\d+$/.test(headerAlg) ? `sha${headerAlg.slice(2)}` : 'sha256';
    return crypto.createHmac(hash, hmacKey(key)).update(data).digest();
  }
  const { privateKey } = pairs[key];
  switch (KEYS[key].alg) {
    case 'ES256':
      return crypto.sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    case 'ES384':
      return crypto.sign('sha384', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    case 'RS256':
      return crypto.sign('sha256', data, privateKey);
    case 'PS256':
      return crypto.sign('sha256', data, { key: privateKey, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
    default:
      return crypto.sign(null, data, privateKey);
  }
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** `parts` are a token's header, payload and signature, all encoded. */
const MUTATIONS = {
  'flip-signature-bit': ([h, p, s]) => {
    const bytes = Buffer.from(s, 'base64url');
    bytes[10] ^= 1;
    return `${h}.${p}.${base64url(bytes)}`;
  },
  'strip-signature': ([h, p]) => `${h}.${p}.`,
  'drop-signature-part': ([h, p]) => `${h}.${p}`,
  'zero-signature': ([h, p, s]) => `${h}.${p}.${base64url(Buffer.alloc(Buffer.from(s, 'base64url').length))}`,
  'shorten-signature': ([h, p, s]) => `${h}.${p}.${base64url(Buffer.from(s, 'base64url').subarray(0, -1))}`,
  'lengthen-signature': ([h, p, s]) => `${h}.${p}.${base64url(Buffer.concat([Buffer.from(s, 'base64url'), Buffer.alloc(1)]))}`,
  'append-garbage': ([h, p, s]) => `${h}.${p}.${s}garbage`,
  'append-part': ([h, p, s]) => `${h}.${p}.${s}.${s}`,
  'empty-header': ([, p, s]) => `.${p}.${s}`,
  'empty-payload': ([h, , s]) => `${h}..${s}`,
  'swap-parts': ([h, p, s]) => `${p}.${h}.${s}`,
  'upper-case': parts => parts.join('.').toUpperCase(),
  'pad-signature': ([h, p, s]) => `${h}.${p}.${s}==`,
  // The last of 86 characters holds four bits that belong to no byte.
  'noncanonical-signature': ([h, p, s]) => `${h}.${p}.${s.slice(0, -1)}${BASE64URL[BASE64URL.indexOf(s.at(-1)) ^ 1]}`,
  'swap-payload': ([h, , s], swap) => `${h}.${base64url(swap)}.${s}`,
  'swap-header': ([, p, s], swap) => `${base64url(swap)}.${p}.${s}`,
};
const TEXT_MUTATIONS = {
  'drop-last': text => text.slice(0, -1),
  'swap-case': text => [...text].map(c => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join(''),
};

export function mint(recipe, base) {
  const clock = Math.floor(Date.now() / 1000);
  const value = item => {
    if (Array.isArray(item)) return item.map(value);
    if (!item || typeof item !== 'object') return fill(item, base);
    if ('$now' in item) return clock + item.$now;
    if ('$token' in item) return mint(item.$token, base);
    if ('$jwk' in item) return published(item.$jwk);
    return Object.fromEntries(Object.entries(item).map(([key, member]) => [key, value(member)]));
  };
  const text = template => template.replace(/<now([+-]\d+)>/g, (_, offset) => clock + Number(offset));

  if (recipe.literal !== undefined) {
    const filled = fill(recipe.literal, base);
    return recipe.mutate ? TEXT_MUTATIONS[recipe.mutate](filled) : filled;
  }
  if (!recipe.key) return '';
  const header = base64url(recipe.headerText ?? JSON.stringify(value(recipe.header)));
  const payload = base64url(recipe.claimsText !== undefined ? text(recipe.claimsText) : JSON.stringify(value(recipe.claims)));
  const signature = base64url(sign(recipe.key, recipe.header?.alg, Buffer.from(`${header}.${payload}`)));
  const parts = [header, payload, signature];
  return recipe.mutate
    ? MUTATIONS[recipe.mutate](parts, recipe.swap && JSON.stringify(value(recipe.swap)))
    : parts.join('.');
}
