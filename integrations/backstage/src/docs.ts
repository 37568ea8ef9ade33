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
import { Delivery, requestHeaders } from './relay';
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

/**
 * A reader's request:
 *
 * 1. a path that means one entity to all, or 404;
 * 2. Callboard, unless it could not be reached a moment ago and somebody stands in;
 * 3. a token, at once or once it is made;
 * 4. the answer, piece by piece: {@link Delivery}.
 */
export class DocsRouter {
  readonly #parts: Parts;
  readonly #original: Handler | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#original = parts.original?.docsRouter();
  }

  handle(req: Request, res: Response, next: Next): unknown {
    const target = staticTarget(req.url, req.originalUrl);
    if (target === undefined) {
      sendError(
        req,
        res,
        404,
        'NotFoundError',
        'No document can have this path.',
      );
      return undefined;
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('Allow', 'GET, HEAD');
      sendError(
        req,
        res,
        405,
        'MethodNotAllowedError',
        'Documents can only be read here: use GET or HEAD.',
      );
      return undefined;
    }
    if (isOwnStyleSheet(target)) {
      sendOwnStyleSheet(req, res);
      return undefined;
    }
    if (this.#original && this.#parts.detour?.isOpen()) {
      return this.#original(req, res, next);
    }
    const slot = this.#parts.tokens.forReader(req);
    if (slot instanceof Promise) {
      // Rejects with Backstage's own error about the reader's credentials.
      return slot.then(
        found => this.#show(found, target, req, res, next),
        next,
      );
    }
    return this.#show(slot, target, req, res, next);
  }

  #show(
    slot: Slot,
    target: string,
    req: Request,
    res: Response,
    next: Next,
  ): unknown {
    const token = slot.ready();
    if (token !== undefined) {
      this.#deliver(slot, token, target, req, res, next, true);
      return undefined;
    }
    return slot.get().then(
      made => this.#deliver(slot, made, target, req, res, next, true),
      error => this.#withoutToken(req, res, error),
    );
  }

  #deliver(
    slot: Slot,
    token: string,
    target: string,
    req: Request,
    res: Response,
    next: Next,
    mayReplace: boolean,
  ): void {
    if (res.destroyed) {
      return;
    }
    const { callboard, failures, detour } = this.#parts;
    const outgoing = {
      method: req.method as 'GET' | 'HEAD',
      path: MOUNT + target,
      headers: requestHeaders(req, token),
    };
    new Delivery(
      callboard,
      outgoing,
      req,
      res,
      {
        refused: () => {
          const other = mayReplace ? slot.replace(token) : undefined;
          other?.then(
            made => this.#deliver(slot, made, target, req, res, next, false),
            error => this.#withoutToken(req, res, error),
          );
          return other !== undefined;
        },
        reached: () => detour?.leave(),
        unreachable: () => {
          if (!this.#original) {
            return false;
          }
          detour?.take();
          Promise.resolve(this.#original(req, res, next)).catch(next);
          return true;
        },
      },
      failures,
    ).start();
  }

  #withoutToken(req: Request, res: Response, error: unknown): void {
    const failure = { silence: 'token' } as const;
    this.#parts.failures.tell(failure, undefined, error);
    sendVerdict(req, res, verdictOn(failure), undefined);
  }
}
