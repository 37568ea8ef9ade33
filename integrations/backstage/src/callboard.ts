import { Client, Dispatcher, Pool } from 'undici';
import type { Options } from './config';
import { Exchange, Outgoing, Unreachable } from './exchange';

/** Requests at a time; further ones wait for a connection. */
const CONNECTIONS = 256;

/**
 * Below what Callboard (`callboard.limits.idleTimeout`, 75 s) and most load
 * balancers (60 s) grant, so that connections are given up at this end.
 */
const KEEP_ALIVE_MS = 30_000;

/** What is kept of an answer that is read whole. A site's metadata lists all of its files. */
const MAX_WHOLE_BYTES = 32 * 1024 * 1024;

/**
 * How long a Callboard that has gone is waited for: as long as it takes to start
 * it again, in place. Whoever asks later learns at once that it is down.
 */
const PATIENCE_MS = 3_000;

/** An answer that was read whole. */
export interface Whole {
  status: number;
  text: string;
}

/** One keep-alive connection, which knows whether it ever worked. */
export class Connection extends Client {
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
  /** Since when there has been no answer but only connections that failed. */
  silentSince: number | undefined;
  readonly #patienceMs: number;

  constructor(options: Options) {
    this.#basePath = options.basePath;
    this.timeoutMs = options.timeoutMs;
    // Nobody has to wait where somebody else can answer.
    this.#patienceMs = options.fallback ? 0 : PATIENCE_MS;
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
    this.#pool.dispatch(
      { method, path: this.#basePath + path, headers },
      exchange,
    );
  }

  /** Whether it has been silent for so short a time that it may just be starting again. */
  isBackSoon(): boolean {
    const now = Date.now();
    this.silentSince ??= now;
    return now - this.silentSince < this.#patienceMs;
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
