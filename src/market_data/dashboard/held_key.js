/** Coalesces what a held key asks for: while it repeats, only the last call is run, once it pauses or is released. */

/** Longer than the time between two repetitions of a key. */
const PAUSE_MS = 120;

export class HeldKey {
  #isHeld = false;
  /** @type {(() => void) | null} */
  #waiting = null;
  #timer = 0;

  constructor() {
    addEventListener("keydown", (event) => (this.#isHeld = event.repeat), true);
    addEventListener("keyup", () => this.#end(), true);
    addEventListener("pointerdown", () => this.#end(), true);
  }

  /** Run a function at once, or while a key is held, when it ends. @param {() => void} run */
  coalesce(run) {
    clearTimeout(this.#timer);
    if (!this.#isHeld) return run();
    this.#waiting = run;
    this.#timer = setTimeout(() => this.#end(), PAUSE_MS);
  }

  /** Drop the function that waits. */
  cancel() {
    clearTimeout(this.#timer);
    this.#waiting = null;
  }

  #end() {
    const run = this.#waiting;
    this.cancel();
    this.#isHeld = false;
    run?.();
  }
}
