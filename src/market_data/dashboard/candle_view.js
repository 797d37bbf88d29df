/** Candles of one symbol and interval on the chart: loads pages, applies stream events, retries after errors. */

import { sleep } from "./api_client.js";
import { Candles } from "./candles.js";
import { hideOverlay, retryClicked, showOverlay } from "./chart_overlay.js";
import { dismissNotice, showNotice } from "./notices.js";

const MIN_RETRY_MS = 2000;
const MAX_RETRY_MS = 15_000;

export class CandleView {
  #chart;
  #onChange;
  /** Aborts all requests when another view replaces this one. */
  #closed = new AbortController();
  #loaded = false;
  #loadingOlder = false;
  /** True if candles may have been missed since the last read. */
  #needsSync = false;
  /** True if the loaded candles may be wrong, so that all must be read again. */
  #needsReload = false;
  #syncing = false;
  /** @type {any[]} Candle events that arrived before the first page. */
  #earlyEvents = [];

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {string} symbol
   * @param {import("./intervals.js").Interval} interval
   * @param {() => void} onChange Called after every change of the candles.
   */
  constructor(chart, symbol, interval, onChange) {
    this.#chart = chart;
    this.#onChange = onChange;
    this.candles = new Candles(symbol, interval);
  }

  /** Load and show the newest candles; retry until it succeeds. */
  async load() {
    const { signal } = this.#closed;
    this.#loaded = false;
    this.#earlyEvents = [];
    this.#chart.clear(this.candles);
    showOverlay("loading", "Loading candles…");
    for (let delay = MIN_RETRY_MS; !signal.aborted; delay = Math.min(2 * delay, MAX_RETRY_MS)) {
      try {
        await this.candles.loadNewest(signal);
        this.#show();
        return this.#needsSync ? this.sync() : undefined;
      } catch (error) {
        if (signal.aborted) return;
        showOverlay("problem", `Can't load the candles. ${/** @type {Error} */ (error).message}`);
        await Promise.race([sleep(delay, signal), retryClicked()]);
      }
    }
  }

  /** Read the candles missed while there was no connection; retry until it succeeds. */
  async sync() {
    this.#needsSync = true;
    if (!this.#loaded || this.#syncing) return;
    this.#syncing = true;
    const { signal } = this.#closed;
    for (let delay = MIN_RETRY_MS; this.#needsSync && !signal.aborted; delay = Math.min(2 * delay, MAX_RETRY_MS)) {
      this.#needsSync = false;
      try {
        await this.#readMissed();
      } catch (error) {
        this.#needsSync = true;
        this.#showError(error);
        await sleep(delay, signal);
      }
    }
    this.#syncing = false;
  }

  /** Read the newest candles again and discard all that are loaded. */
  reload() {
    this.#needsReload = true;
    this.sync();
  }

  async #readMissed() {
    const { signal } = this.#closed;
    const hasBars = this.candles.bars.length > 0;
    if (hasBars && !this.#needsReload && (await this.candles.loadNewer(signal))) return this.#show({ keepRange: true });
    this.#loaded = false;
    try {
      await this.candles.loadNewest(signal);
      this.#needsReload = false;
    } finally {
      this.#show({ keepRange: hasBars });
    }
  }

  async loadOlder() {
    const { candles } = this;
    if (!this.#loaded || this.#loadingOlder || candles.complete || !candles.bars.length) return;
    this.#loadingOlder = true;
    try {
      await candles.loadOlder(this.#closed.signal);
      this.#show({ keepRange: true });
    } catch (error) {
      this.#showError(error);
      await sleep(MIN_RETRY_MS, this.#closed.signal);
    } finally {
      this.#loadingOlder = false;
    }
  }

  /** Apply a candle event of the stream. @param {any} candle */
  apply(candle) {
    if (!this.#loaded) {
      this.#earlyEvents.push(candle);
      return;
    }
    const { bar, change } = this.candles.apply(candle);
    if (change === "ignored") return;
    if (change === "inserted") this.#chart.show({ keepRange: true });
    else this.#chart.update(bar, change === "earlier");
    hideOverlay();
    this.#onChange();
  }

  /** Stop all requests before another view takes over the chart. */
  close() {
    this.#closed.abort();
    dismissNotice("candles");
  }

  #show({ keepRange = false } = {}) {
    if (this.#closed.signal.aborted) return;
    this.#loaded = true;
    for (const candle of this.#earlyEvents.splice(0)) this.candles.apply(candle);
    this.#chart.show({ keepRange });
    dismissNotice("candles");
    if (this.candles.bars.length) hideOverlay();
    else showOverlay("empty", "No trades yet. Candles appear with the first trade.");
    this.#onChange();
  }

  /** @param {unknown} error */
  #showError(error) {
    if (this.#closed.signal.aborted) return;
    showNotice("candles", `Can't load candles. ${/** @type {Error} */ (error).message}`);
  }
}
