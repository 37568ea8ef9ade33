// What tokens.json consists of before anybody has run it: keys, endpoints and
// settings, and for each recipe the verdict that BACKSTAGE.md §1 asks for, decided
// case by case, with the reason where upstream is known to judge otherwise.

// --------------------------------------------------------------- keys and settings

// `kid` is the name of the key. `of` is another algorithm with the same key pair.
// `jwk` changes the published key: null leaves a member out.
export const KEYS = {
  'plugin-techdocs': { alg: 'ES256' },
  'plugin-catalog': { alg: 'ES256' },
  'plugin-scaffolder': { alg: 'ES256' },
  'plugin-search-1': { alg: 'ES256' },
  'plugin-search-2': { alg: 'ES256' },
  'plugin-rsa': { alg: 'RS256' },
  'plugin-rsa-ps256': { alg: 'PS256', of: 'plugin-rsa' },
  'plugin-p384': { alg: 'ES384' },
  'plugin-ed': { alg: 'EdDSA' },
  user: { alg: 'ES256' },
  'external-rsa': { alg: 'RS256' },
  'external-rsa-ps256': { alg: 'PS256', of: 'external-rsa' },
  'external-es256': { alg: 'ES256' },
  'external-ed': { alg: 'EdDSA' },
  'external-noalg': { alg: 'RS256', jwk: { alg: null } },
  'external-noalg-ps256': { alg: 'PS256', of: 'external-noalg' },
  'external-enc': { alg: 'RS256', jwk: { use: 'enc' } },
  'external-sig': { alg: 'RS256', jwk: { use: 'sig' } },
  lonely: { alg: 'RS256', jwk: { kid: null } },
  unpublished: { alg: 'ES256' },
  'unpublished-rsa': { alg: 'RS256' },
};

const plugin = id => `/api/${id}/.backstage/auth/v1/jwks.json`;
export const ENDPOINTS = {
  [plugin('techdocs')]: ['plugin-techdocs'],
  [plugin('catalog')]: ['plugin-catalog'],
  [plugin('scaffolder')]: ['plugin-scaffolder'],
  // Two replicas, or a key and its successor.
  [plugin('search')]: ['plugin-search-1', 'plugin-search-2'],
  [plugin('rsa')]: ['plugin-rsa'],
  [plugin('p384')]: ['plugin-p384'],
  [plugin('ed')]: ['plugin-ed'],
  // A plugin that has not minted a token yet.
  [plugin('fresh')]: [],
  '/api/auth/.well-known/jwks.json': ['user'],
  '/external/jwks.json': ['external-rsa', 'external-es256', 'external-ed', 'external-noalg', 'external-enc', 'external-sig'],
  '/external/lonely.json': ['lonely'],
};

// Random text in base64url, made anew for each run, and no two alike.
export const SECRETS = ['static-a', 'static-b', 'legacy-a', 'legacy-b', 'unknown'];

export const DEFAULTS = {
  audiences: ['techdocs', 'callboard'],
  allow: ['plugin:techdocs'],
  users: false,
  cookies: false,
  clockTolerance: 5,
  disableDefaultAuthPolicy: false,
  honourDisabledPolicy: false,
  externalAccess: [],
  keys: [],
};

// ------------------------------------------------------------------------ verdicts

const ok = (subject, actor) => ({ status: 200, subject, ...(actor && { actor }) });
const UNAUTHENTICATED = { status: 401 };
const forbidden = subject => ({ status: 403, ...(subject && { subject }) });
const TECHDOCS = ok('plugin:techdocs');

export const REASONS = {
  allow: 'only the subjects that are configured may read; upstream lets in every plugin and user',
  audiences: 'the audience is compared with all configured ids; upstream has just its own',
  users: 'user tokens are refused unless switched on; upstream takes them',
  cookies: 'the cookie is refused unless switched on; upstream takes it',
  tolerance: 'our clocks may differ by a few seconds; upstream allows none',
  exp: 'every JWT has to expire; upstream takes this one without exp',
  kid: 'plugin and user tokens name their key; upstream takes the only key there is',
  crash: 'a broken token is 401; upstream lets the decoder throw and answers 500',
  crit: 'no critical header is known to us, so each is refused; upstream knows b64',
  canonical: 'one token has one spelling, so that what is remembered cannot be varied; upstream decodes leniently',
  duplicate: 'a member given twice is refused; upstream takes the last one',
  subType: 'sub has to be a string; upstream turns it into one',
  oboEmpty: 'an obo claim has to hold a token; upstream takes an empty one for none, and lets the plugin in as itself',
  oboLimited: 'obo has to hold a limited user token; upstream takes any kind of user token',
  cookieKind: 'the cookie is for limited user tokens only; upstream takes any token there',
  headers: 'two Authorization headers are ambiguous and refused; node drops all but the first',
  permission: 'restrictions are checked at the door; upstream leaves permissions to the permission framework',
  restrictedToUs: 'our own id counts as well; upstream is only techdocs',
  legacyExpired: 'an expired token is 401; upstream lets the error through and answers 500',
  policy: 'a disabled auth policy counts only together with our own switch; upstream honours it alone',
  policyBad: 'without authentication nothing is verified; upstream verifies what a handler asks for',
  infinite: 'a number that no number can hold is refused; upstream takes it for infinity',
  secret: 'a secret has to be base64; upstream skips what is not, down to an empty key',
};

// ------------------------------------------------------------------------- recipes

export const recipes = [];
const names = new Set();

/** `differs` is the name of a reason. */
function add(kind, name, recipe, expect, differs) {
  if (names.has(`${kind} ${name}`)) throw new Error(`two recipes are called ${kind} ${name}`);
  names.add(`${kind} ${name}`);
  recipes.push({ kind, name, ...recipe, expect, differs });
}

const now = offset => ({ $now: offset });
export const bearer = [['Authorization', 'Bearer {token}']];
const cookie = [['Cookie', 'backstage-auth={token}']];

/** Changes to claims and headers: undefined takes a member out. */
const change = (base, changes) =>
  Object.fromEntries(Object.entries({ ...base, ...changes }).filter(([, value]) => value !== undefined));

const pluginToken = ({ header, claims, key = 'plugin-techdocs', ...rest } = {}) => ({
  header: change({ typ: 'vnd.backstage.plugin', alg: 'ES256', kid: key }, header),
  claims: change({ sub: 'techdocs', aud: 'techdocs', iat: now(0), exp: now(3600) }, claims),
  key,
  ...rest,
});
const userToken = ({ header, claims, key = 'user', ...rest } = {}) => ({
  header: change({ typ: 'vnd.backstage.user', alg: 'ES256', kid: key }, header),
  claims: change({ iss: 'http://localhost/api/auth', sub: 'user:default/jane', aud: 'backstage', iat: now(0), exp: now(3600) }, claims),
  key,
  ...rest,
});
const limitedToken = ({ header, claims, key = 'user', ...rest } = {}) => ({
  header: change({ typ: 'vnd.backstage.limited-user', alg: 'ES256', kid: key }, header),
  claims: change({ sub: 'user:default/jane', iat: now(0), exp: now(3600) }, claims),
  key,
  ...rest,
});
const oldUserToken = ({ header, ...rest } = {}) => userToken({ header: { typ: undefined, ...header }, ...rest });
const externalToken = ({ header, claims, key = 'external-rsa', ...rest } = {}) => ({
  header: change({ alg: KEYS[key]?.alg, kid: KEYS[key]?.of ?? key }, header),
  claims: change({ iss: 'https://idp.example', sub: 'robot', aud: 'docs', iat: now(0), exp: now(3600) }, claims),
  key,
  ...rest,
});
const legacyToken = ({ header, claims, key = 'secret:legacy-a', ...rest } = {}) => ({
  header: change({ alg: 'HS256' }, header),
  claims: change({ sub: 'backstage-server', exp: now(3600) }, claims),
  key,
  ...rest,
});

const USERS = { users: true };
const COOKIES = { cookies: true };
const JANE = ok('user:default/jane');
const JANE_BY_TECHDOCS = ok('user:default/jane', 'plugin:techdocs');

