/** Candles of one symbol and interval on the chart. */

import { CandleReader } from "./candle_reader.js";
import { Candles } from "./candles.js";
import { choices } from "./chart_choices.js";
import { hideOverlay, retryClicked, showOverlay } from "./chart_overlay.js";
import { dismissNotice, showNotice } from "./notices.js";
import { RevisedMarks } from "./revised_marks.js";
import { showSessionControls } from "./session_controls.js";

/** @typedef {import("./candles.js").Bar} Bar @typedef {import("./candles.js").Change} Change */

export class CandleView {
  #chart;
  #onChange;
  /** Aborts all requests when another view replaces this one. */
  #closed = new AbortController();
  #reader;
  #marks;
  #redrawQueued = false;

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {{symbol: string, calendar?: string}} listing
   * @param {import("./intervals.js").Interval} interval
   * @param {() => void} onChange Called after every change of the candles.
   */
  constructor(chart, { symbol, calendar }, interval, onChange) {
    this.#chart = chart;
    this.#onChange = onChange;
    this.candles = new Candles(symbol, interval, choices.tradingOf(calendar));
    this.#reader = new CandleReader(this.candles, this.#closed.signal, {
      onRead: (first) => this.#show({ keepRange: !first }),
      onApplied: (applied) => this.#showApplied(applied),
      onError: (error) => this.#showError(error),
    });
    this.#marks = new RevisedMarks(this.candles, this.#closed.signal, {
      onRead: () => this.#showMarks(),
      onError: ({ message }) => showNotice("revised", `Can't read which candles were revised. ${message}`, "info"),
    });
  }

  /** @returns {boolean} True if the user has chosen other sessions or another adjustment since. */
  get isOutdated() {
    const { calendar, session, adjustment } = this.candles.trading;
    const chosen = choices.tradingOf(calendar);
    return session !== chosen.session || adjustment !== chosen.adjustment;
  }

  /** Load and show the newest candles. */
  load() {
    showSessionControls(this.candles);
    this.#chart.clear(this.candles);
    showOverlay("loading", "Loading candles…");
    this.reload();
  }

  /** Read all loaded candles again, because events were missed. */
  reload() {
    this.#marks.reload();
    this.#reader.reload();
  }

  /** Read the newest candles again, in case they were changed without an event. */
  refresh() {
    this.#reader.refresh();
  }

  /** Load older candles. @param {number} [until] Time that they must reach; one page by default. */
  loadOlder(until) {
    this.#reader.loadOlder(until);
  }

  /** Apply a candle event of the stream. @param {any} candle */
  apply(candle) {
    const applied = this.#reader.apply(candle);
    if (applied || (this.#reader.concerns(candle) && !this.candles.areStreamed)) this.#marks.apply(candle);
    if (applied) this.#showApplied(applied);
  }

  /** @param {{bar: Bar, change: Change}} applied */
  #showApplied({ bar, change }) {
    if (change === "moved" || this.#redrawQueued) return this.#queueRedraw();
    this.#chart.update(bar, change === "earlier");
    hideOverlay();
    this.#onChange();
  }

  /** Stop all requests before another view takes over the chart. */
  close() {
    this.#closed.abort();
    dismissNotice("candles");
    dismissNotice("revised");
  }

  #showMarks() {
    dismissNotice("revised");
    this.#chart.showMarks();
    this.#onChange();
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
    this.#marks.extend();
    dismissNotice("candles");
    if (this.candles.bars.length) hideOverlay();
    else if (this.candles.trading.session === "all")
      showOverlay("empty", "No trades yet. Candles appear with the first trade.");
    else showOverlay("empty", "No trades yet in these sessions. “All trades” has those outside of them.");
    this.#onChange();
  }

  /** @param {Error} error @returns {Promise<unknown> | undefined} Resolves when the user wants to try again. */
  #showError({ message }) {
    if (this.#reader.loaded) return void showNotice("candles", `Can't load candles. ${message}`);
    showOverlay("problem", `Can't load the candles. ${message}`);
    return retryClicked();
  }
}
