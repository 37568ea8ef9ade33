import type { Dispatcher } from 'undici';
import type { Callboard, Connection } from './callboard';

/** Requests under way, most of them waiting for a connection; beyond them Callboard counts as unreachable. */
const MAX_UNDER_WAY = 4096;

/** Between two attempts of one request, while Callboard may just be starting again. */
const RETRY_MS = 150;

/** So often is a request sent again whose connection ended: what ends connections may be the request. */
const MAX_RESETS = 3;

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

/**
 * One request and what comes of it.
 *
 * A request that found no connection, or whose connection ended before a byte of
 * the answer, is sent again where that can help: at once, if the connection had
 * worked before, since Callboard may have given it up in the same moment; after a
 * pause, while Callboard may just be starting again. Only what can be sent
 * twice is: GET and HEAD.
 *
 * Implements undici's raw handler: its promises cost twice the CPU time.
 */
export abstract class Exchange implements Dispatcher.DispatchHandler {
  connection: Connection | undefined;
  #abort: (() => void) | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #state: 'waiting' | 'answered' | 'over' = 'waiting';
  #wasUsed = false;
  #resets = 0;

  constructor(
    protected readonly callboard: Callboard,
    private readonly request: Outgoing,
  ) {}

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
    this.callboard.underWay += 1;
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
      this.callboard.silentSince = undefined;
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
    const pause = this.#pauseAfter(silenceOf(error));
    if (pause === undefined) {
      this.callboard.underWay -= 1;
      this.fail(error);
      return;
    }
    this.#abort = undefined;
    setTimeout(() => {
      if (this.#state === 'waiting') {
        this.callboard.send(this.request, this);
      } else {
        this.callboard.underWay -= 1;
      }
    }, pause);
  }

  /** In how many ms to send the request again; `undefined` where it is given up. */
  #pauseAfter(silence: Silence): number | undefined {
    if (this.#state !== 'waiting' || this.request.method === 'POST') {
      return undefined;
    }
    if (silence === 'reset') {
      this.#resets += 1;
      if (this.#resets === 1 && this.#wasUsed) {
        // Other idle connections have ended in the same moment: that is noticed
        // first, so that this does not go out on one of them.
        return 0;
      }
    }
    const isHopeless = silence === 'timeout' || this.#resets > MAX_RESETS;
    return !isHopeless && this.callboard.isBackSoon() ? RETRY_MS : undefined;
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
