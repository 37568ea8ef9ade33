import type { PublisherBase } from '@backstage/plugin-techdocs-node';
import {
  isOwnStyleSheet,
  sendError,
  sendOwnStyleSheet,
  sendVerdict,
} from './answers';
import type { Callboard } from './callboard';
import { FailureLog, verdictOn } from './failures';
import type { Detour } from './fallback';
import type { Handler, Next, Request, Response } from './http';
import { Delivery, Outcome, requestHeaders } from './relay';
import { staticTarget } from './target';
import type { Slot, Tokens } from './tokens';

/** Where techdocs-backend mounts the router, and where Callboard serves the same. */
const MOUNT = '/static/docs';

/** What serves documents. */
export interface Parts {
  callboard: Callboard;
  tokens: Tokens;
  failures: FailureLog;
  /** Where the original publisher may stand in. */
  detour: Detour | undefined;
  original: PublisherBase | undefined;
}

/** Serves documents to readers. */
export class DocsRouter {
  readonly #parts: Parts;
  readonly #original: Handler | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#original = parts.original?.docsRouter();
  }

  /**
   * A reader's request:
   *
   * 1. a path that means one entity to all, or 404;
   * 2. Callboard, unless it could not be reached a moment ago and somebody stands in;
   * 3. a token, at once or once it is made;
   * 4. the answer, piece by piece: {@link Delivery}.
   */
  handle(req: Request, res: Response, next: Next): unknown {
    const target = staticTarget(req.url, req.originalUrl);
    if (target === undefined) {
      const message = 'No document can have this path.';
      return sendError(req, res, 404, 'NotFoundError', message);
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('Allow', 'GET, HEAD');
      const message = 'Documents can only be read here: use GET or HEAD.';
      return sendError(req, res, 405, 'MethodNotAllowedError', message);
    }
    if (isOwnStyleSheet(target)) {
      return sendOwnStyleSheet(req, res);
    }
    if (this.#original && this.#parts.detour?.isOpen()) {
      return this.#original(req, res, next);
    }
    const slot = this.#parts.tokens.forReader(req);
    const visit = (found: Slot) =>
      new Visit(this.#parts, this.#original, found, target, req, res, next);
    // What it rejects with is Backstage's own error about the reader's credentials.
    return slot instanceof Promise
      ? slot.then(found => visit(found).begin(), next)
      : visit(slot).begin();
  }
}

/** One reader's request on its way to Callboard. */
class Visit implements Outcome {
  #token = '';
  #mayReplace = true;

  constructor(
    private readonly parts: Parts,
    private readonly original: Handler | undefined,
    private readonly slot: Slot,
    private readonly target: string,
    private readonly req: Request,
    private readonly res: Response,
    private readonly next: Next,
  ) {}

  begin(): void | Promise<void> {
    const token = this.slot.ready();
    return token === undefined
      ? this.#deliverWith(this.slot.get())
      : this.#deliver(token);
  }

  refused(): boolean {
    const other = this.#mayReplace ? this.slot.replace(this.#token) : undefined;
    this.#mayReplace = false;
    if (other) {
      void this.#deliverWith(other);
    }
    return other !== undefined;
  }

  reached(): void {
    this.parts.detour?.leave();
  }

  unreachable(): boolean {
    const { original, req, res, next } = this;
    if (!original) {
      return false;
    }
    this.parts.detour?.take();
    Promise.resolve()
      .then(() => original(req, res, next))
      .catch(next);
    return true;
  }

  #deliverWith(token: Promise<string>): Promise<void> {
    return token.then(
      made => this.#deliver(made),
      error => {
        const failure = { silence: 'token' } as const;
        this.parts.failures.tell(failure, undefined, error);
        sendVerdict(this.req, this.res, verdictOn(failure), undefined);
      },
    );
  }

  #deliver(token: string): void {
    const { parts, req, res } = this;
    // The reader may have left while the token was made.
    if (res.destroyed) {
      return;
    }
    this.#token = token;
    const outgoing = {
      method: req.method as 'GET' | 'HEAD',
      path: MOUNT + this.target,
      headers: requestHeaders(req, token),
    };
    new Delivery(
      parts.callboard,
      outgoing,
      req,
      res,
      this,
      parts.failures,
    ).start();
  }
}
