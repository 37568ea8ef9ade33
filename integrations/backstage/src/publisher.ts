import type { LoggerService } from '@backstage/backend-plugin-api';
import {
  CompoundEntityRef,
  DEFAULT_NAMESPACE,
  Entity,
  stringifyEntityRef,
} from '@backstage/catalog-model';
import {
  NotFoundError,
  NotImplementedError,
  ServiceUnavailableError,
} from '@backstage/errors';
import type {
  PublisherBase,
  PublishRequest,
  PublishResponse,
  ReadinessResponse,
  TechDocsMetadata,
} from '@backstage/plugin-techdocs-node';
import type { Callboard, Whole } from './callboard';
import { Outgoing, Unreachable } from './exchange';
import type { Options } from './config';
import { DocsRouter } from './docs';
import { Detour } from './fallback';
import { FailureLog } from './failures';
import type { Handler } from './http';
import { messageOf } from './relay';
import { Slot, Tokens } from './tokens';

const READINESS = '/.backstage/health/v1/readiness';
const LIVENESS = '/.backstage/health/v1/liveness';
const PURGE = '/.callboard/v1/purge';

/** What the publisher is made of. */
export interface Parts {
  options: Options;
  callboard: Callboard;
  tokens: Tokens;
  failures: FailureLog;
  logger: LoggerService;
  /** The publisher that Callboard stands in for, where it may be needed. */
  original: PublisherBase | undefined;
}

/** Reads from Callboard what publishers read from storage. */
export class CallboardPublisher implements PublisherBase {
  readonly #options: Options;
  readonly #callboard: Callboard;
  readonly #own: Slot;
  readonly #logger: LoggerService;
  readonly #original: PublisherBase | undefined;
  readonly #detour: Detour | undefined;
  readonly #docs: DocsRouter;

