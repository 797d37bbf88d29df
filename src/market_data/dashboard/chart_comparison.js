/** Closes of another symbol on the chart, for the comparison with the selected one. */

import { LineSeries, LineStyle } from "./lightweight-charts.standalone.production.mjs";
import { CandleReader } from "./candle_reader.js";
import { byId, setText } from "./dom.js";
import { priceText, updateDecimals } from "./formats.js";
import { dismissNotice, showNotice } from "./notices.js";

/** @typedef {import("./candles.js").Candles} Candles */

export class ChartComparison {
  #chart;
  #onChange;
  /** @type {any} Series of the library; null without a comparison. */
  #series = null;
  /** @type {Candles | null} Of the other symbol. */
  #candles = null;
  /** @type {Candles | null} Of the selected symbol. */
  #main = null;
  /** @type {CandleReader | null} */
  #reader = null;
  #closed = new AbortController();

  /** @param {any} chart Of the library. @param {() => void} onChange Called after every change of its candles. */
  constructor(chart, onChange) {
    this.#chart = chart;
    this.#onChange = onChange;
  }

  /** @returns {any[]} Points of the line. */
  get points() {
    return this.#series?.data() ?? [];
  }

  /** @returns {string} Empty if there is no comparison. */
  get symbol() {
    return this.#candles?.symbol ?? "";
  }

  /** @param {number} time @returns {number | null} Close of the candle of this time. */
  closeAt(time) {
    const bar = this.#candles?.bars[this.#candles.indexAt(time)];
    return bar?.time === time ? bar.close : null;
  }

  /** @returns {boolean} True if a loaded price is zero or less, which has no percentages. */
  get hasNonPositivePrices() {
    return this.#candles?.bars.some(({ low }) => low <= 0) ?? false;
  }

  /** Show another symbol, or none. @param {string} symbol @param {Candles} main @param {string} colour */
  select(symbol, main, colour) {
    if (symbol === main.symbol) symbol = "";
    if (main === this.#main && symbol === this.symbol) return;
    this.#closed.abort();
    this.#closed = new AbortController();
    dismissNotice("comparison");
    if (this.#series) this.#chart.removeSeries(this.#series);
    this.#series = null;
    this.#main = main;
    this.#candles = symbol ? main.like(symbol) : null;
    this.#reader = null;
    byId("comparison").hidden = !symbol;
    if (!this.#candles) return;
    setText(byId("comparison-symbol"), symbol);
    this.showValue(undefined);
    this.#series = this.#chart.addSeries(LineSeries, {
      color: colour,
      lineStyle: LineStyle.Solid,
      lineWidth: 2,
      crosshairMarkerVisible: false,
      priceLineVisible: false,
      priceFormat: { type: "custom", formatter: (/** @type {number} */ price) => priceText(symbol, price), minMove: 1e-9 },
    });
    this.#reader = new CandleReader(this.#candles, this.#closed.signal, {
      onRead: () => {
        dismissNotice("comparison");
        this.extend();
      },
      onApplied: (applied) => this.#showApplied(applied),
      onError: ({ message }) => showNotice("comparison", `Can't load the candles of ${symbol}. ${message}`),
    });
    this.reload();
  }

  /** @param {string} colour */
  applyColour(colour) {
    this.#series?.applyOptions({ color: colour });
  }

  /** Read all loaded candles again, because events were missed. */
  reload() {
    this.#reader?.reload();
  }

  /** Read the newest candles again, in case they were changed without an event. */
  refresh() {
    this.#reader?.refresh();
  }

  /** Show candles as far back as those of the selected symbol. */
  extend() {
    const oldest = this.#candles?.bars[0];
    if (!oldest) return;
    this.#draw();
    const start = this.#main?.bars[0]?.time ?? Infinity;
    if (oldest.time > start && !this.#candles?.complete) this.#reader?.loadOlder(start);
  }

  /** Apply a candle event of the stream. @param {any} candle */
  apply(candle) {
    const applied = this.#reader?.apply(candle);
    if (applied) this.#showApplied(applied);
  }

  /** @param {{bar: import("./candles.js").Bar, change: import("./candles.js").Change}} applied */
  #showApplied({ bar, change }) {
    if (change === "moved") return this.#draw();
    if (bar.time >= (this.#main?.bars[0]?.time ?? Infinity) && this.#hasColumn(bar))
      this.#series.update({ time: bar.time, value: bar.close }, change === "earlier");
    this.#onChange();
  }

  /** @param {number | undefined} time Of the candle whose close is shown as text; undefined for the newest. */
  showValue(time) {
    if (!this.#candles) return;
    const close = time === undefined ? this.#candles.bars.at(-1)?.close : this.closeAt(time);
    setText(byId("comparison-close"), priceText(this.symbol, close));
  }

  /** @param {{time: number}} bar @returns {boolean} False if it would open a column in time without a session. */
  #hasColumn({ time }) {
    const main = this.#main;
    return !main || main.trading.session === "all" || main.bars[main.indexAt(time)]?.time === time;
  }

  #draw() {
    if (!this.#candles || !this.#main) return;
    const { bars, symbol } = this.#candles;
    updateDecimals(symbol, ...bars.slice(-200).map(({ close }) => close));
    const start = this.#main.bars[0]?.time ?? Infinity;
    this.#series.setData(
      bars.slice(this.#candles.indexAt(start)).filter((bar) => this.#hasColumn(bar)).map(({ time, close }) => ({ time, value: close })),
    );
    this.#onChange();
  }
}