// Plugin tokens: who and for whom.
add('plugin', 'good', pluginToken(), TECHDOCS);
add('plugin', 'for callboard', pluginToken({ claims: { aud: 'callboard' } }), TECHDOCS, 'audiences');
add('plugin', 'for another plugin', pluginToken({ claims: { aud: 'catalog' } }), UNAUTHENTICATED);
add('plugin', 'for several plugins, us among them', pluginToken({ claims: { aud: ['catalog', 'techdocs'] } }), TECHDOCS);
add('plugin', 'for several other plugins', pluginToken({ claims: { aud: ['catalog', 'search'] } }), UNAUTHENTICATED);
add('plugin', 'for nobody', pluginToken({ claims: { aud: [] } }), UNAUTHENTICATED);
add('plugin', 'for an empty name', pluginToken({ claims: { aud: '' } }), UNAUTHENTICATED);
add('plugin', 'for us in upper case', pluginToken({ claims: { aud: 'TECHDOCS' } }), UNAUTHENTICATED);
add('plugin', 'for us with a space', pluginToken({ claims: { aud: 'techdocs ' } }), UNAUTHENTICATED);
add('plugin', 'for a longer name', pluginToken({ claims: { aud: 'techdocs2' } }), UNAUTHENTICATED);
add('plugin', 'for a list in a string', pluginToken({ claims: { aud: 'catalog techdocs' } }), UNAUTHENTICATED);
add('plugin', 'for a number', pluginToken({ claims: { aud: 5 } }), UNAUTHENTICATED);
add('plugin', 'for a map', pluginToken({ claims: { aud: { techdocs: true } } }), UNAUTHENTICATED);
add('plugin', 'for a list with a number', pluginToken({ claims: { aud: [5, 'techdocs'] } }), TECHDOCS);
add('plugin', 'for null', pluginToken({ claims: { aud: null } }), UNAUTHENTICATED);
add('plugin', 'for an audience that is configured', pluginToken({ claims: { aud: 'docs-proxy' }, settings: { audiences: ['docs-proxy'] } }), TECHDOCS, 'audiences');
add('plugin', 'for an audience that is configured no more', pluginToken({ settings: { audiences: ['callboard'] } }), UNAUTHENTICATED, 'audiences');
add('plugin', 'of a plugin that may not read', pluginToken({ key: 'plugin-catalog', claims: { sub: 'catalog' } }), forbidden('plugin:catalog'), 'allow');
add('plugin', 'of a plugin that is allowed', pluginToken({ key: 'plugin-catalog', claims: { sub: 'catalog' }, settings: { allow: ['plugin:catalog'] } }), ok('plugin:catalog'));
add('plugin', 'of a plugin that is allowed no more', pluginToken({ settings: { allow: ['plugin:catalog'] } }), forbidden('plugin:techdocs'), 'allow');
add('plugin', 'of a stranger', pluginToken({ key: 'plugin-scaffolder', claims: { sub: 'scaffolder' } }), forbidden('plugin:scaffolder'), 'allow');
add('plugin', 'first of two keys', pluginToken({ key: 'plugin-search-1', claims: { sub: 'search' }, settings: { allow: ['plugin:search'] } }), ok('plugin:search'));
add('plugin', 'second of two keys', pluginToken({ key: 'plugin-search-2', claims: { sub: 'search' }, settings: { allow: ['plugin:search'] } }), ok('plugin:search'));
add('plugin', 'first key with the name of the second', pluginToken({ key: 'plugin-search-1', header: { kid: 'plugin-search-2' }, claims: { sub: 'search' }, settings: { allow: ['plugin:search'] } }), UNAUTHENTICATED);
add('plugin', 'of a plugin without keys', pluginToken({ claims: { sub: 'fresh' } }), UNAUTHENTICATED);
add('plugin', 'of a plugin that is not there', pluginToken({ claims: { sub: 'nowhere' } }), UNAUTHENTICATED);
add('plugin', 'more claims than needed', pluginToken({ claims: { iss: 'x', jti: 'y', scope: ['z'], ent: [] } }), TECHDOCS);
add('plugin', 'a long one', pluginToken({ claims: { filler: 'x'.repeat(3000) } }), TECHDOCS);

// …with other algorithms, which upstream can be configured for.
const other = (id, settings = { allow: [`plugin:${id}`] }) => ({ claims: { sub: id }, settings });
add('plugin', 'RS256', pluginToken({ ...other('rsa'), key: 'plugin-rsa', header: { alg: 'RS256' } }), ok('plugin:rsa'));
add('plugin', 'PS256 with a key for RS256', pluginToken({ ...other('rsa'), key: 'plugin-rsa-ps256', header: { alg: 'PS256', kid: 'plugin-rsa' } }), UNAUTHENTICATED);
add('plugin', 'ES384', pluginToken({ ...other('p384'), key: 'plugin-p384', header: { alg: 'ES384' } }), ok('plugin:p384'));
add('plugin', 'ES384 called ES256', pluginToken({ ...other('p384'), key: 'plugin-p384' }), UNAUTHENTICATED);
add('plugin', 'EdDSA', pluginToken({ ...other('ed'), key: 'plugin-ed', header: { alg: 'EdDSA' } }), ok('plugin:ed'));

// Missing and odd claims.
for (const claim of ['sub', 'aud', 'iat', 'exp']) {
  add('plugin', `without ${claim}`, pluginToken({ claims: { [claim]: undefined } }), UNAUTHENTICATED);
}
add('plugin', 'without any claim', pluginToken({ claims: { sub: undefined, aud: undefined, iat: undefined, exp: undefined } }), UNAUTHENTICATED);
for (const [name, sub] of Object.entries({
  'with an empty sub': '',
  'with a sub that climbs': '../techdocs',
  'with a sub that climbs further': '../../external',
  'with a sub of two dots': '..',
  'with a sub of one dot': '.',
  'with a slash in sub': 'techdocs/x',
  'with a slash before sub': '/techdocs',
  'with a backslash in sub': '..\\techdocs',
  'with an encoded slash in sub': '..%2ftechdocs',
  'with a question mark in sub': 'techdocs?x=',
  'with a hash in sub': 'techdocs#',
  'with an at sign in sub': 'x@evil.example',
  'with a URL as sub': 'http://evil.example/',
  'with a port in sub': 'techdocs:80',
  'with a space in sub': 'tech docs',
  'with a space after sub': 'techdocs ',
  'with a line end after sub': 'techdocs\n',
  'with NUL in sub': 'techdocs\u0000',
  'with a dot in sub': 'tech.docs',
  'with a template in sub': '{{pluginId}}',
  'with a Cyrillic letter in sub': 'techd\u043ecs',
  'with a Kelvin sign in sub': 'sea\u212ach',
  'with a prefix before sub': 'plugin:techdocs',
  'with sub in upper case': 'TECHDOCS',
  'with a long sub': 'a'.repeat(500),
  'with a sub that JavaScript knows': '__proto__',
  'with a sub of a number': 5,
  'with a sub of null': null,
  'with a sub of true': true,
  'with a sub of a map': { techdocs: 1 },
  'with a sub of two': ['techdocs', 'catalog'],
})) {
  add('plugin', name, pluginToken({ claims: { sub } }), UNAUTHENTICATED);
}
add('plugin', 'with a sub of one', pluginToken({ claims: { sub: ['techdocs'] } }), UNAUTHENTICATED, 'subType');

// Time.
add('plugin', 'expired long ago', pluginToken({ claims: { iat: now(-7200), exp: now(-3600) } }), UNAUTHENTICATED);
add('plugin', 'expired', pluginToken({ claims: { iat: now(-3600), exp: now(-10) } }), UNAUTHENTICATED);
add('plugin', 'expired within the tolerance', pluginToken({ claims: { iat: now(-3600), exp: now(-2) } }), TECHDOCS, 'tolerance');
add('plugin', 'expires now', pluginToken({ claims: { iat: now(-3600), exp: now(0) } }), TECHDOCS, 'tolerance');
add('plugin', 'about to expire', pluginToken({ claims: { iat: now(-3600), exp: now(30) } }), TECHDOCS);
add('plugin', 'expired, without tolerance', pluginToken({ claims: { iat: now(-3600), exp: now(-2) }, settings: { clockTolerance: 0 } }), UNAUTHENTICATED);
add('plugin', 'expired within a wide tolerance', pluginToken({ claims: { iat: now(-3600), exp: now(-30) }, settings: { clockTolerance: 60 } }), TECHDOCS, 'tolerance');
add('plugin', 'issued in the future', pluginToken({ claims: { iat: now(600) } }), TECHDOCS);
add('plugin', 'issued in the past', pluginToken({ claims: { iat: now(-100000) } }), TECHDOCS);
add('plugin', 'exp before iat', pluginToken({ claims: { iat: now(600), exp: now(300) } }), TECHDOCS);
add('plugin', 'not yet valid', pluginToken({ claims: { nbf: now(600) } }), UNAUTHENTICATED);
add('plugin', 'not yet valid within the tolerance', pluginToken({ claims: { nbf: now(2) } }), TECHDOCS, 'tolerance');
add('plugin', 'valid since', pluginToken({ claims: { nbf: now(-5) } }), TECHDOCS);
add('plugin', 'nbf as text', pluginToken({ claims: { nbf: '0' } }), UNAUTHENTICATED);
add('plugin', 'exp as text', pluginToken({ claims: { exp: '99999999999' } }), UNAUTHENTICATED);
add('plugin', 'exp as a date', pluginToken({ claims: { exp: '2999-01-01T00:00:00Z' } }), UNAUTHENTICATED);
add('plugin', 'exp null', pluginToken({ claims: { exp: null } }), UNAUTHENTICATED);
add('plugin', 'exp true', pluginToken({ claims: { exp: true } }), UNAUTHENTICATED);
add('plugin', 'exp as a list', pluginToken({ claims: { exp: [now(3600)] } }), UNAUTHENTICATED);
add('plugin', 'exp zero', pluginToken({ claims: { exp: 0 } }), UNAUTHENTICATED);
add('plugin', 'exp negative', pluginToken({ claims: { exp: -1 } }), UNAUTHENTICATED);
add('plugin', 'exp fractional', pluginToken({ claims: { exp: now(3600.5) } }), TECHDOCS);
add('plugin', 'exp fractional and over', pluginToken({ claims: { exp: now(-10.5) } }), UNAUTHENTICATED);
add('plugin', 'exp huge', pluginToken({ claims: { exp: 1e20 } }), TECHDOCS);
add('plugin', 'exp in milliseconds', pluginToken({ claims: { exp: 4102444800000 } }), TECHDOCS);
add('plugin', 'iat as text', pluginToken({ claims: { iat: '0' } }), UNAUTHENTICATED);
add('plugin', 'iat fractional', pluginToken({ claims: { iat: now(-0.5) } }), TECHDOCS);

