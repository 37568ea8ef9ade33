import { Client, Dispatcher, Pool } from 'undici';
import type { Options } from './config';

/** Requests at a time; further ones wait for a connection. */
const CONNECTIONS = 256;

/** Requests under way, most of them waiting for a connection; beyond them Callboard counts as unreachable. */
const MAX_UNDER_WAY = 4096;

/**
 * Below what Callboard (`callboard.limits.idleTimeout`, 75 s) and most load
 * balancers (60 s) grant, so that connections are given up at this end.
 */
const KEEP_ALIVE_MS = 30_000;

/** What is kept of an answer that is read whole. A site's metadata lists all of its files. */
const MAX_WHOLE_BYTES = 32 * 1024 * 1024;

/** Why there is no answer. */
export type Silence = 'refused' | 'reset' | 'timeout' | 'overload';

/** Callboard gave no answer. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';

  constructor(
    readonly silence: Silence,
    override readonly cause?: unknown,
  ) {
    super(SENTENCES[silence]);
  }
}

const SENTENCES: Record<Silence, string> = {
  refused: 'no connection to Callboard',
  reset: 'Callboard closed the connection',
  timeout: 'Callboard did not answer in time',
  overload: 'too many requests are waiting for Callboard',
};

/** A request as it is sent. */
export interface Outgoing {
  method: 'GET' | 'HEAD' | 'POST';
  /** Path and query as they go on the wire, below the base path. */
  path: string;
  /** Names and values in turn. */
  headers: string[];
}

/** An answer that was read whole. */
export interface Whole {
  status: number;
  text: string;
}

/** One keep-alive connection, which knows whether it ever worked. */
class Connection extends Client {
  answers = 0;

  constructor(origin: URL, options: object) {
    super(origin, options);
    this.on('connect', () => {
      this.answers = 0;
    });
  }

  override dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    if (handler instanceof Exchange) {
      handler.connection = this;
    }
    return super.dispatch(options, handler);
  }
}

/** Callboard, as this backend reaches it. */
export class Callboard {
  readonly #pool: Pool;
  readonly #basePath: string;
  readonly timeoutMs: number;
  /** Requests that hold a connection or wait for one, also those that nobody waits for any more. */
  underWay = 0;

  constructor(options: Options) {
    this.#basePath = options.basePath;
    this.timeoutMs = options.timeoutMs;
    this.#pool = new Pool(options.origin, {
      connections: CONNECTIONS,
      pipelining: 1,
      connectTimeout: options.timeoutMs,
      // Each exchange watches over the time until its answer begins by itself,
      // since it may have to wait for a connection first.
      headersTimeout: 0,
      bodyTimeout: options.timeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      factory: (origin, connection) => new Connection(origin, connection),
    });
  }

  /** Sends a request; `exchange` hears what comes of it. */
  send({ method, path, headers }: Outgoing, exchange: Exchange): void {
    this.underWay += 1;
    this.#pool.dispatch(
      { method, path: this.#basePath + path, headers },
      exchange,
    );
  }

  /**
   * Sends a request and reads the whole answer.
   *
   * @throws Unreachable where there is none.
   */
  ask(request: Outgoing): Promise<Whole> {
    return new Promise((resolve, reject) => {
      new Asking(this, request, resolve, reject).start();
    });
  }

  /** Lets go of all connections, of busy ones once their request is finished. Nobody has to wait for that. */
  close(): void {
    if (!this.#pool.closed) {
      void this.#pool.close();
    }
  }
}

/**
 * One request and what comes of it. A request that was sent on a connection
 * which had worked before, and which ended before a byte of the answer, is sent
 * once more: Callboard was started again, or gave up an idle connection in the
 * same moment. Only what can be sent twice is: GET and HEAD.
 *
 * Implements undici's raw handler: its promises cost twice the CPU time.
 */
export abstract class Exchange implements Dispatcher.DispatchHandler {
  connection: Connection | undefined;
  #abort: (() => void) | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #state: 'waiting' | 'answered' | 'over' = 'waiting';
  #wasUsed = false;
  #mayRepeat: boolean;

  constructor(
    protected readonly callboard: Callboard,
    private readonly request: Outgoing,
  ) {
    this.#mayRepeat = request.method !== 'POST';
  }

