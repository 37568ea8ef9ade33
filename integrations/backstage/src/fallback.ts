import type { FailureLog } from './failures';

/** How long Callboard is left alone after it could not be reached. */
const PAUSE_MS = 5_000;

/**
 * Leads requests to the original publisher while Callboard can't be reached. Every
 * now and then one of them has Callboard looked at; no reader waits for that.
 */
export class Detour {
  #until = 0;
  #isTaken = false;

  /**
   * @param failures - is told when the detour begins
   * @param isBack - looks whether Callboard is there
   */
  constructor(
    private readonly failures: FailureLog,
    private readonly isBack: () => Promise<boolean>,
  ) {}

  /** Whether a request goes to the original publisher at once. */
  isOpen(): boolean {
    const now = Date.now();
    if (this.#isTaken && now >= this.#until) {
      this.#until = now + PAUSE_MS;
      void this.isBack().then(isBack => isBack && this.leave());
    }
    return this.#isTaken;
  }

  /** Callboard could not be reached. */
  take(): void {
    if (!this.#isTaken) {
      this.failures.tellOnce(
        'detour',
        "The original publisher serves documents while Callboard can't be reached",
        undefined,
      );
    }
    this.#isTaken = true;
    this.#until = Date.now() + PAUSE_MS;
  }

  /** Callboard has answered. */
  leave(): void {
    this.#isTaken = false;
  }
}