// Signatures and keys.
for (const [mutate, expect, differs] of [
  ['flip-signature-bit', UNAUTHENTICATED],
  ['strip-signature', UNAUTHENTICATED],
  ['drop-signature-part', UNAUTHENTICATED],
  ['zero-signature', UNAUTHENTICATED],
  ['shorten-signature', UNAUTHENTICATED],
  ['lengthen-signature', UNAUTHENTICATED],
  ['append-garbage', UNAUTHENTICATED],
  ['append-part', UNAUTHENTICATED],
  ['empty-header', UNAUTHENTICATED],
  ['empty-payload', UNAUTHENTICATED, 'crash'],
  ['swap-parts', UNAUTHENTICATED],
  ['upper-case', UNAUTHENTICATED],
  ['pad-signature', UNAUTHENTICATED, 'canonical'],
  ['noncanonical-signature', UNAUTHENTICATED, 'canonical'],
]) {
  add('plugin', mutate, pluginToken({ mutate }), expect, differs);
}
add('plugin', 'payload swapped after signing', pluginToken({ mutate: 'swap-payload', swap: { sub: 'techdocs', aud: 'techdocs', iat: now(0), exp: now(99999) } }), UNAUTHENTICATED);
add('plugin', 'header swapped after signing', pluginToken({ mutate: 'swap-header', swap: { typ: 'vnd.backstage.plugin', alg: 'ES256', kid: 'plugin-techdocs', x: 1 } }), UNAUTHENTICATED);
add('plugin', 'algorithm none after signing', pluginToken({ mutate: 'swap-header', swap: { typ: 'vnd.backstage.plugin', alg: 'none' } }), UNAUTHENTICATED);
add('plugin', 'key of another plugin', pluginToken({ key: 'plugin-catalog' }), UNAUTHENTICATED);
add('plugin', 'key of another plugin under our kid', pluginToken({ key: 'plugin-catalog', header: { kid: 'plugin-techdocs' } }), UNAUTHENTICATED);
add('plugin', 'key of users', pluginToken({ key: 'user' }), UNAUTHENTICATED);
add('plugin', 'key of an external issuer', pluginToken({ key: 'external-es256' }), UNAUTHENTICATED);
add('plugin', 'a key that nobody published', pluginToken({ key: 'unpublished', header: { kid: 'plugin-techdocs' } }), UNAUTHENTICATED);
add('plugin', 'unknown kid', pluginToken({ header: { kid: 'no-such-key' } }), UNAUTHENTICATED);
add('plugin', 'unknown kid and key', pluginToken({ key: 'unpublished' }), UNAUTHENTICATED);
add('plugin', 'no kid', pluginToken({ header: { kid: undefined } }), UNAUTHENTICATED, 'kid');
add('plugin', 'empty kid', pluginToken({ header: { kid: '' } }), UNAUTHENTICATED);
add('plugin', 'kid of a number', pluginToken({ header: { kid: 5 } }), UNAUTHENTICATED, 'kid');
add('plugin', 'kid of a path', pluginToken({ header: { kid: '../../etc/passwd' } }), UNAUTHENTICATED);
add('plugin', 'kid in upper case', pluginToken({ header: { kid: 'PLUGIN-TECHDOCS' } }), UNAUTHENTICATED);
add('plugin', 'long kid', pluginToken({ header: { kid: 'k'.repeat(2000) } }), UNAUTHENTICATED);

// Algorithms that are not the key's.
for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
  add('plugin', `algorithm "${alg}", unsigned`, pluginToken({ header: { alg }, key: 'none' }), UNAUTHENTICATED);
}
add('plugin', 'algorithm none with a signature', pluginToken({ header: { alg: 'none' } }), UNAUTHENTICATED);
add('plugin', 'no algorithm', pluginToken({ header: { alg: undefined } }), UNAUTHENTICATED);
add('plugin', 'algorithm of a number', pluginToken({ header: { alg: 5 } }), UNAUTHENTICATED);
add('plugin', 'algorithm in lower case', pluginToken({ header: { alg: 'es256' } }), UNAUTHENTICATED);
add('plugin', 'unknown algorithm', pluginToken({ header: { alg: 'ES512256' } }), UNAUTHENTICATED);
add('plugin', 'ES256K', pluginToken({ header: { alg: 'ES256K' } }), UNAUTHENTICATED);
add('plugin', 'an encryption algorithm', pluginToken({ header: { alg: 'RSA-OAEP', enc: 'A256GCM' } }), UNAUTHENTICATED);
for (const alg of ['HS256', 'HS384', 'HS512']) {
  for (const form of ['pem', 'jwk', 'x']) {
    add('plugin', `${alg} with the public key as ${form}`, pluginToken({ header: { alg, kid: 'plugin-techdocs' }, key: `hmac:plugin-techdocs:${form}` }), UNAUTHENTICATED);
  }
}
add('plugin', 'HS256 with the public RSA key', pluginToken({ ...other('rsa'), header: { alg: 'HS256', kid: 'plugin-rsa' }, key: 'hmac:plugin-rsa:pem' }), UNAUTHENTICATED);
add('plugin', 'RS256 with an RSA key', pluginToken({ key: 'unpublished-rsa', header: { alg: 'RS256', kid: 'plugin-techdocs' } }), UNAUTHENTICATED);

// Headers that would have us fetch or trust a key.
for (const [name, header] of Object.entries({
  jku: { jku: '{base}/external/jwks.json' },
  x5u: { x5u: '{base}/external/jwks.json' },
  jwk: { jwk: { $jwk: 'unpublished' } },
  x5c: { x5c: ['AAAA'] },
})) {
  add('plugin', `${name} beside the right key`, pluginToken({ header }), TECHDOCS);
  add('plugin', `${name} beside a strange key`, pluginToken({ key: 'unpublished', header: { kid: 'plugin-techdocs', ...header } }), UNAUTHENTICATED);
  add('plugin', `${name} in place of a kid`, pluginToken({ key: 'unpublished', header: { kid: undefined, ...header } }), UNAUTHENTICATED);
}
add('plugin', 'jku of the key that signed', pluginToken({ key: 'external-es256', header: { jku: '{base}/external/jwks.json' } }), UNAUTHENTICATED);

// crit
add('plugin', 'crit unknown', pluginToken({ header: { crit: ['x'], x: 1 } }), UNAUTHENTICATED);
add('plugin', 'crit names what is not there', pluginToken({ header: { crit: ['x'] } }), UNAUTHENTICATED);
add('plugin', 'crit of a known claim', pluginToken({ header: { crit: ['exp'], exp: now(3600) } }), UNAUTHENTICATED);
add('plugin', 'crit empty', pluginToken({ header: { crit: [] } }), UNAUTHENTICATED);
add('plugin', 'crit of a string', pluginToken({ header: { crit: 'x' } }), UNAUTHENTICATED);
add('plugin', 'crit b64 true', pluginToken({ header: { crit: ['b64'], b64: true } }), UNAUTHENTICATED, 'crit');
add('plugin', 'crit b64 false', pluginToken({ header: { crit: ['b64'], b64: false } }), UNAUTHENTICATED);
add('plugin', 'unknown header that is not critical', pluginToken({ header: { x: 1, cty: 'JWT' } }), TECHDOCS);

