import type { PublisherBase } from '@backstage/plugin-techdocs-node';

/** Express's types as techdocs-node has them, whichever release of Express that is. */
export type Handler = ReturnType<PublisherBase['docsRouter']>;
export type Request = Parameters<Handler>[0];
export type Response = Parameters<Handler>[1];
export type Next = Parameters<Handler>[2];