  /** The answer begins. */
  protected abstract answered(
    status: number,
    headers: Buffer[],
    resume: () => void,
  ): void;
  /** A piece of the body; `false` asks for a pause until `resume` is called. */
  protected abstract piece(chunk: Buffer): boolean;
  /** The answer is complete. */
  protected abstract ended(): void;
  /** There is no answer. */
  protected abstract unreachable(error: Unreachable): void;
  /** The answer ended before it was complete. */
  protected abstract broken(error: Error): void;

  start(): void {
    if (this.callboard.underWay >= MAX_UNDER_WAY) {
      this.#state = 'over';
      this.unreachable(new Unreachable('overload'));
      return;
    }
    this.#deadline = setTimeout(() => {
      this.fail(new Unreachable('timeout'));
      this.#abort?.();
    }, this.callboard.timeoutMs);
    this.callboard.send(this.request, this);
  }

  /** Nobody waits for the answer any more. */
  cancel(): void {
    if (this.#state !== 'over') {
      this.#finish();
      this.#abort?.();
    }
  }

  /** Gives the request up; whoever waits for the answer is told. */
  fail(error: Error): void {
    const { silence } = error as Partial<Unreachable>;
    switch (this.#state) {
      case 'waiting':
        this.#finish();
        this.unreachable(
          silence
            ? (error as Unreachable)
            : new Unreachable(silenceOf(error), error),
        );
        break;
      case 'answered':
        this.#finish();
        this.broken(error);
        break;
      default:
    }
  }

  #finish() {
    this.#state = 'over';
    clearTimeout(this.#deadline);
  }

  onConnect(abort: () => void): void {
    if (this.#state === 'over') {
      abort();
      return;
    }
    this.#abort = abort;
    this.#wasUsed =
      this.connection !== undefined && this.connection.answers > 0;
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    if (this.#state === 'waiting' && status >= 200) {
      this.#state = 'answered';
      clearTimeout(this.#deadline);
      if (this.connection) {
        this.connection.answers += 1;
      }
      this.answered(status, headers, resume);
    }
    return true;
  }

  onData(chunk: Buffer): boolean {
    return this.#state === 'answered' ? this.piece(chunk) : true;
  }

  onComplete(): void {
    this.callboard.underWay -= 1;
    if (this.#state === 'answered') {
      this.#finish();
      this.ended();
    }
  }

  onError(error: Error): void {
    this.callboard.underWay -= 1;
    const isReset = silenceOf(error) === 'reset';
    if (
      this.#state === 'waiting' &&
      this.#mayRepeat &&
      this.#wasUsed &&
      isReset
    ) {
      this.#mayRepeat = false;
      this.#abort = undefined;
      // The other idle connections have ended in the same moment: let that be
      // noticed first, so that this does not go out on one of them.
      setImmediate(() => {
        if (this.#state === 'waiting') {
          this.callboard.send(this.request, this);
        }
      });
      return;
    }
    this.fail(error);
  }
}

function silenceOf(error: Error): Silence {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'ETIMEDOUT':
      return 'timeout';
    default:
      return 'refused';
  }
}

/** An answer read whole. */
class Asking extends Exchange {
  #status = 0;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(
    callboard: Callboard,
    request: Outgoing,
    private readonly resolve: (whole: Whole) => void,
    private readonly reject: (error: Error) => void,
  ) {
    super(callboard, request);
  }

  protected answered(status: number): void {
    this.#status = status;
  }

  protected piece(chunk: Buffer): boolean {
    this.#length += chunk.length;
    if (this.#length > MAX_WHOLE_BYTES) {
      this.cancel();
      this.reject(
        new Error(`Callboard's answer is longer than ${MAX_WHOLE_BYTES} bytes`),
      );
      return true;
    }
    this.#chunks.push(chunk);
    return true;
  }

  protected ended(): void {
    this.resolve({
      status: this.#status,
      text: Buffer.concat(this.#chunks).toString('utf8'),
    });
  }

  protected unreachable(error: Unreachable): void {
    this.reject(error);
  }

  protected broken(error: Error): void {
    this.reject(new Unreachable('reset', error));
  }
}
