import type { LoggerService } from '@backstage/backend-plugin-api';
import type { Silence } from './exchange';

/** Why a reader gets no document. */
export interface Failure {
  /** What Callboard answered; `undefined` where it gave no answer. */
  status?: number;
  /** Why there is no answer. */
  silence?: Silence | 'token';
  /** What Callboard says about it; it says nothing that readers may not know. */
  message?: string | undefined;
  /** When Callboard wants to be asked again. */
  retryAfter?: string | undefined;
}

/** What the reader gets in place of a document. */
export interface Verdict {
  status: number;
  /** The error's name in Backstage's manner. */
  name: string;
  /** For the reader in the browser: what is wrong, and what to do. */
  sentence: string;
}

const AGAIN = 'Try again in a minute.';
const OPERATOR = 'Tell whoever operates Backstage.';

/**
 * What becomes of an answer that is no document, and of none. 404 is not in
 * here: it is true, and relayed. Nothing in here ends as 404 or 500: the reader
 * in the browser shows messages of its own for those.
 */
export function verdictOn({ status, silence, message }: Failure): Verdict {
  switch (silence) {
    case 'timeout':
      return gatewayTimeout(`Callboard did not answer in time. ${AGAIN}`);
    case 'overload':
      return unavailable(
        `Too many requests are waiting for Callboard. ${AGAIN}`,
      );
    case 'refused':
    case 'reset':
      return badGateway(`Callboard can't be reached. ${AGAIN}`);
    case 'token':
      return badGateway(
        `Backstage has no token to show to Callboard. ${AGAIN}`,
      );
    default:
  }
  const said = message ?? `Callboard answered ${status}.`;
  switch (status) {
    case 401:
    case 403:
      return badGateway(`Callboard refuses this backend's token. ${OPERATOR}`);
    case 429:
      return unavailable(`Too many documents were asked for. ${AGAIN}`);
    case 503:
      return unavailable(message ?? `Callboard is not available. ${AGAIN}`);
    case 504:
      return gatewayTimeout(
        message ?? `Storage did not answer in time. ${AGAIN}`,
      );
    default:
      return badGateway(said);
  }
}

function badGateway(sentence: string): Verdict {
  return { status: 502, name: 'BadGatewayError', sentence };
}

function unavailable(sentence: string): Verdict {
  return { status: 503, name: 'ServiceUnavailableError', sentence };
}

function gatewayTimeout(sentence: string): Verdict {
  return { status: 504, name: 'GatewayTimeoutError', sentence };
}

/** For the operator: what to look at. */
function adviceOn({ status, silence }: Failure): string {
  switch (silence) {
    case 'timeout':
      return 'is it overloaded, or is techdocs.callboard.timeout too short?';
    case 'overload':
    case 'refused':
    case 'reset':
      return 'is it up, and is techdocs.callboard.baseUrl right?';
    case 'token':
      return 'no token could be made for techdocs.callboard.audience';
    default:
  }
  switch (status) {
    case 401:
      return 'does it read the keys of this backend (its backend.baseUrl), and is techdocs.callboard.audience in its callboard.auth.audiences?';
    case 403:
      return "its callboard.auth.allow must list 'plugin:techdocs'";
    case 429:
      return "it limits 'plugin:techdocs': raise its callboard.limits.requests";
    default:
      return 'its log says why, under the same trace id';
  }
}

const PAUSE_MS = 60_000;

/** Tells each kind of failure once a minute: in an outage every page of every reader fails. */
export class FailureLog {
  readonly #logger: LoggerService;
  readonly #toldAt = new Map<string, number>();

  constructor(logger: LoggerService) {
    this.#logger = logger;
  }

  /** Tells of a failure, with what Callboard's log can be searched for. */
  tell(
    failure: Failure,
    traceparent: string | undefined,
    cause?: unknown,
  ): void {
    const { status, silence, message } = failure;
    const kind = silence ?? `status ${status}`;
    const what = silence
      ? `Callboard gave no answer (${silence})`
      : `Callboard answered ${status}${message ? ` (${message})` : ''}`;
    this.tellOnce(kind, `${what}: ${adviceOn(failure)}`, traceparent, cause);
  }

  /** Tells of anything, once a minute for each kind; kinds are few and fixed. */
  tellOnce(
    kind: string,
    sentence: string,
    traceparent: string | undefined,
    cause?: unknown,
  ): void {
    const now = Date.now();
    if (now - (this.#toldAt.get(kind) ?? -Infinity) < PAUSE_MS) {
      return;
    }
    this.#toldAt.set(kind, now);
    this.#logger.warn(sentence, {
      ...(traceparent && { traceId: traceparent.split('-')[1] ?? '' }),
      ...(cause instanceof Error && { cause: cause.message }),
    });
  }
}