// typ
for (const typ of ['VND.BACKSTAGE.PLUGIN', 'vnd.backstage.plugin ', 'application/vnd.backstage.plugin', 'vnd.backstage.other', 'JWT', 'jwt', '', null, 5]) {
  add('plugin', `typ ${JSON.stringify(typ)}`, pluginToken({ header: { typ } }), UNAUTHENTICATED);
}
add('plugin', 'no typ', pluginToken({ header: { typ: undefined } }), UNAUTHENTICATED);
add('plugin', 'typ of a user token', pluginToken({ header: { typ: 'vnd.backstage.user' }, settings: USERS }), UNAUTHENTICATED);
add('plugin', 'typ of a limited user token', pluginToken({ header: { typ: 'vnd.backstage.limited-user' }, settings: USERS }), UNAUTHENTICATED);

// Text that is not quite JSON, or not quite a map.
const HEADER_TEXT = '"typ":"vnd.backstage.plugin","kid":"plugin-techdocs"';
const CLAIMS_TEXT = '"aud":"techdocs","iat":<now+0>,"exp":<now+3600>';
for (const [name, claims, expect, differs] of [
  ['claims are a list', '[]', UNAUTHENTICATED, 'crash'],
  ['claims are a string', '"techdocs"', UNAUTHENTICATED, 'crash'],
  ['claims are a number', '5', UNAUTHENTICATED, 'crash'],
  ['claims are null', 'null', UNAUTHENTICATED, 'crash'],
  ['claims are true', 'true', UNAUTHENTICATED, 'crash'],
  ['claims are not JSON', 'techdocs', UNAUTHENTICATED, 'crash'],
  ['claims are cut off', `{"sub":"techdocs",${CLAIMS_TEXT}`, UNAUTHENTICATED, 'crash'],
  ['claims with a comma too many', `{"sub":"techdocs",${CLAIMS_TEXT},}`, UNAUTHENTICATED, 'crash'],
  ['claims with text behind', `{"sub":"techdocs",${CLAIMS_TEXT}}{}`, UNAUTHENTICATED, 'crash'],
  ['claims in a list', `[{"sub":"techdocs",${CLAIMS_TEXT}}]`, UNAUTHENTICATED, 'crash'],
  ['claims with white space', ` {\n "sub" : "techdocs" , ${CLAIMS_TEXT} }\t`, TECHDOCS],
  ['claims with escapes', `{"\\u0073ub":"tech\\u0064ocs",${CLAIMS_TEXT}}`, TECHDOCS],
  ['sub given twice', `{"sub":"catalog","sub":"techdocs",${CLAIMS_TEXT}}`, UNAUTHENTICATED, 'duplicate'],
  ['sub given twice, the other way round', `{"sub":"techdocs","sub":"catalog",${CLAIMS_TEXT}}`, UNAUTHENTICATED],
  ['aud given twice', `{"sub":"techdocs","aud":"catalog",${CLAIMS_TEXT}}`, UNAUTHENTICATED, 'duplicate'],
  ['exp given twice', `{"sub":"techdocs","exp":1,${CLAIMS_TEXT}}`, UNAUTHENTICATED, 'duplicate'],
  ['exp as an exponent', '{"sub":"techdocs","aud":"techdocs","iat":<now+0>,"exp":99999999e3}', TECHDOCS],
  ['exp beyond every number', '{"sub":"techdocs","aud":"techdocs","iat":<now+0>,"exp":1e999}', UNAUTHENTICATED, 'infinite'],
]) {
  add('plugin', name, { ...pluginToken(), claims: undefined, claimsText: claims }, expect, differs);
}
for (const [name, headerText, expect, differs] of [
  ['header is a list', '[]', UNAUTHENTICATED],
  ['header is a string', '"x"', UNAUTHENTICATED],
  ['header is null', 'null', UNAUTHENTICATED],
  ['header is not JSON', 'x', UNAUTHENTICATED],
  ['header is empty', '', UNAUTHENTICATED],
  ['header is an empty map', '{}', UNAUTHENTICATED],
  ['header is cut off', `{"alg":"ES256",${HEADER_TEXT}`, UNAUTHENTICATED],
  ['header with white space', `{ "alg" : "ES256" , ${HEADER_TEXT} }\n`, TECHDOCS],
  ['alg given twice', `{"alg":"none","alg":"ES256",${HEADER_TEXT}}`, UNAUTHENTICATED, 'duplicate'],
  ['alg given twice, the other way round', `{"alg":"ES256","alg":"none",${HEADER_TEXT}}`, UNAUTHENTICATED],
  ['typ given twice', `{"alg":"ES256","typ":"vnd.backstage.user",${HEADER_TEXT}}`, UNAUTHENTICATED, 'duplicate'],
  ['kid given twice', `{"alg":"ES256","kid":"x",${HEADER_TEXT}}`, UNAUTHENTICATED, 'duplicate'],
]) {
  add('plugin', name, { ...pluginToken(), header: undefined, headerText }, expect, differs);
}

// On behalf of a user.
const oboToken = (inner, changes = {}) =>
  pluginToken({ ...changes, claims: { obo: inner && { $token: inner }, ...changes.claims } });
add('obo', 'good', oboToken(limitedToken()), JANE_BY_TECHDOCS);
add('obo', 'good, users switched on', oboToken(limitedToken(), { settings: USERS }), JANE_BY_TECHDOCS);
add('obo', 'for callboard', oboToken(limitedToken(), { claims: { aud: 'callboard' } }), JANE_BY_TECHDOCS, 'audiences');
add('obo', 'for another plugin', oboToken(limitedToken(), { claims: { aud: 'catalog' } }), UNAUTHENTICATED);
add('obo', 'by a plugin that may not read', oboToken(limitedToken(), { key: 'plugin-scaffolder', claims: { sub: 'scaffolder' } }), forbidden('user:default/jane'), 'allow');
add('obo', 'by a plugin that may not read, users switched on', oboToken(limitedToken(), { key: 'plugin-scaffolder', claims: { sub: 'scaffolder' }, settings: USERS }), ok('user:default/jane', 'plugin:scaffolder'));
add('obo', 'the plugin token has expired', oboToken(limitedToken(), { claims: { exp: now(-60) } }), UNAUTHENTICATED);
add('obo', 'the user token has expired', oboToken(limitedToken({ claims: { exp: now(-60) } })), UNAUTHENTICATED);
add('obo', 'the user token has expired within the tolerance', oboToken(limitedToken({ claims: { exp: now(-2) } })), JANE_BY_TECHDOCS, 'tolerance');
add('obo', 'the user token outlives the plugin token', oboToken(limitedToken({ claims: { exp: now(99999) } })), JANE_BY_TECHDOCS);
add('obo', 'the user token expires first', oboToken(limitedToken({ claims: { exp: now(60) } })), JANE_BY_TECHDOCS);
for (const claim of ['sub', 'iat', 'exp']) {
  add('obo', `the user token is without ${claim}`, oboToken(limitedToken({ claims: { [claim]: undefined } })), UNAUTHENTICATED);
}
add('obo', 'the user token is forged', oboToken(limitedToken({ key: 'unpublished', header: { kid: 'user' } })), UNAUTHENTICATED);
add('obo', 'the user token is signed by the plugin', oboToken(limitedToken({ key: 'plugin-techdocs' })), UNAUTHENTICATED);
add('obo', 'the user token is broken', oboToken(limitedToken({ mutate: 'flip-signature-bit' })), UNAUTHENTICATED);
add('obo', 'the user token is unsigned', oboToken(limitedToken({ header: { alg: 'none' }, key: 'none' })), UNAUTHENTICATED);
add('obo', 'the user token is of an unknown key', oboToken(limitedToken({ header: { kid: 'no-such-key' } })), UNAUTHENTICATED);
add('obo', 'the plugin token is broken', oboToken(limitedToken(), { mutate: 'flip-signature-bit' }), UNAUTHENTICATED);
add('obo', 'a user token that is not limited', oboToken(userToken()), UNAUTHENTICATED, 'oboLimited');
add('obo', 'an old user token', oboToken(oldUserToken()), UNAUTHENTICATED, 'oboLimited');
add('obo', 'a plugin token', oboToken(pluginToken()), UNAUTHENTICATED);
add('obo', 'a plugin token on behalf of a user', oboToken(oboToken(limitedToken())), UNAUTHENTICATED);
add('obo', 'an external token', oboToken(externalToken(), { settings: { externalAccess: [{ type: 'jwks', options: { url: '{base}/external/jwks.json' } }] } }), UNAUTHENTICATED);
for (const [name, obo, differs] of [
  ['empty', '', 'oboEmpty'],
  ['null', null, 'oboEmpty'],
  ['false', false, 'oboEmpty'],
  ['a number', 5],
  ['true', true],
  ['a list', []],
  ['a map', {}],
  ['garbage', 'a.b.c'],
  ['an entity', 'user:default/jane'],
]) {
  add('obo', name, pluginToken({ claims: { obo } }), UNAUTHENTICATED, differs);
}