  constructor(parts: Parts) {
    const { options, callboard, tokens, failures, logger, original } = parts;
    this.#options = options;
    this.#callboard = callboard;
    this.#own = tokens.own();
    this.#logger = logger;
    this.#original = original;
    this.#detour = options.fallback
      ? new Detour(failures, () => this.#isAlive())
      : undefined;
    this.#docs = new DocsRouter({
      callboard,
      tokens,
      failures,
      detour: this.#detour,
      original: options.fallback ? original : undefined,
    });
  }

  /** Serves `/static/docs`. */
  docsRouter(): Handler {
    return (req, res, next) => this.#docs.handle(req, res, next);
  }

  /** techdocs-backend starts whatever this says; it is there to be found in the log. */
  async getReadiness(): Promise<ReadinessResponse> {
    try {
      const { status, text } = await this.#callboard.ask({
        method: 'GET',
        path: READINESS,
        headers: [],
      });
      if (status === 200) {
        this.#logger.info(`Callboard at ${this.#options.origin} is ready`);
        return { isAvailable: true };
      }
      this.#logger.error(
        `Callboard at ${this.#options.origin} is not ready: ${reasonIn(text) ?? `status ${status}`}`,
      );
    } catch (error) {
      this.#logger.error(
        `Callboard at ${this.#options.origin} can't be reached: is it up, and is techdocs.callboard.baseUrl right?`,
        asError(error),
      );
    }
    return this.#options.fallback && this.#original
      ? this.#original.getReadiness()
      : { isAvailable: false };
  }

  /** The parsed `techdocs_metadata.json` of a site. */
  async fetchTechDocsMetadata(
    entity: CompoundEntityRef,
  ): Promise<TechDocsMetadata> {
    const path = `/metadata/techdocs/${triplet(entity)}`;
    const standIn = this.#options.fallback ? this.#original : undefined;
    if (standIn && this.#detour?.isOpen()) {
      return standIn.fetchTechDocsMetadata(entity);
    }
    try {
      const answer = await this.#ask('GET', path);
      this.#detour?.leave();
      if (answer.status === 200) {
        return JSON.parse(answer.text);
      }
      throw failureOf(answer, 'The metadata of the site');
    } catch (error) {
      if (standIn && error instanceof Unreachable) {
        this.#detour?.take();
        return standIn.fetchTechDocsMetadata(entity);
      }
      throw error;
    }
  }

  /**
   * Whether the site has an `index.html`. Only the builder asks. A failure is
   * thrown, not `false`: the builder takes that for a site to be built from the
   * start. What is absent at Callboard may have been published a moment ago, so
   * where sites are built here the publisher that publishes them has the last word.
   */
  async hasDocsBeenGenerated(entity: Entity): Promise<boolean> {
    const path = `/static/docs/${triplet(entityName(entity))}/index.html`;
    try {
      const answer = await this.#ask('HEAD', path);
      if (answer.status === 200) {
        return true;
      }
      if (answer.status !== 404) {
        throw failureOf(answer, 'Whether the site has been generated');
      }
    } catch (error) {
      if (!this.#original) {
        throw error;
      }
    }
    return this.#original ? this.#original.hasDocsBeenGenerated(entity) : false;
  }

  /** Publishes with the original publisher, where this backend builds sites, and has Callboard look at storage again. */
  async publish(request: PublishRequest): Promise<PublishResponse> {
    if (!this.#options.buildsHere || !this.#original) {
      throw new NotImplementedError(
        'Callboard only reads: publish from CI with `techdocs-cli publish`, or set techdocs.builder to local ' +
          'to have this backend build and publish sites',
      );
    }
    const published = await this.#original.publish(request);
    await this.#purge(stringifyEntityRef(request.entity));
    return published;
  }

  /** A failed purge fails nothing: Callboard notices the publish by itself, if later. */
  async #purge(entity: string): Promise<void> {
    const told = `${entity} is published, but Callboard was not told and shows it a little later`;
    try {
      const path = `${PURGE}?entity=${encodeURIComponent(entity)}`;
      const answer = await this.#ask('POST', path);
      if (answer.status === 403) {
        this.#logger.warn(
          `${told}: list 'plugin:techdocs' in its callboard.purge.subjects`,
        );
      } else if (answer.status !== 200) {
        this.#logger.warn(`${told}: ${failureOf(answer, 'The purge').message}`);
      }
    } catch (error) {
      this.#logger.warn(told, asError(error));
    }
  }

  /** Whether it is Callboard that answers, and not something in between. */
  #isAlive(): Promise<boolean> {
    return this.#callboard
      .ask({ method: 'GET', path: LIVENESS, headers: [] })
      .then(
        ({ status }) => status === 200,
        () => false,
      );
  }

  /** Asks with our token, and once more with a new one if that is refused. */
  async #ask(method: Outgoing['method'], path: string): Promise<Whole> {
    const token = await this.#own.get();
    const answer = await this.#callboard.ask({
      method,
      path,
      headers: bearer(token),
    });
    const other =
      answer.status === 401 ? await this.#own.replace(token) : undefined;
    return other === undefined
      ? answer
      : this.#callboard.ask({ method, path, headers: bearer(other) });
  }
}

function bearer(token: string): string[] {
  return token ? ['authorization', `Bearer ${token}`] : [];
}

/** As it stands: how names are spelled in storage is Callboard's decision. */
function triplet({ namespace, kind, name }: CompoundEntityRef): string {
  return [namespace, kind, name].map(encodeURIComponent).join('/');
}

function entityName({ kind, metadata }: Entity): CompoundEntityRef {
  return {
    kind,
    namespace: metadata.namespace ?? DEFAULT_NAMESPACE,
    name: metadata.name,
  };
}

function failureOf({ status, text }: Whole, what: string): Error {
  const said = messageOf(status, Buffer.from(text).toString('latin1'));
  return status === 404
    ? new NotFoundError(said ?? `${what} was not found`)
    : new ServiceUnavailableError(
        `${what} can't be read: Callboard answered ${status}${said ? `: ${said}` : ''}`,
      );
}

function reasonIn(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text);
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
