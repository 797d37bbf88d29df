/** One symbol at one interval on the chart: loads, follows the stream, goes back in history. */

import { Candles } from "./candles.js";
import { notice, settle } from "./notices.js";
import { pause } from "./service.js";

const RETRY_MS = 2000;
const LONGEST_RETRY_MS = 15_000;

const cover = /** @type {HTMLElement} */ (document.getElementById("cover"));
const coverText = /** @type {HTMLElement} */ (document.getElementById("cover-text"));
const retry = /** @type {HTMLButtonElement} */ (document.getElementById("retry"));

/** Say in the chart's place why there is none. @param {"loading" | "problem" | "empty" | ""} kind @param {string} [text] */
export function cast(kind, text = "") {
  cover.className = `cover ${kind}`;
  cover.hidden = !kind;
  coverText.textContent = text;
  retry.hidden = kind !== "problem";
}

/** Resolves once somebody wants to try again. */
function asked() {
  return new Promise((resolve) => retry.addEventListener("click", resolve, { once: true }));
}

export class View {
  #chart;
  #changed;
  #leaving = new AbortController();
  #loaded = false;
  #busy = false;
  /** Whether there may be more than has been read. */
  #behind = false;
  /** Whether what has been read is no good to go on from. */
  #anew = false;
  #syncing = false;
  /** @type {any[]} What the stream told before the first page was there. */
  #early = [];

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {string} symbol
   * @param {{name: string, words: string, seconds: number}} interval
   * @param {() => void} changed Called when there is more, or other, history.
   */
  constructor(chart, symbol, interval, changed) {
    this.#chart = chart;
    this.#changed = changed;
    this.candles = new Candles(symbol, interval);
  }

  /** Read the newest candles and show them; go on trying where that fails. */
  async load() {
    const { signal } = this.#leaving;
    this.#loaded = false;
    this.#early = [];
    this.#chart.clear(this.candles);
    cast("loading", "Loading candles…");
    for (let wait = RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
      try {
        await this.candles.loadNewest(signal);
        this.#show();
        return this.#behind ? this.sync() : undefined;
      } catch (error) {
        if (signal.aborted) return;
        cast("problem", `Can't load the candles. ${/** @type {Error} */ (error).message}`);
        await Promise.race([pause(wait, signal), asked()]);
      }
    }
  }

  /** Read what may have been missed while there was no connection; go on trying where that fails. */
  async sync() {
    this.#behind = true;
    if (!this.#loaded || this.#syncing) return;
    this.#syncing = true;
    const { signal } = this.#leaving;
    for (let wait = RETRY_MS; this.#behind && !signal.aborted; wait = Math.min(2 * wait, LONGEST_RETRY_MS)) {
      this.#behind = false;
      try {
        await this.#catchUp();
      } catch (error) {
        this.#behind = true;
        this.#complain(error);
        await pause(wait, signal);
      }
    }
    this.#syncing = false;
  }

  /** Read the newest candles again, in place of all that is loaded. */
  reload() {
    this.#anew = true;
    this.sync();
  }

  async #catchUp() {
    const { signal } = this.#leaving;
    const known = this.candles.bars.length > 0;
    if (known && !this.#anew && (await this.candles.loadSince(signal))) return this.#show({ keep: true });
    this.#loaded = false;
    try {
      await this.candles.loadNewest(signal);
      this.#anew = false;
    } finally {
      this.#show({ keep: known });
    }
  }

  /** Read the page before the first candle. */
  async loadOlder() {
    const { candles } = this;
    if (!this.#loaded || this.#busy || candles.complete || !candles.bars.length) return;
    this.#busy = true;
    try {
      await candles.loadOlder(this.#leaving.signal);
      if (this.#leaving.signal.aborted) return;
      this.#show({ keep: true });
    } catch (error) {
      this.#complain(error);
      await pause(RETRY_MS, this.#leaving.signal);
    } finally {
      this.#busy = false;
    }
  }

  /** Take in a candle of the stream. */
  put(/** @type {any} */ candle) {
    if (!this.#loaded) {
      this.#early.push(candle);
      return;
    }
    const { bar, place } = this.candles.put(candle);
    if (place === "end" || place === "inside") this.#chart.update(bar, place === "inside");
    else if (place === "new inside") this.#chart.show({ keep: true });
    if (place !== "nowhere") {
      cast("");
      this.#changed();
    }
  }

  /** Something else is shown now. */
  leave() {
    this.#leaving.abort();
    settle("history");
  }

  #show({ keep = false } = {}) {
    if (this.#leaving.signal.aborted) return;
    this.#loaded = true;
    for (const candle of this.#early.splice(0)) this.candles.put(candle);
    this.#chart.show({ keep });
    settle("history");
    cast(this.candles.bars.length ? "" : "empty", "No trades yet. Candles appear with the first one.");
    this.#changed();
  }

  /** @param {unknown} error */
  #complain(error) {
    if (!this.#leaving.signal.aborted) notice("history", `Can't load candles. ${/** @type {Error} */ (error).message}`);
  }
}