// Users.
add('user', 'good, switched off', userToken(), UNAUTHENTICATED, 'users');
add('user', 'good, switched on', userToken({ settings: USERS }), JANE);
add('user', 'good, only cookies switched on', userToken({ settings: COOKIES }), UNAUTHENTICATED, 'users');
add('user', 'listed but switched off', userToken({ settings: { allow: ['user:default/jane'] } }), UNAUTHENTICATED, 'users');
add('user', 'on the metadata route', userToken({ settings: USERS, route: 'metadata' }), JANE);
add('user', 'with another audience', userToken({ claims: { aud: 'techdocs' }, settings: USERS }), JANE);
add('user', 'without audience', userToken({ claims: { aud: undefined }, settings: USERS }), JANE);
add('user', 'with entities and proof', userToken({ claims: { ent: ['user:default/jane', 'group:default/team'], uip: 'x' }, settings: USERS }), JANE);
for (const claim of ['sub', 'iat', 'exp']) {
  add('user', `without ${claim}`, userToken({ claims: { [claim]: undefined }, settings: USERS }), UNAUTHENTICATED);
}
add('user', 'with an empty sub', userToken({ claims: { sub: '' }, settings: USERS }), UNAUTHENTICATED);
add('user', 'expired', userToken({ claims: { exp: now(-60) }, settings: USERS }), UNAUTHENTICATED);
add('user', 'expired within the tolerance', userToken({ claims: { exp: now(-2) }, settings: USERS }), JANE, 'tolerance');
add('user', 'forged', userToken({ key: 'unpublished', header: { kid: 'user' }, settings: USERS }), UNAUTHENTICATED);
add('user', 'signed by a plugin', userToken({ key: 'plugin-techdocs', settings: USERS }), UNAUTHENTICATED);
add('user', 'signed by a plugin under the kid of users', userToken({ key: 'plugin-techdocs', header: { kid: 'user' }, settings: USERS }), UNAUTHENTICATED);
add('user', 'unsigned', userToken({ key: 'none', header: { alg: 'none' }, settings: USERS }), UNAUTHENTICATED);
add('user', 'HS256 with the public key', userToken({ key: 'hmac:user:pem', header: { alg: 'HS256', kid: 'user' }, settings: USERS }), UNAUTHENTICATED);
add('user', 'broken', userToken({ mutate: 'flip-signature-bit', settings: USERS }), UNAUTHENTICATED);
add('user', 'unknown kid', userToken({ header: { kid: 'no-such-key' }, settings: USERS }), UNAUTHENTICATED);
add('user', 'no kid', userToken({ header: { kid: undefined }, settings: USERS }), UNAUTHENTICATED, 'kid');
add('user', 'typ in upper case', userToken({ header: { typ: 'VND.BACKSTAGE.USER' }, settings: USERS }), JANE);
add('user', 'claims are not JSON', { ...userToken({ settings: USERS }), claims: undefined, claimsText: 'x' }, UNAUTHENTICATED, 'crash');

add('old user', 'good, switched off', oldUserToken(), UNAUTHENTICATED, 'users');
add('old user', 'good, switched on', oldUserToken({ settings: USERS }), JANE);
add('old user', 'typ JWT', oldUserToken({ header: { typ: 'JWT' }, settings: USERS }), JANE);
add('old user', 'audience in a list', oldUserToken({ claims: { aud: ['backstage'] }, settings: USERS }), UNAUTHENTICATED);
add('old user', 'another audience', oldUserToken({ claims: { aud: 'other' }, settings: USERS }), UNAUTHENTICATED);
add('old user', 'without exp', oldUserToken({ claims: { exp: undefined }, settings: USERS }), UNAUTHENTICATED);
add('old user', 'without iat', oldUserToken({ claims: { iat: undefined }, settings: USERS }), JANE);
add('old user', 'without sub', oldUserToken({ claims: { sub: undefined }, settings: USERS }), UNAUTHENTICATED);
add('old user', 'expired', oldUserToken({ claims: { exp: now(-60) }, settings: USERS }), UNAUTHENTICATED);
add('old user', 'forged', oldUserToken({ key: 'unpublished', header: { kid: 'user' }, settings: USERS }), UNAUTHENTICATED);

add('limited user', 'as a bearer, switched off', limitedToken(), UNAUTHENTICATED, 'users');
add('limited user', 'as a bearer, switched on', limitedToken({ settings: USERS }), JANE);
add('limited user', 'as a bearer on the metadata route', limitedToken({ settings: USERS, route: 'metadata' }), UNAUTHENTICATED);
add('limited user', 'as a cookie, switched off', limitedToken({ present: cookie }), UNAUTHENTICATED, 'cookies');
add('limited user', 'as a cookie, only users switched on', limitedToken({ present: cookie, settings: USERS }), UNAUTHENTICATED, 'cookies');
add('limited user', 'as a cookie, switched on', limitedToken({ present: cookie, settings: COOKIES }), JANE);
add('limited user', 'as a cookie on the metadata route', limitedToken({ present: cookie, settings: COOKIES, route: 'metadata' }), UNAUTHENTICATED);
add('limited user', 'as a bearer, only cookies switched on', limitedToken({ settings: COOKIES }), UNAUTHENTICATED, 'users');
add('limited user', 'expired', limitedToken({ claims: { exp: now(-60) }, present: cookie, settings: COOKIES }), UNAUTHENTICATED);
add('limited user', 'expired within the tolerance', limitedToken({ claims: { exp: now(-2) }, present: cookie, settings: COOKIES }), JANE, 'tolerance');
for (const claim of ['sub', 'iat', 'exp']) {
  add('limited user', `without ${claim}`, limitedToken({ claims: { [claim]: undefined }, present: cookie, settings: COOKIES }), UNAUTHENTICATED);
}
add('limited user', 'forged', limitedToken({ key: 'unpublished', header: { kid: 'user' }, present: cookie, settings: COOKIES }), UNAUTHENTICATED);
add('limited user', 'signature of the whole token', limitedToken({ mutate: 'swap-header', swap: { typ: 'vnd.backstage.user', alg: 'ES256', kid: 'user' }, settings: USERS }), UNAUTHENTICATED);

// Cookies.
const both = { users: true, cookies: true };
for (const [name, value, expect] of [
  ['among others', 'a=b; backstage-auth={token}; c=d', JANE],
  ['without spaces', 'a=b;backstage-auth={token};c=d', JANE],
  ['in quotes', 'backstage-auth="{token}"', JANE],
  ['with a space after the equals sign', 'backstage-auth= {token}', JANE],
  ['twice, the first good', 'backstage-auth={token}; backstage-auth=x', JANE],
  ['twice, the first bad', 'backstage-auth=x; backstage-auth={token}', UNAUTHENTICATED],
  ['of another case', 'Backstage-Auth={token}', UNAUTHENTICATED],
  ['of another name', 'backstage-authx={token}', UNAUTHENTICATED],
  ['of a longer name', 'x-backstage-auth={token}', UNAUTHENTICATED],
  ['empty', 'backstage-auth=', UNAUTHENTICATED],
  ['without a value', 'backstage-auth', UNAUTHENTICATED],
  ['with garbage', 'backstage-auth=garbage', UNAUTHENTICATED],
  ['of nothing', '', UNAUTHENTICATED],
]) {
  add('cookie', name, limitedToken({ present: [['Cookie', value]], settings: both }), expect);
}
add('cookie', 'in the second of two headers', limitedToken({ present: [['Cookie', 'a=b'], ['Cookie', 'backstage-auth={token}']], settings: both }), JANE);
add('cookie', 'a whole user token', userToken({ present: cookie, settings: both }), UNAUTHENTICATED, 'cookieKind');
add('cookie', 'a plugin token', pluginToken({ present: cookie, settings: both }), UNAUTHENTICATED, 'cookieKind');
add('cookie', 'an external token', externalToken({ present: cookie, settings: { ...both, externalAccess: [{ type: 'jwks', options: { url: '{base}/external/jwks.json' } }] } }), UNAUTHENTICATED, 'cookieKind');
add('cookie', 'good beside a good bearer', pluginToken({ other: limitedToken(), present: [...bearer, ['Cookie', 'backstage-auth={other}']], settings: both }), TECHDOCS);
add('cookie', 'bad beside a good bearer', pluginToken({ present: [...bearer, ['Cookie', 'backstage-auth=garbage']], settings: both }), TECHDOCS);
add('cookie', 'good beside a bad bearer', limitedToken({ present: [['Authorization', 'Bearer garbage'], ...cookie], settings: both }), UNAUTHENTICATED);
add('cookie', 'good beside an expired bearer', pluginToken({ claims: { exp: now(-60) }, other: limitedToken(), present: [...bearer, ['Cookie', 'backstage-auth={other}']], settings: both }), UNAUTHENTICATED);
for (const [name, authorization] of [
  ['Basic', 'Basic YTpi'],
  ['a bearer without a token', 'Bearer'],
  ['a bearer of two words', 'Bearer a b'],
  ['a bare token', '{token}'],
  ['an empty header', ''],
]) {
  add('cookie', `good beside ${name}`, limitedToken({ present: [['Authorization', authorization], ...cookie], settings: both }), JANE);
}

