// User tokens with the headers, claims and identity proof of Backstage's
// plugin-auth-backend 0.30.0, signed with a key made on the spot.

import { randomUUID } from 'node:crypto';
import { CompactSign, exportJWK, generateKeyPair, SignJWT } from 'jose';

const LIFETIME_S = 3600;

export async function createUserIssuer(issuer) {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const kid = randomUUID();
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256' }] };

  async function issue(sub) {
    if (!sub) {
      throw new Error('which user?');
    }
    const iat = Math.floor(Date.now() / 1000);
    const exp = iat + LIFETIME_S;
    // A limited token is the user token cut down to sub, iat and exp. Its
    // signature travels inside the user token as the claim uip, so that whoever
    // holds a user token can make the limited one without the key.
    const limited = await new CompactSign(
      new TextEncoder().encode(JSON.stringify({ sub, iat, exp })),
    )
      .setProtectedHeader({ typ: 'vnd.backstage.limited-user', alg: 'ES256', kid })
      .sign(privateKey);
    const uip = limited.split('.')[2];
    const token = await new SignJWT({ iss: issuer, sub, aud: 'backstage', iat, exp, uip })
      .setProtectedHeader({ typ: 'vnd.backstage.user', alg: 'ES256', kid })
      .sign(privateKey);
    return { token, limited };
  }

  return { issue, jwks };
}
