import {
  coreServices,
  createBackendModule,
} from '@backstage/backend-plugin-api';
import {
  Publisher,
  techdocsPublisherExtensionPoint,
} from '@backstage/plugin-techdocs-node';
import { Callboard } from './callboard';
import { readOptions } from './config';
import { FailureLog } from './failures';
import { CallboardPublisher } from './publisher';
import { Tokens } from './tokens';

/**
 * Registers Callboard as the publisher that techdocs-backend reads from.
 *
 * @public
 */
export const techdocsModuleCallboard = createBackendModule({
  pluginId: 'techdocs',
  moduleId: 'callboard',
  register(env) {
    env.registerInit({
      deps: {
        publishers: techdocsPublisherExtensionPoint,
        config: coreServices.rootConfig,
        logger: coreServices.logger,
        discovery: coreServices.discovery,
        lifecycle: coreServices.lifecycle,
        auth: coreServices.auth,
        httpAuth: coreServices.httpAuth,
      },
      async init(services) {
        const { publishers, config, logger, discovery, lifecycle } = services;
        const { auth, httpAuth } = services;
        const options = readOptions(config);
        for (const hint of options.hints) {
          logger.warn(hint);
        }

        // The publisher that the configuration names wants credentials for
        // storage: keeping those out of Node is half of what Callboard is for.
        const original =
          options.fallback || options.buildsHere
            ? await Publisher.fromConfig(config, { logger, discovery })
            : undefined;

        const callboard = new Callboard(options);
        lifecycle.addShutdownHook(() => callboard.close());

        publishers.registerPublisher(
          options.publisherType,
          new CallboardPublisher({
            options,
            callboard,
            tokens: new Tokens({ auth, httpAuth, logger, options }),
            failures: new FailureLog(logger),
            logger,
            original,
          }),
        );
      },
    });
  },
});