// How a bearer is presented.
for (const [name, authorization, expect, differs] of [
  ['lower case', 'bearer {token}', TECHDOCS],
  ['upper case', 'BEARER {token}', TECHDOCS],
  ['mixed case', 'bEaReR {token}', TECHDOCS],
  ['several spaces', 'Bearer     {token}', TECHDOCS],
  ['spaces around the header', '   Bearer {token}   ', TECHDOCS],
  ['a tab after the header', 'Bearer {token}\t', TECHDOCS],
  ['a tab between', 'Bearer\t{token}', UNAUTHENTICATED],
  ['a space and a tab between', 'Bearer \t{token}', UNAUTHENTICATED],
  ['nothing between', 'Bearer{token}', UNAUTHENTICATED],
  ['a colon', 'Bearer: {token}', UNAUTHENTICATED],
  ['an equals sign', 'Bearer ={token}', UNAUTHENTICATED],
  ['in quotes', 'Bearer "{token}"', UNAUTHENTICATED],
  ['in angle brackets', 'Bearer <{token}>', UNAUTHENTICATED],
  ['with a parameter', 'Bearer token={token}', UNAUTHENTICATED],
  ['scheme twice', 'Bearer Bearer {token}', UNAUTHENTICATED],
  ['two tokens', 'Bearer {token} {token}', UNAUTHENTICATED],
  ['two schemes in one', 'Bearer {token}, Bearer {token}', UNAUTHENTICATED],
  ['a comma behind', 'Bearer {token},', UNAUTHENTICATED, 'canonical'],
  ['text behind', 'Bearer {token} x', UNAUTHENTICATED],
  ['no token', 'Bearer', UNAUTHENTICATED],
  ['only spaces', 'Bearer    ', UNAUTHENTICATED],
  ['no scheme', '{token}', UNAUTHENTICATED],
  ['Basic', 'Basic {token}', UNAUTHENTICATED],
  ['Token', 'Token {token}', UNAUTHENTICATED],
  ['DPoP', 'DPoP {token}', UNAUTHENTICATED],
  ['an empty header', '', UNAUTHENTICATED],
  ['garbage', 'Bearer garbage', UNAUTHENTICATED],
  ['dots', 'Bearer ..', UNAUTHENTICATED],
  ['a dot', 'Bearer .', UNAUTHENTICATED],
  ['four dots', 'Bearer ....', UNAUTHENTICATED],
  ['broken base64', 'Bearer a!.b!.c!', UNAUTHENTICATED],
  ['long garbage', `Bearer ${'x'.repeat(12000)}`, UNAUTHENTICATED],
  ['many dots', `Bearer ${'.'.repeat(8000)}`, UNAUTHENTICATED],
  ['the words of a script', 'Bearer undefined', UNAUTHENTICATED],
  ['a nested token', 'Bearer {token}.{token}', UNAUTHENTICATED],
]) {
  add('presentation', name, pluginToken({ present: [['Authorization', authorization]] }), expect, differs);
}
add('presentation', 'no header', { present: [] }, UNAUTHENTICATED);
add('presentation', 'header name in lower case', pluginToken({ present: [['authorization', 'Bearer {token}']] }), TECHDOCS);
add('presentation', 'two headers, both good', pluginToken({ present: [...bearer, ...bearer] }), UNAUTHENTICATED, 'headers');
add('presentation', 'two headers, the first good', pluginToken({ present: [...bearer, ['Authorization', 'Bearer garbage']] }), UNAUTHENTICATED, 'headers');
add('presentation', 'two headers, the second good', pluginToken({ present: [['Authorization', 'Bearer garbage'], ...bearer] }), UNAUTHENTICATED);
add('presentation', 'in another header', pluginToken({ present: [['Proxy-Authorization', 'Bearer {token}'], ['X-Authorization', 'Bearer {token}']] }), UNAUTHENTICATED);
add('presentation', 'on the metadata route', pluginToken({ route: 'metadata' }), TECHDOCS);

// External: static.
const staticAccess = (changes = {}) => ({
  externalAccess: [{ type: 'static', options: { token: '{secret:static-a}', subject: 'ci' }, ...changes }],
});
const literal = (text, rest = {}) => ({ literal: text, settings: staticAccess(), ...rest });
add('external static', 'exact', literal('{secret:static-a}'), ok('ci'));
add('external static', 'on the metadata route', literal('{secret:static-a}', { route: 'metadata' }), ok('ci'));
add('external static', 'a prefix', literal('{secret:static-a}', { mutate: 'drop-last' }), UNAUTHENTICATED);
add('external static', 'longer', literal('{secret:static-a}x'), UNAUTHENTICATED);
add('external static', 'longer in front', literal('x{secret:static-a}'), UNAUTHENTICATED);
add('external static', 'other case', literal('{secret:static-a}', { mutate: 'swap-case' }), UNAUTHENTICATED);
add('external static', 'unknown', literal('{secret:unknown}'), UNAUTHENTICATED);
add('external static', 'twice', literal('{secret:static-a}{secret:static-a}'), UNAUTHENTICATED);
add('external static', 'as Basic', literal('{secret:static-a}', { present: [['Authorization', 'Basic {token}']] }), UNAUTHENTICATED);
add('external static', 'not configured', literal('{secret:static-a}', { settings: {} }), UNAUTHENTICATED);
add('external static', 'second of two', literal('{secret:static-b}', { settings: { externalAccess: [...staticAccess().externalAccess, { type: 'static', options: { token: '{secret:static-b}', subject: 'cd' } }] } }), ok('cd'));
add('external static', 'two subjects for one token', literal('{secret:static-a}', { settings: { externalAccess: [...staticAccess().externalAccess, { type: 'static', options: { token: '{secret:static-a}', subject: 'cd' } }] } }), ok('ci'));
add('external static', 'a plugin token beside it', pluginToken({ settings: staticAccess() }), TECHDOCS);
add('external static', 'a subject that looks like a plugin', literal('{secret:static-a}', { settings: { externalAccess: [{ type: 'static', options: { token: '{secret:static-a}', subject: 'plugin:catalog' } }] } }), ok('plugin:catalog'));

// Access restrictions.
const restricted = restrictions => literal('{secret:static-a}', { settings: staticAccess({ accessRestrictions: restrictions }) });
for (const [name, restrictions, expect, differs] of [
  ['to techdocs', [{ plugin: 'techdocs' }], ok('ci')],
  ['to callboard', [{ plugin: 'callboard' }], ok('ci'), 'restrictedToUs'],
  ['to another plugin', [{ plugin: 'catalog' }], forbidden('ci')],
  ['to techdocs in upper case', [{ plugin: 'TechDocs' }], forbidden('ci')],
  ['to several plugins', [{ plugin: 'catalog' }, { plugin: 'techdocs' }], ok('ci')],
  ['to several other plugins', [{ plugin: 'catalog' }, { plugin: 'search' }], forbidden('ci')],
  ['to nothing, which is no restriction', [], ok('ci')],
  ['to the permission to read', [{ plugin: 'techdocs', permission: 'catalog.entity.read' }], ok('ci')],
  ['to another permission', [{ plugin: 'techdocs', permission: 'catalog.entity.create' }], forbidden('ci'), 'permission'],
  ['to permissions in a string', [{ plugin: 'techdocs', permission: 'catalog.entity.create, catalog.entity.read' }], ok('ci')],
  ['to permissions in a list', [{ plugin: 'techdocs', permission: ['catalog.entity.create', 'catalog.entity.read'] }], ok('ci')],
  ['to other permissions in a list', [{ plugin: 'techdocs', permission: ['catalog.entity.create', 'catalog.entity.delete'] }], forbidden('ci'), 'permission'],
  ['to an empty list of permissions', [{ plugin: 'techdocs', permission: [] }], ok('ci')],
  ['to the action read', [{ plugin: 'techdocs', permissionAttribute: { action: 'read' } }], ok('ci')],
  ['to another action', [{ plugin: 'techdocs', permissionAttribute: { action: 'create' } }], forbidden('ci'), 'permission'],
  ['to actions in a string', [{ plugin: 'techdocs', permissionAttribute: { action: 'create read' } }], ok('ci')],
  ['to actions in a list', [{ plugin: 'techdocs', permissionAttribute: { action: ['update', 'delete'] } }], forbidden('ci'), 'permission'],
  ['to no attribute', [{ plugin: 'techdocs', permissionAttribute: {} }], ok('ci')],
  ['to permission and action', [{ plugin: 'techdocs', permission: 'catalog.entity.read', permissionAttribute: { action: 'read' } }], ok('ci')],
  ['to permission and another action', [{ plugin: 'techdocs', permission: 'catalog.entity.read', permissionAttribute: { action: 'delete' } }], forbidden('ci'), 'permission'],
  ['to another permission of techdocs, but to all of callboard', [{ plugin: 'techdocs', permission: 'catalog.entity.create' }, { plugin: 'callboard' }], ok('ci')],
]) {
  add('access restriction', name, restricted(restrictions), expect, differs);
}

