import { channel } from 'node:diagnostics_channel';
import { sendVerdict } from './answers';
import type { Callboard } from './callboard';
import { Exchange, Outgoing, Unreachable } from './exchange';
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
];

/** Which trace the request belongs to. */
const TRACE_HEADERS = ['traceparent', 'tracestate'];

/** Whoever traces this process (OpenTelemetry) adds the trace to each request itself. */
const tracers = channel('undici:request:create');

/** What of Callboard's answer the reader gets to see; everything else is about the connection. */
const ANSWER_HEADERS = new Map(
  [
    'Content-Type',
    'Content-Length',
    'Content-Encoding',
    'Content-Range',
    'Accept-Ranges',
    'ETag',
    'Last-Modified',
    'Cache-Control',
    'Age',
    'Cache-Status',
    'Retry-After',
    'X-Content-Type-Options',
  ].map(name => [name.toLowerCase(), name]),
);

/** The statuses that say something about the document. */
const RELAYED = new Set([200, 206, 304, 404, 412, 416]);

/** What is read of an answer that is not relayed; Callboard's own are far shorter. */
const MAX_ERROR_BYTES = 16 * 1024;

/** The headers of a reader's request, for Callboard. */
export function requestHeaders(req: Request, token: string): string[] {
  const headers = token ? ['authorization', `Bearer ${token}`] : [];
  pass(req, REQUEST_HEADERS, headers);
  if (!tracers.hasSubscribers) {
    pass(req, TRACE_HEADERS, headers);
  }
  return headers;
}

function pass(req: Request, names: string[], headers: string[]): void {
  for (const name of names) {
    const value = req.headers[name];
    if (typeof value === 'string') {
      headers.push(name, value);
    }
  }
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
  /** The answer, where it is not relayed. */
  #error: Refusal | undefined;
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
      this.#error = refusal(status, headers);
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
      const given = headers[i]!.toString('latin1').toLowerCase();
      const name = ANSWER_HEADERS.get(given);
      if (name) {
        res.setHeader(name, headers[i + 1]!.toString('latin1'));
      } else if (given === 'vary') {
        // Backstage's CORS has its own part in it.
        res.vary(headers[i + 1]!.toString('latin1'));
      }
    }
    this.#resume = resume;
    res.on('drain', this.#drained);
  }

  protected piece(chunk: Buffer): boolean {
    if (this.#error) {
      this.#error.text += chunk.toString('latin1');
      if (this.#error.text.length > MAX_ERROR_BYTES) {
        this.cancel();
        this.ended();
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

  #failed({ status, text, retryAfter, isGuarded }: Refusal): void {
    const message = messageOf(status, text);
    // A proxy in between, which has lost Callboard, answers in its own words.
    const isOwn =
      this.req.method === 'HEAD' ? isGuarded : message !== undefined;
    const isProxys = !isOwn && status >= 502 && status <= 504;
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

/** An answer that is not relayed. */
interface Refusal {
  status: number;
  retryAfter: string | undefined;
  /** Whether it forbids guessing its type, as whatever Callboard says does. */
  isGuarded: boolean;
  /** What was read of its body. */
  text: string;
}

function refusal(status: number, headers: Buffer[]): Refusal {
  const value = (name: string) => {
    const at = headers.findIndex(
      (header, i) => i % 2 === 0 && header.toString().toLowerCase() === name,
    );
    return at < 0 ? undefined : headers[at + 1]?.toString('latin1');
  };
  return {
    status,
    retryAfter: value('retry-after'),
    isGuarded: value('x-content-type-options') === 'nosniff',
    text: '',
  };
}

/** What Callboard says in an error of its own; `undefined` where it is not Callboard that speaks. */
export function messageOf(status: number, text: string): string | undefined {
  try {
    const { error, response } = JSON.parse(
      Buffer.from(text, 'latin1').toString('utf8'),
    );
    if (response?.statusCode === status && typeof error?.message === 'string') {
      return error.message;
    }
  } catch {
    // No JSON: somebody else's.
  }
  return undefined;
}
