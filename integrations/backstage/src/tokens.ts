import type {
  AuthService,
  BackstageCredentials,
  HttpAuthService,
  LoggerService,
} from '@backstage/backend-plugin-api';
import type { Options } from './config';

/** A token is renewed so long before it ends, or at a fifth of a short life. */
const MARGIN_MS = 60_000;
const MARGIN_SHARE = 0.2;

/** How long a token counts as new: one that is refused is not replaced so soon again. */
const NEW_MS = 10_000;

/** Readers whose tokens are kept, where Callboard is told who reads. */
const MAX_READERS = 1000;

type HttpRequest = Parameters<HttpAuthService['credentials']>[0];

interface Kept {
  token: string;
  mintedAt: number;
  renewAt: number;
}

/** Tokens for Callboard. Signing one takes longer than a page does, so they are kept. */
export class Tokens {
  readonly #auth: AuthService;
  readonly #httpAuth: HttpAuthService;
  readonly #logger: LoggerService;
  readonly #perReader: boolean;
  readonly #own = new Slot(() => this.#mintOwn());
  /** By entity reference, the least recently used one first. */
  readonly #readers = new Map<string, Slot>();
  #audience: string;
  #isAudienceOpen: boolean;

  constructor(services: {
    auth: AuthService;
    httpAuth: HttpAuthService;
    logger: LoggerService;
    options: Options;
  }) {
    this.#auth = services.auth;
    this.#httpAuth = services.httpAuth;
    this.#logger = services.logger;
    this.#perReader = services.options.onBehalfOfUser;
    this.#audience = services.options.audience ?? 'callboard';
    this.#isAudienceOpen = services.options.audience === undefined;
  }

  /** The backend's own token, at once if there is one. */
  own(): Slot {
    return this.#own;
  }

  /** The token to show for a reader's request, at once where that is possible. */
  forReader(req: HttpRequest): Slot | Promise<Slot> {
    return this.#perReader ? this.#slotOf(req) : this.#own;
  }

  async #slotOf(req: HttpRequest): Promise<Slot> {
    const credentials = await this.#httpAuth.credentials(req, {
      allowLimitedAccess: true,
    });
    // Other plugins, external callers and, where authentication is switched
    // off, nobody: techdocs-backend has let them in, and there is no user.
    if (!this.#auth.isPrincipal(credentials, 'user')) {
      return this.#own;
    }
    const user = credentials.principal.userEntityRef;
    const slot =
      this.#readers.get(user) ?? new Slot(() => this.#mint(credentials));
    // The newest credentials are the ones that last.
    slot.renewWith(() => this.#mint(credentials));
    this.#readers.delete(user);
    this.#readers.set(user, slot);
    if (this.#readers.size > MAX_READERS) {
      const [eldest] = this.#readers.keys();
      this.#readers.delete(eldest!);
    }
    return slot;
  }

  async #mintOwn(): Promise<string> {
    return this.#mint(await this.#auth.getOwnServiceCredentials());
  }

  async #mint(onBehalfOf: BackstageCredentials): Promise<string> {
    const mint = async (targetPluginId: string) =>
      (await this.#auth.getPluginRequestToken({ onBehalfOf, targetPluginId }))
        .token;
    if (!this.#isAudienceOpen) {
      return mint(this.#audience);
    }
    // Backstage before 1.31 makes plugin tokens only for plugins of this
    // backend, and for others an old kind or, in production, none at all.
    // Callboard takes those that are made out to techdocs, too.
    const token = await mint(this.#audience).catch(() => undefined);
    if (token !== undefined && isPluginToken(token)) {
      return token;
    }
    const other = await mint('techdocs');
    this.#logger.info(
      `Tokens for Callboard are made out to 'techdocs': Backstage makes none for '${this.#audience}'`,
    );
    this.#audience = 'techdocs';
    this.#isAudienceOpen = false;
    return other;
  }
}

/** One token, kept until shortly before it ends. */
export class Slot {
  #kept: Kept | undefined;
  #pending: Promise<string> | undefined;
  #mint: () => Promise<string>;

  constructor(mint: () => Promise<string>) {
    this.#mint = mint;
  }

  /** How the next token is made. */
  renewWith(mint: () => Promise<string>): void {
    this.#mint = mint;
  }

  /** The token, if it is good for a while. */
  ready(): string | undefined {
    return this.#kept && Date.now() < this.#kept.renewAt
      ? this.#kept.token
      : undefined;
  }

  /** A token; made anew, once for everybody who asks, if need be. */
  get(): Promise<string> {
    const token = this.ready();
    if (token !== undefined) {
      return Promise.resolve(token);
    }
    this.#pending ??= this.#renew().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  /**
   * Another token in place of one that Callboard refused; `undefined` where that
   * one is so new that another would fare no better.
   */
  replace(refused: string): Promise<string> | undefined {
    if (this.#kept?.token === refused) {
      if (Date.now() < this.#kept.mintedAt + NEW_MS) {
        return undefined;
      }
      this.#kept = undefined;
    }
    return this.get();
  }

  async #renew(): Promise<string> {
    const token = await this.#mint();
    const now = Date.now();
    const life = Math.max(0, expiryOf(token) - now);
    this.#kept = {
      token,
      mintedAt: now,
      renewAt: now + life - Math.min(MARGIN_MS, life * MARGIN_SHARE),
    };
    return token;
  }
}

/** When a token ends, in ms since 1970; now, where it does not tell. */
function expiryOf(token: string): number {
  const exp = partOf(token, 1)?.exp;
  return typeof exp === 'number' ? exp * 1000 : Date.now();
}

function isPluginToken(token: string): boolean {
  // Empty where Backstage's authentication is switched off.
  return token === '' || partOf(token, 0)?.typ === 'vnd.backstage.plugin';
}

function partOf(
  token: string,
  index: number,
): Record<string, unknown> | undefined {
  const part = token.split('.')[index];
  if (!part) {
    return undefined;
  }
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}