// External: legacy.
const legacyAccess = { externalAccess: [{ type: 'legacy', options: { secret: '{secret:legacy-a}', subject: 'old-friend' } }] };
const deprecated = { keys: [{ secret: '{secret:legacy-a}' }] };
const legacy = (changes = {}) => legacyToken({ settings: legacyAccess, ...changes });
add('external legacy', 'good', legacy(), ok('old-friend'));
add('external legacy', 'with iat', legacy({ claims: { iat: now(0) } }), ok('old-friend'));
add('external legacy', 'typ JWT', legacy({ header: { typ: 'JWT' } }), ok('old-friend'));
add('external legacy', 'with a kid', legacy({ header: { kid: 'x' } }), ok('old-friend'));
add('external legacy', 'with an audience', legacy({ claims: { aud: 'techdocs' } }), UNAUTHENTICATED);
add('external legacy', 'with an empty audience', legacy({ claims: { aud: '' } }), ok('old-friend'));
add('external legacy', 'without exp', legacy({ claims: { exp: undefined } }), UNAUTHENTICATED, 'exp');
add('external legacy', 'expired', legacy({ claims: { exp: now(-60) } }), UNAUTHENTICATED, 'legacyExpired');
add('external legacy', 'expired within the tolerance', legacy({ claims: { exp: now(-2) } }), ok('old-friend'), 'tolerance');
add('external legacy', 'not yet valid', legacy({ claims: { nbf: now(600) } }), UNAUTHENTICATED, 'legacyExpired');
add('external legacy', 'exp as text', legacy({ claims: { exp: '99999999999' } }), UNAUTHENTICATED, 'crash');
add('external legacy', 'another sub', legacy({ claims: { sub: 'backstage' } }), UNAUTHENTICATED);
add('external legacy', 'without sub', legacy({ claims: { sub: undefined } }), UNAUTHENTICATED);
add('external legacy', 'HS384', legacy({ header: { alg: 'HS384' } }), UNAUTHENTICATED);
add('external legacy', 'algorithm none', legacy({ header: { alg: 'none' }, key: 'none' }), UNAUTHENTICATED);
add('external legacy', 'another secret', legacy({ key: 'secret:legacy-b' }), UNAUTHENTICATED);
add('external legacy', 'the text of the secret in place of its bytes', legacy({ key: 'text:legacy-a' }), UNAUTHENTICATED);
add('external legacy', 'broken', legacy({ mutate: 'flip-signature-bit' }), UNAUTHENTICATED);
add('external legacy', 'typ of a plugin token', legacy({ header: { typ: 'vnd.backstage.plugin' } }), UNAUTHENTICATED);
add('external legacy', 'not configured', legacyToken(), UNAUTHENTICATED);
add('external legacy', 'second of two', legacy({ key: 'secret:legacy-b', settings: { externalAccess: [...legacyAccess.externalAccess, { type: 'legacy', options: { secret: '{secret:legacy-b}', subject: 'other' } }] } }), ok('other'));
add('external legacy', 'restricted to another plugin', legacy({ settings: { externalAccess: [{ ...legacyAccess.externalAccess[0], accessRestrictions: [{ plugin: 'catalog' }] }] } }), forbidden('old-friend'));
add('deprecated keys', 'good', legacyToken({ settings: deprecated }), ok('external:backstage-plugin'));
add('deprecated keys', 'second of two', legacyToken({ key: 'secret:legacy-b', settings: { keys: [...deprecated.keys, { secret: '{secret:legacy-b}' }] } }), ok('external:backstage-plugin'));
add('deprecated keys', 'another secret', legacyToken({ key: 'secret:legacy-b', settings: deprecated }), UNAUTHENTICATED);
add('deprecated keys', 'without exp', legacyToken({ claims: { exp: undefined }, settings: deprecated }), UNAUTHENTICATED, 'exp');
add('deprecated keys', 'expired', legacyToken({ claims: { exp: now(-60) }, settings: deprecated }), UNAUTHENTICATED, 'legacyExpired');
add('deprecated keys', 'with an audience', legacyToken({ claims: { aud: 'techdocs' }, settings: deprecated }), UNAUTHENTICATED);
add('deprecated keys', 'beside a legacy one with the same secret', legacyToken({ settings: { ...legacyAccess, ...deprecated } }), ok('old-friend'));

// External: jwks.
const jwksAccess = (options = {}, changes = {}) => ({
  externalAccess: [{ type: 'jwks', options: { url: '{base}/external/jwks.json', ...options }, ...changes }],
});
const external = (changes = {}, options = {}, access = {}) =>
  externalToken({ settings: jwksAccess(options, access), ...changes });
