import type { FailureLog } from './failures';

/** How long Callboard is left alone after it could not be reached. */
const PAUSE_MS = 5_000;

/**
 * Decides who is asked while Callboard can't be reached, so that not every
 * request waits for it in vain: for a while the original publisher at once, then
 * Callboard with one request, and so on until it answers.
 */
export class Detour {
  #until = 0;
  #isTaken = false;
  readonly #failures: FailureLog;

  constructor(failures: FailureLog) {
    this.#failures = failures;
  }

  /** Whether the next request goes to the original publisher at once. */
  isOpen(): boolean {
    if (!this.#isTaken) {
      return false;
    }
    const now = Date.now();
    if (now < this.#until) {
      return true;
    }
    // This request finds out; the others do not wait for it.
    this.#until = now + PAUSE_MS;
    return false;
  }

  /** Callboard could not be reached. */
  take(): void {
    if (!this.#isTaken) {
      this.#failures.tellOnce(
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
