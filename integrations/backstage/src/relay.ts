import { sendVerdict } from './answers';
import { Callboard, Exchange, Outgoing, Unreachable } from './callboard';
import { Failure, FailureLog, verdictOn } from './failures';
import type { Request, Response } from './http';

/**
 * What of a reader's request Callboard gets to see. Cookie and Authorization are
 * between the reader and Backstage.
 */
const REQUEST_HEADERS = [
  'accept-encoding',
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-unmodified-since',
  'if-range',
  'range',
  'traceparent',
  'tracestate',
];

/** What of Callboard's answer the reader gets to see. Everything else about the connection is Backstage's own. */
const ANSWER_HEADERS = new Set([
  'content-type',
  'content-length',
  'content-encoding',
  'content-range',
  'accept-ranges',
  'etag',
  'last-modified',
  'cache-control',
  'vary',
  'age',
  'cache-status',
  'retry-after',
  'x-content-type-options',
]);

/** The statuses that say something about the document. */
const RELAYED = new Set([200, 206, 304, 404, 412, 416]);

/** What is read of an answer that is not relayed. */
const MAX_ERROR_BYTES = 16 * 1024;

/** The headers of a reader's request, for Callboard. */
export function requestHeaders(req: Request, token: string): string[] {
  const headers = token ? ['authorization', `Bearer ${token}`] : [];
  const given = req.headers;
  for (const name of REQUEST_HEADERS) {
    const value = given[name];
    if (typeof value === 'string') {
      headers.push(name, value);
    }
  }
  return headers;
}

/** What a delivery can't decide by itself. */
export interface Outcome {
  /** Callboard refused the token. `false`: there is no other. */
  refused(): boolean;
  /** Callboard has answered, whatever it said. */
  reached(): void;
  /** Callboard can't be reached. `true`: somebody else answers the reader. */
  unreachable(): boolean;
}

/**
 * A document on its way from Callboard to a reader, piece by piece as the reader
 * takes it. A reader who leaves ends the request to Callboard; an answer that
 * breaks off breaks the reader's connection, since a clean end would pass half a
 * document off as a whole one.
 */
export class Delivery extends Exchange {
  #resume: () => void = () => {};
  /** The answer's status and what was read of it, where it is not relayed. */
  #error: { status: number; retryAfter?: string; text: string } | undefined;
  readonly #left = () => this.cancel();
  readonly #drained = () => this.#resume();

  constructor(
    callboard: Callboard,
    outgoing: Outgoing,
    private readonly req: Request,
    private readonly res: Response,
    private readonly outcome: Outcome,
    private readonly failures: FailureLog,
  ) {
    super(callboard, outgoing);
  }

  override start(): void {
    this.res.on('close', this.#left);
    super.start();
  }

  protected answered(
    status: number,
    headers: Buffer[],
    resume: () => void,
  ): void {
    if (!RELAYED.has(status)) {
      this.#error = { status, text: '' };
      for (let i = 0; i < headers.length; i += 2) {
        if (String(headers[i]).toLowerCase() === 'retry-after') {
          this.#error.retryAfter = String(headers[i + 1]);
        }
      }
      return;
    }
    this.outcome.reached();
    const { req, res } = this;
    // Whether and how documents are compressed is Callboard's decision, taken
    // once for all readers; Backstage's `compression` would compress what is
    // left, ranges and all, under the validators of the original.
    req.headers['accept-encoding'] = undefined;
    res.statusCode = status;
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i]!.toString('latin1').toLowerCase();
      if (ANSWER_HEADERS.has(name)) {
        res.setHeader(name, headers[i + 1]!.toString('latin1'));
      }
    }
    this.#resume = resume;
    res.on('drain', this.#drained);
  }

  protected piece(chunk: Buffer): boolean {
    if (this.#error) {
      if (this.#error.text.length < MAX_ERROR_BYTES) {
        this.#error.text += chunk.toString('latin1');
      }
      return true;
    }
    return this.res.write(chunk);
  }

  protected ended(): void {
    this.res.off('close', this.#left);
    if (this.#error) {
      this.#failed(this.#error);
    } else {
      this.res.end();
    }
  }

  protected unreachable(error: Unreachable): void {
    this.res.off('close', this.#left);
    this.#tell({ silence: error.silence }, error.cause);
    if (!this.outcome.unreachable()) {
      this.#show({ silence: error.silence });
    }
  }

  protected broken(error: Error): void {
    this.res.off('close', this.#left);
    if (this.#error) {
      this.#failed(this.#error);
      return;
    }
    this.failures.tellOnce(
      'broken',
      'Callboard broke an answer off; so was the answer to the reader',
      this.#traceparent(),
      error,
    );
    this.res.destroy();
  }

  #failed({ status, text, retryAfter }: { status: number; text: string; retryAfter?: string }): void {
    const message = messageOf(status, text);
    // A proxy in between, which has lost Callboard, answers in its own words.
    const isProxys = message === undefined && status >= 502 && status <= 504;
    const failure: Failure = isProxys
      ? { silence: status === 504 ? 'timeout' : 'refused' }
      : { status, message, retryAfter };
    if (status === 401 && this.outcome.refused()) {
      return;
    }
    this.#tell(failure);
    if (isProxys) {
      if (this.outcome.unreachable()) {
        return;
      }
    } else {
      this.outcome.reached();
    }
    this.#show(failure);
  }

  #show(failure: Failure): void {
    sendVerdict(this.req, this.res, verdictOn(failure), failure.retryAfter);
  }

  #tell(failure: Failure, cause?: unknown): void {
    this.failures.tell(failure, this.#traceparent(), cause);
  }

  #traceparent(): string | undefined {
    const given = this.req.headers.traceparent;
    return typeof given === 'string' ? given : undefined;
  }
}

/** What Callboard says in an error of its own; `undefined` where it is not Callboard that speaks. */
export function messageOf(status: number, text: string): string | undefined {
  try {
    const { error, response } = JSON.parse(Buffer.from(text, 'latin1').toString('utf8'));
    if (response?.statusCode === status && typeof error?.message === 'string') {
      return error.message;
    }
  } catch {
    // No JSON: somebody else's.
  }
  return undefined;
}
