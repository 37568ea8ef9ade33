export interface Config {
  techdocs?: {
    /**
     * Where techdocs-backend fetches documentation: Callboard, in front of the
     * storage that holds it.
     * @visibility backend
     */
    callboard?: {
      /**
       * Where Callboard listens, such as `http://callboard:7008`; with a path, if
       * something in between adds one.
       * @visibility backend
       */
      baseUrl: string;
      /**
       * The plugin id that tokens for Callboard are made out to. Callboard must
       * list it in its `callboard.auth.audiences`. Default: `callboard`.
       * @visibility backend
       */
      audience?: string;
      /**
       * How long to wait until an answer begins, and then for each piece of it:
       * milliseconds, a duration such as `15s`, or `{ seconds: 15 }`. Default:
       * 15 s, longer than Callboard waits for storage.
       * @visibility backend
       */
      timeout?: number | string | { [unit: string]: number };
      /**
       * Whether Callboard is told which user reads, for its access log. Default:
       * `false`; it then sees this backend.
       * @visibility backend
       */
      onBehalfOfUser?: boolean;
      /**
       * Whether the publisher that `techdocs.publisher` configures serves
       * documents while Callboard can't be reached. It needs a credential for
       * storage then. Default: `false`.
       * @visibility backend
       */
      fallback?: boolean;
    };
  };
}
