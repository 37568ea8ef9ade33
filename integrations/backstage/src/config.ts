import { Config, readDurationFromConfig } from '@backstage/config';
import { InputError } from '@backstage/errors';
import type { PublisherType } from '@backstage/plugin-techdocs-node';
import { durationToMilliseconds } from '@backstage/types';

const SECTION = 'techdocs.callboard';
const KEYS = ['baseUrl', 'audience', 'timeout', 'onBehalfOfUser', 'fallback'];

/**
 * Longer than Callboard's own deadline for storage (`callboard.storage.timeout`,
 * 10 s), so that its answer to a slow store still arrives.
 */
const DEFAULT_TIMEOUT_MS = 15_000;

/** What the program runs on. */
export interface Options {
  /** Scheme, host and port. */
  origin: string;
  /** What stands before Callboard's own paths; empty or `/something`. */
  basePath: string;
  /** The plugin id that tokens are for; `undefined` leaves it to {@link Tokens}. */
  audience: string | undefined;
  /** How long to wait for an answer's head, and then for each piece of its body. */
  timeoutMs: number;
  /** Whether Callboard is told which reader asks. */
  onBehalfOfUser: boolean;
  /** Whether the original publisher steps in while Callboard can't be reached. */
  fallback: boolean;
  /** Whether techdocs-backend builds sites itself (`techdocs.builder: local`). */
  buildsHere: boolean;
  /** The type of the publisher that Callboard stands in for. */
  publisherType: PublisherType;
  /** What is configured to no effect or to a bad one, though it is no error. */
  hints: string[];
}

/**
 * Reads the configuration.
 *
 * @throws InputError that tells all problems at once, with key paths and what to write instead.
 */
export function readOptions(config: Config): Options {
  const problems: string[] = [];
  const read = <T>(fallback: T, get: () => T): T => {
    try {
      return get();
    } catch (error) {
      problems.push(messageOf(error));
      return fallback;
    }
  };

  const section = read(undefined, () => config.getOptionalConfig(SECTION));
  for (const key of section?.keys() ?? []) {
    if (!KEYS.includes(key)) {
      problems.push(
        `${SECTION}.${key} is unknown: there are ${KEYS.join(', ')}`,
      );
    }
  }
  const base = read(undefined, () =>
    parseBaseUrl(section?.getOptionalString('baseUrl')),
  );
  const audience = read(undefined, () =>
    parseAudience(section?.getOptionalString('audience')),
  );
  const timeoutMs = read(DEFAULT_TIMEOUT_MS, () => parseTimeout(section));
  const flag = (key: string) =>
    read(false, () => section?.getOptionalBoolean(key) ?? false);
  const onBehalfOfUser = flag('onBehalfOfUser');
  const fallback = flag('fallback');
  const builder = read(undefined, () =>
    config.getOptionalString('techdocs.builder'),
  );
  const publisherType = read('local', () =>
    config.getOptionalString('techdocs.publisher.type'),
  );

  if (!base || problems.length > 0) {
    throw new InputError(
      `The Callboard module can't start with this configuration: ${problems.join('; ')}`,
    );
  }
  return {
    origin: base.origin,
    basePath: base.pathname.replace(/\/+$/, ''),
    audience,
    timeoutMs,
    onBehalfOfUser,
    fallback,
    // As techdocs-backend's own strategy decides it, which builds unless told otherwise.
    buildsHere: builder === undefined || builder === 'local',
    publisherType: (publisherType ?? 'local') as PublisherType,
    hints: config.has('techdocs.cache.ttl')
      ? [
          'techdocs.cache.ttl makes techdocs-backend keep answers in a cache of its own, regardless of encodings and ' +
            'with no regard to a new publish: remove techdocs.cache from the configuration of Backstage, since Callboard caches',
        ]
      : [],
  };
}

function parseBaseUrl(text: string | undefined): URL {
  const key = `${SECTION}.baseUrl`;
  if (text === undefined) {
    throw new Error(
      `${key} is missing: write where Callboard listens, such as http://callboard:7008`,
    );
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Error(
      `${key} is no http or https URL: write one such as http://callboard:7008`,
    );
  }
  if (url.username || url.password) {
    throw new Error(
      `${key} holds a user name or password: remove it, the module shows Backstage's own tokens`,
    );
  }
  if (text.includes('?') || text.includes('#')) {
    throw new Error(`${key} has a query or fragment: remove it`);
  }
  return url;
}

function parseAudience(text: string | undefined): string | undefined {
  if (text !== undefined && !/^[a-z0-9_-]+$/i.test(text)) {
    throw new Error(
      `${SECTION}.audience is no plugin id: write one that callboard.auth.audiences lists, such as callboard`,
    );
  }
  return text;
}

function parseTimeout(section: Config | undefined): number {
  if (!section?.has('timeout')) {
    return DEFAULT_TIMEOUT_MS;
  }
  const key = `${SECTION}.timeout`;
  const example = 'write milliseconds or a duration such as { seconds: 15 }';
  const given = section.get('timeout');
  let ms: number;
  if (typeof given === 'number') {
    ms = given;
  } else {
    try {
      ms = durationToMilliseconds(
        readDurationFromConfig(section, { key: 'timeout' }),
      );
    } catch (error) {
      throw new Error(`${key}: ${messageOf(error)}: ${example}`);
    }
  }
  // Beyond 2^31 ms Node's timers fire at once.
  if (!(ms >= 1 && ms < 2 ** 31)) {
    throw new Error(
      `${key} must be at least 1 ms and at most 24 days: ${example}`,
    );
  }
  return ms;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