const ROBOT = ok('external:robot');
const NO_KID = { header: { kid: undefined } };
add('external jwks', 'good', external(), ROBOT);
add('external jwks', 'typ JWT', external({ header: { typ: 'JWT' } }), ROBOT);
add('external jwks', 'typ at+jwt', external({ header: { typ: 'at+jwt' } }), ROBOT);
add('external jwks', 'ES256', external({ key: 'external-es256' }), ROBOT);
add('external jwks', 'EdDSA', external({ key: 'external-ed' }), ROBOT);
add('external jwks', 'PS256 with a key for RS256', external({ key: 'external-rsa-ps256' }), UNAUTHENTICATED);
add('external jwks', 'RS256 with a key for anything', external({ key: 'external-noalg' }), ROBOT);
add('external jwks', 'PS256 with a key for anything', external({ key: 'external-noalg-ps256' }), ROBOT);
add('external jwks', 'a key for encryption', external({ key: 'external-enc' }), UNAUTHENTICATED);
add('external jwks', 'a key for signatures', external({ key: 'external-sig' }), ROBOT);
add('external jwks', 'HS256 with the public key', external({ key: 'hmac:external-rsa:pem', header: { alg: 'HS256', kid: 'external-rsa' } }), UNAUTHENTICATED);
add('external jwks', 'HS256 with a public key for anything', external({ key: 'hmac:external-noalg:pem', header: { alg: 'HS256', kid: 'external-noalg' } }), UNAUTHENTICATED);
add('external jwks', 'algorithm none', external({ key: 'none', header: { alg: 'none', kid: 'external-rsa' } }), UNAUTHENTICATED);
add('external jwks', 'no kid, the only key', externalToken({ key: 'lonely', ...NO_KID, settings: { externalAccess: [{ type: 'jwks', options: { url: '{base}/external/lonely.json' } }] } }), ROBOT);
add('external jwks', 'no kid, several keys', external(NO_KID), UNAUTHENTICATED);
add('external jwks', 'no kid, the only key of its family', external({ key: 'external-es256', ...NO_KID }), ROBOT);
add('external jwks', 'a kid, but keys without', externalToken({ key: 'lonely', settings: { externalAccess: [{ type: 'jwks', options: { url: '{base}/external/lonely.json' } }] } }), UNAUTHENTICATED);
add('external jwks', 'unknown kid', external({ header: { kid: 'no-such-key' } }), UNAUTHENTICATED);
add('external jwks', 'another key', external({ key: 'unpublished-rsa', header: { kid: 'external-rsa' } }), UNAUTHENTICATED);
add('external jwks', 'broken', external({ mutate: 'flip-signature-bit' }), UNAUTHENTICATED);
add('external jwks', 'without exp', external({ claims: { exp: undefined } }), UNAUTHENTICATED, 'exp');
add('external jwks', 'expired', external({ claims: { exp: now(-60) } }), UNAUTHENTICATED);
add('external jwks', 'expired within the tolerance', external({ claims: { exp: now(-2) } }), ROBOT, 'tolerance');
add('external jwks', 'not yet valid', external({ claims: { nbf: now(600) } }), UNAUTHENTICATED);
add('external jwks', 'without iat', external({ claims: { iat: undefined } }), ROBOT);
add('external jwks', 'without sub', external({ claims: { sub: undefined } }), UNAUTHENTICATED);
add('external jwks', 'an empty sub', external({ claims: { sub: '' } }), UNAUTHENTICATED);
add('external jwks', 'a sub of any characters', external({ claims: { sub: 'auth0|a/b c@d' } }), ok('external:auth0|a/b c@d'));
add('external jwks', 'a subject prefix', external({}, { subjectPrefix: 'idp' }), ok('external:idp:robot'));
add('external jwks', 'not configured', externalToken(), UNAUTHENTICATED);
add('external jwks', 'an endpoint that is not there', external({}, { url: '{base}/external/nothing.json' }), UNAUTHENTICATED);
add('external jwks', 'a plugin token of that issuer', pluginToken({ key: 'external-es256', settings: jwksAccess() }), UNAUTHENTICATED);
add('external jwks', 'a user token of that issuer', userToken({ key: 'external-es256', settings: { ...USERS, ...jwksAccess() } }), UNAUTHENTICATED);
add('external jwks', 'the audience of old user tokens', external({ claims: { aud: 'backstage' } }), UNAUTHENTICATED);
add('external jwks', 'a typ of ours in another case', external({ header: { typ: 'VND.BACKSTAGE.PLUGIN' } }), ROBOT);
for (const [name, options, expect] of [
  ['the issuer', { issuer: 'https://idp.example' }, ROBOT],
  ['another issuer', { issuer: 'https://other.example' }, UNAUTHENTICATED],
  ['the issuer with a slash', { issuer: 'https://idp.example/' }, UNAUTHENTICATED],
  ['issuers in a list', { issuer: ['https://other.example', 'https://idp.example'] }, ROBOT],
  ['issuers with a comma', { issuer: 'https://other.example,https://idp.example' }, ROBOT],
  ['issuers with a space', { issuer: 'https://other.example https://idp.example' }, ROBOT],
  ['issuers with comma and space in a list', { issuer: ['a, b', 'https://idp.example , c'] }, ROBOT],
  ['other issuers', { issuer: ['a', 'b'] }, UNAUTHENTICATED],
  ['no issuers, which means any', { issuer: [] }, ROBOT],
  ['the audience', { audience: 'docs' }, ROBOT],
  ['another audience', { audience: 'other' }, UNAUTHENTICATED],
  ['audiences in a list', { audience: ['other', 'docs'] }, ROBOT],
  ['audiences with a comma', { audience: 'other,docs' }, ROBOT],
  ['audiences with a space', { audience: 'other docs' }, ROBOT],
  ['the algorithm', { algorithm: 'RS256' }, ROBOT],
  ['another algorithm', { algorithm: 'ES256' }, UNAUTHENTICATED],
  ['algorithms in a list', { algorithm: ['ES256', 'RS256'] }, ROBOT],
  ['algorithms with a comma', { algorithm: 'ES256,RS256' }, ROBOT],
  ['algorithms with a space', { algorithm: 'ES256 RS256' }, ROBOT],
  ['an algorithm in lower case', { algorithm: 'rs256' }, UNAUTHENTICATED],
  ['all of them', { issuer: 'https://idp.example', audience: 'docs', algorithm: 'RS256', subjectPrefix: 'x' }, ok('external:x:robot')],
  ['all of them, one wrong', { issuer: 'https://idp.example', audience: 'no', algorithm: 'RS256' }, UNAUTHENTICATED],
]) {
  add('external jwks', `configured: ${name}`, external({}, options), expect);
}
add('external jwks', 'several audiences in the token', external({ claims: { aud: ['x', 'docs'] } }, { audience: 'docs' }), ROBOT);
add('external jwks', 'no audience in the token', external({ claims: { aud: undefined } }, { audience: 'docs' }), UNAUTHENTICATED);
add('external jwks', 'no issuer in the token', external({ claims: { iss: undefined } }, { issuer: 'https://idp.example' }), UNAUTHENTICATED);
add('external jwks', 'an issuer list in the token', external({ claims: { iss: ['https://idp.example'] } }, { issuer: 'https://idp.example' }), UNAUTHENTICATED);
add('external jwks', 'restricted to us', external({}, {}, { accessRestrictions: [{ plugin: 'techdocs' }] }), ROBOT);
add('external jwks', 'restricted to another plugin', external({}, {}, { accessRestrictions: [{ plugin: 'catalog' }] }), forbidden('external:robot'));
add('external jwks', 'second of two issuers', externalToken({ key: 'lonely', ...NO_KID, settings: { externalAccess: [...jwksAccess().externalAccess, { type: 'jwks', options: { url: '{base}/external/lonely.json', subjectPrefix: 'second' } }] } }), ok('external:second:robot'));
add('external jwks', 'first of two that would do', external({ settings: { externalAccess: [...jwksAccess({ subjectPrefix: 'first' }).externalAccess, ...jwksAccess({ subjectPrefix: 'second' }).externalAccess] } }), ok('external:first:robot'));

// No authentication at all.
add('disabled policy', 'no token, policy disabled', { present: [], settings: { disableDefaultAuthPolicy: true } }, UNAUTHENTICATED, 'policy');
add('disabled policy', 'bad token, policy disabled', { literal: 'garbage', settings: { disableDefaultAuthPolicy: true } }, UNAUTHENTICATED);
add('disabled policy', 'good token, policy disabled', pluginToken({ settings: { disableDefaultAuthPolicy: true } }), TECHDOCS);
add('disabled policy', 'only our switch', { present: [], settings: { honourDisabledPolicy: true } }, UNAUTHENTICATED);
add('disabled policy', 'no token, both switches', { present: [], settings: { disableDefaultAuthPolicy: true, honourDisabledPolicy: true } }, ok());
add('disabled policy', 'bad token, both switches', { literal: 'garbage', settings: { disableDefaultAuthPolicy: true, honourDisabledPolicy: true } }, ok(), 'policyBad');

// Settings that are refused as such.
export const badSettings = [];
const bad = (name, settings, differs) => badSettings.push({ name, settings, differs });
const entry = (type, options, more = {}) => ({ externalAccess: [{ type, options, ...more }] });
const STATIC = { token: '{secret:static-a}', subject: 'ci' };
bad('unknown type', entry('other', {}));
bad('no type', { externalAccess: [{ options: STATIC }] });
bad('no options', { externalAccess: [{ type: 'static' }] });
bad('not a list', { externalAccess: { type: 'static', options: STATIC } });
bad('type in another case', entry('Static', STATIC));
bad('static: no token', entry('static', { subject: 'ci' }));
bad('static: no subject', entry('static', { token: '{secret:static-a}' }));
bad('static: token of seven characters', entry('static', { token: '1234567', subject: 'ci' }));
bad('static: token with a space', entry('static', { token: '{secret:static-a} x', subject: 'ci' }));
bad('static: empty token', entry('static', { token: '', subject: 'ci' }));
bad('static: token of a number', entry('static', { token: 123456789, subject: 'ci' }));
bad('static: subject with a space', entry('static', { token: '{secret:static-a}', subject: 'c i' }));
bad('static: empty subject', entry('static', { token: '{secret:static-a}', subject: '' }));
bad('legacy: no secret', entry('legacy', { subject: 'x' }));
bad('legacy: no subject', entry('legacy', { secret: '{secret:legacy-a}' }));
bad('legacy: secret with a space', entry('legacy', { secret: 'a b', subject: 'x' }));
bad('legacy: secret that is not base64', entry('legacy', { secret: '!!!', subject: 'x' }), 'secret');
bad('legacy: subject with a space', entry('legacy', { secret: '{secret:legacy-a}', subject: 'x y' }));
bad('jwks: no url', entry('jwks', {}));
bad('jwks: url with a space', entry('jwks', { url: 'http://a/ b' }));
bad('jwks: not a url', entry('jwks', { url: 'nonsense' }));
bad('jwks: issuer of a number', entry('jwks', { url: '{base}/external/jwks.json', issuer: 5 }));
bad('jwks: audience of a map', entry('jwks', { url: '{base}/external/jwks.json', audience: {} }));
bad('restriction: unknown key', entry('static', STATIC, { accessRestrictions: [{ plugin: 'techdocs', permissions: 'x' }] }));
bad('restriction: no plugin', entry('static', STATIC, { accessRestrictions: [{ permission: 'x' }] }));
bad('restriction: plugin twice', entry('static', STATIC, { accessRestrictions: [{ plugin: 'techdocs' }, { plugin: 'techdocs', permission: 'x' }] }));
bad('restriction: unknown action', entry('static', STATIC, { accessRestrictions: [{ plugin: 'techdocs', permissionAttribute: { action: 'execute' } }] }));
bad('restriction: unknown attribute', entry('static', STATIC, { accessRestrictions: [{ plugin: 'techdocs', permissionAttribute: { act: 'read' } }] }));
bad('restriction: not a list', entry('static', STATIC, { accessRestrictions: { plugin: 'techdocs' } }));
bad('keys: no secret', { keys: [{}] });
bad('keys: secret with a space', { keys: [{ secret: 'a b' }] });
