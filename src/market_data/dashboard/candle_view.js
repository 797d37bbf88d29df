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
  /** True if the loaded candles may be wrong, so that all must be read again. */
  #needsReload = false;
  #reloading = false;
  #redrawQueued = false;
  /** @type {Set<any[]>} Of each request that runs: the candle events since its start. */
  #eventsSinceRequests = new Set();

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
    this.#chart.clear(this.candles);
    showOverlay("loading", "Loading candles…");
    for (let delay = MIN_RETRY_MS; !signal.aborted; delay = Math.min(2 * delay, MAX_RETRY_MS)) {
      try {
        await this.#read(() => this.candles.loadNewest(signal));
        this.#loaded = true;
        this.#show();
        return this.#needsReload ? this.reload() : undefined;
      } catch (error) {
        if (signal.aborted) return;
        showOverlay("problem", `Can't load the candles. ${/** @type {Error} */ (error).message}`);
        await Promise.race([sleep(delay, signal), retryClicked()]);
      }
    }
  }

  /** Read the newest candles again in place of all that are loaded, because events were missed; retry until it succeeds. */
  async reload() {
    this.#needsReload = true;
    if (!this.#loaded || this.#reloading) return;
    this.#reloading = true;
    const { signal } = this.#closed;
    for (let delay = MIN_RETRY_MS; this.#needsReload && !signal.aborted; delay = Math.min(2 * delay, MAX_RETRY_MS)) {
      this.#needsReload = false;
      try {
        const hadBars = this.candles.bars.length > 0;
        await this.#read(() => this.candles.loadNewest(signal));
        this.#show({ keepRange: hadBars });
      } catch (error) {
        this.#needsReload = true;
        this.#showError(error);
        await sleep(delay, signal);
      }
    }
    this.#reloading = false;
  }

  async loadOlder() {
    const { candles } = this;
    if (!this.#loaded || this.#loadingOlder || candles.complete || !candles.bars.length) return;
    this.#loadingOlder = true;
    try {
      await this.#read(() => candles.loadOlder(this.#closed.signal));
      this.#show({ keepRange: true });
    } catch (error) {
      this.#showError(error);
      await sleep(MIN_RETRY_MS, this.#closed.signal);
    } finally {
      this.#loadingOlder = false;
    }
  }

  /** Read candles, and apply the events that arrived meanwhile again: they may be newer. @param {() => Promise<void>} load */
  async #read(load) {
    /** @type {any[]} */
    const events = [];
    this.#eventsSinceRequests.add(events);
    try {
      await load();
    } finally {
      this.#eventsSinceRequests.delete(events);
    }
    for (const candle of events) this.candles.apply(candle);
  }

  /** Apply a candle event of the stream. @param {any} candle */
  apply(candle) {
    for (const events of this.#eventsSinceRequests) events.push(candle);
    if (!this.#loaded) return;
    const { bar, change } = this.candles.apply(candle);
    if (change === "ignored") return;
    if (!this.candles.bars.length) this.reload(); // there may be older ones
    if (change === "moved" || this.#redrawQueued) return this.#queueRedraw();
    this.#chart.update(bar, change === "earlier");
    hideOverlay();
    this.#onChange();
  }

  /** Stop all requests before another view takes over the chart. */
  close() {
    this.#closed.abort();
    dismissNotice("candles");
  }

  /** Draw all candles with the next frame: a burst of removals costs one drawing. */
  #queueRedraw() {
    if (this.#redrawQueued) return;
    this.#redrawQueued = true;
    requestAnimationFrame(() => {
      this.#redrawQueued = false;
      this.#show({ keepRange: true });
    });
  }

  #show({ keepRange = false } = {}) {
    if (this.#closed.signal.aborted) return;
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
