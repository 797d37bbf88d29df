/** Price and volume chart: TradingView's lightweight-charts with the theme's colours, the user's choices and keyboard control. */

import { createChartEx, CrosshairMode } from "./lightweight-charts.standalone.production.mjs";
import { choices } from "./chart_choices.js";
import { chartColours, colourOptions } from "./chart_colours.js";
import { ChartComparison } from "./chart_comparison.js";
import { ChartIndicators } from "./chart_indicators.js";
import { ChartKeyboard } from "./chart_keyboard.js";
import { applyScale } from "./chart_scale.js";
import { ChartSeries } from "./chart_series.js";
import { createTimeAxis, tickText } from "./chart_time_axis.js";
import { ChartViewport } from "./chart_viewport.js";
import { bucketText } from "./formats.js";
import { MAX_CANDLES, rangeStart } from "./ranges.js";
import { onThemeChange } from "./theme.js";
import { onTimeZoneChange, timeZoneLabel } from "./time_zone.js";

const SECONDS_PER_DAY = 86_400;
/** Delay after a scroll or zoom until the URL has the range. */
const RANGE_DEBOUNCE_MS = 400;

/** @typedef {import("./candles.js").Bar} Bar @typedef {import("./candles.js").Candles} Candles */

export class Chart {
  #element;
  #callbacks;
  #chart;
  #series;
  #viewport;
  #keyboard;
  #indicators;
  #comparison;
  /** @type {Candles | null} */
  #candles = null;
  /** @type {Record<string, string>} */
  #colours = {};
  /** @type {number | undefined} Time under the crosshair. */
  #crosshairTime;
  #hasNonPositivePrices = false;
  #rangeTimer = 0;

  /**
   * @param {HTMLElement} element
   * @param {object} callbacks
   * @param {(until: number | undefined) => void} callbacks.onNearOldest Called when older candles are needed: up to a time,
   *   or any because the visible range comes close to the oldest candle.
   * @param {(bar: Bar | undefined, byKeyboard: boolean) => void} callbacks.onCrosshair Undefined if there is no crosshair.
   * @param {(away: boolean) => void} callbacks.onScroll True if the newest candle is not visible.
   * @param {(time: number) => void} callbacks.onChoose Called with the time of a candle that the user clicks.
   */
  constructor(element, callbacks) {
    this.#element = element;
    this.#callbacks = callbacks;
    this.#chart = createChartEx(element, createTimeAxis(() => this.#intervalSeconds), {
      autoSize: true,
      // The CSP blocks the style sheet of the library's logo, so the footer has the attribution link.
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      localization: { locale: "en-GB", timeFormatter: (/** @type {number} */ time) => bucketText(time, this.#intervalSeconds) },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: {
        timeVisible: true,
        secondsVisible: false,
        .../** @type {object} */ ({ tickMarkFormatter: this.#tickText }), // lacks in the type of custom axes
      },
      rightPriceScale: { borderVisible: false, minimumWidth: 68, entireTextOnly: true },
    });
    this.#series = new ChartSeries(this.#chart, choices.style, () => this.visibleBars);
    // For tests, which can't read the canvas.
    Object.defineProperty(element, "drawnSeries", { get: () => this.#series.points });
    Object.defineProperty(element, "shadedColumns", { get: () => this.#series.shadedColumns });
    Object.defineProperty(element, "comparedPoints", { get: () => this.#comparison.points });
    Object.defineProperty(element, "visibleTimes", { get: () => this.#viewport.visibleTimes });
    Object.defineProperty(element, "visibleIndexes", { get: () => this.#chart.timeScale().getVisibleLogicalRange() });
    this.#chart.chartElement().setAttribute("aria-hidden", "true");
    this.#viewport = new ChartViewport(this.#chart, element, {
      onNeedOlder: (until) => callbacks.onNearOldest(until),
      onScroll: (away) => this.#onScroll(away),
      onUserChange: () => this.#onUserChange(),
    });
    this.#keyboard = new ChartKeyboard(element, this.#viewport, (bar) => this.#onKeyboard(bar), callbacks.onChoose);
    this.#indicators = new ChartIndicators(this.#chart);
    this.#comparison = new ChartComparison(this.#chart, () => this.#onComparisonChange());
    this.#chart.subscribeCrosshairMove((event) => this.#onCrosshairMove(event));
    this.#chart.subscribeClick(({ time, point, paneIndex }) => {
      const bar = this.#candles?.bars[this.#candles.indexAt(time)];
      if (bar?.time === time && this.#series.isAt(bar, point.y, paneIndex)) callbacks.onChoose(time);
    });
    onThemeChange(() => this.applyTheme());
    onTimeZoneChange(() => this.#redraw());
    choices.addEventListener("change", () => this.#applyChoices());
  }

  /** Empty the chart and bind it to other candles. @param {Candles} candles */
  clear(candles) {
    this.#candles = candles;
    choices.matchSelection(candles.symbol, candles.interval.name);
    this.#viewport.bind(candles);
    this.#keyboard.bind(candles);
    this.#series.clear();
    this.#chart.timeScale().applyOptions({ timeVisible: this.#intervalSeconds < SECONDS_PER_DAY });
    this.#applyChoices();
    this.#draw();
  }

  /** Draw all loaded candles; show the chosen range of them unless `keepRange` is set. */
  show({ keepRange = false } = {}) {
    const times = this.#viewport.chosenTimes;
    this.#draw();
    this.#comparison.extend();
    this.#loadForIndicators();
    if (keepRange) this.#viewport.keep(times);
    else this.applyRange();
  }

  /** @param {Bar} bar @param {boolean} earlier True if it is not the last bar. */
  update(bar, earlier) {
    const added = this.#series.update(bar, earlier);
    if (earlier) this.#indicators.show(this.candles);
    else this.#indicators.update();
    if (added && this.candles.bars.length === 1) {
      this.applyRange();
      this.#comparison.extend();
    } else if (added) this.#viewport.onAppend();
    if (bar.low <= 0 && !this.#hasNonPositivePrices) this.#applyScale();
    this.#exposeState();
  }

  showMarks() {
    this.#series.showMarks();
  }

  /** Show the range that the user has chosen. */
  applyRange() {
    const { name, from, to } = choices.range;
    const { bars, interval } = this.candles;
    const newest = bars.at(-1)?.time;
    if (newest === undefined) return;
    clearTimeout(this.#rangeTimer); // of a scroll before
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
    if (name === null && from === null) return this.#viewport.showLatest();
    const start = name === null ? /** @type {number} */ (from) : rangeStart(name, newest);
    this.#viewport.showRange(Math.max(start, newest - MAX_CANDLES * interval.seconds), to);
  }

  /** Scroll to the newest candle and reset the zoom. */
  showLatest() {
    choices.setRange({});
    this.applyRange();
  }

  /** @returns {Bar | undefined} Candle under the crosshair; in a gap, one without values. Undefined without a crosshair. */
  get crosshairBar() {
    const time = this.#crosshairTime;
    if (time === undefined || !this.#candles) return undefined;
    const bar = this.#candles.bars[this.#candles.indexAt(time)];
    // The keyboard moves from candle to candle, also if the one that it has selected is removed.
    if (bar?.time === time || this.#keyboard.active) return bar;
    const missing = /** @type {any} */ (null);
    return { time, open: missing, high: missing, low: missing, close: missing, volume: 0, vwap: null, trades: 0 };
  }

  /** @returns {number} Candles that the width has room for. */
  get capacity() {
    return this.#viewport.capacity;
  }

  /** @returns {number} Candles of the default size that fill the width. */
  get defaultCount() {
    return this.#viewport.defaultCount;
  }

  /** @returns {number | undefined} Time of the newest candle, undefined until it is loaded. */
  get newestTime() {
    return this.#candles?.bars.at(-1)?.time;
  }

  /** @returns {ChartComparison} */
  get comparison() {
    return this.#comparison;
  }

  /** @returns {Candles} */
  get candles() {
    return /** @type {Candles} */ (this.#candles);
  }

  /** @returns {Bar[]} */
  get visibleBars() {
    const times = this.#viewport.visibleTimes;
    if (!times || !this.#candles) return [];
    return this.#candles.bars.slice(this.#candles.indexAt(times.from), this.#candles.indexAt(times.to + 1));
  }

  /** @param {Bar} bar @returns {Record<string, number | null>} Values of the indicators and the comparison by label. */
  linesAt(bar) {
    const values = this.#indicators.valuesAt(this.candles.indexAt(bar.time));
    const { symbol } = this.#comparison;
    return symbol ? { ...values, [symbol]: this.#comparison.closeAt(bar.time) } : values;
  }

  /** @param {"light"} [theme] Instead of the current one. @returns {HTMLCanvasElement} Copy of the chart. */
  screenshot(theme) {
    if (theme) this.applyTheme(theme);
    const copy = this.#chart.takeScreenshot();
    if (theme) this.applyTheme();
    return copy;
  }

  /** @param {"light"} [theme] Instead of the current one. */
  applyTheme(theme) {
    this.#colours = chartColours(theme);
    this.#chart.applyOptions(colourOptions(this.#colours));
    this.#series.applyColours(this.#colours);
    this.#indicators.applyColours(this.#colours);
    this.#comparison.applyColour(this.#colours.compared);
  }

  #tickText = (/** @type {number} */ time, /** @type {number} */ type) =>
    tickText(time, type, this.#intervalSeconds >= SECONDS_PER_DAY);

  get #intervalSeconds() {
    return this.#candles?.interval.seconds ?? 60;
  }

  #applyChoices() {
    if (!this.#candles) return;
    this.#series.setStyle(choices.style);
    this.#indicators.select(choices.indicators, this.#colours);
    this.#comparison.select(choices.compare, this.#candles, this.#colours.compared);
    this.#applyScale();
    this.#exposeState();
    this.#loadForIndicators();
  }

  #loadForIndicators() {
    const { bars, complete } = this.candles;
    const since = this.#indicators.since(this.candles);
    if (bars.length && !complete && bars[0].time > since) this.#callbacks.onNearOldest(since);
  }

  #applyScale() {
    this.#hasNonPositivePrices = this.candles.bars.some(({ low }) => low <= 0);
    this.#element.dataset.scale = applyScale(this.#chart, this.candles.symbol, this.#hasNonPositivePrices, this.#comparison);
  }

  #draw() {
    const { symbol, title } = this.candles;
    const zone = timeZoneLabel() === "UTC" ? "UTC" : "local time";
    this.#element.setAttribute("aria-label", `${symbol}, candles of ${title}, times in ${zone}`);
    this.#series.draw(this.candles);
    this.#indicators.show(this.candles);
    this.#applyScale();
    this.#exposeState();
  }

  /** Draw all in another time zone. */
  #redraw() {
    if (!this.#candles) return;
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    this.#series.clear();
    this.#indicators.clear();
    this.#draw();
    if (range) this.#chart.timeScale().setVisibleLogicalRange(range);
  }

  #onComparisonChange() {
    this.#applyScale();
    this.#showLines();
  }

  /** @param {boolean} away True if the newest candle is not visible. */
  #onScroll(away) {
    this.#series.showPriceLabel(!away);
    this.#callbacks.onScroll(away);
  }

  /** Keep the range in the URL after a scroll or zoom. */
  #onUserChange() {
    clearTimeout(this.#rangeTimer);
    this.#rangeTimer = setTimeout(() => {
      const times = this.#viewport.chosenTimes;
      const { symbol, interval } = this.candles;
      if (times) choices.setRange({ ...times, symbol, interval: interval.name });
    }, RANGE_DEBOUNCE_MS);
  }

  /** @param {any} event */
  #onCrosshairMove(event) {
    if (!this.#candles || this.#keyboard.active) return; // #onKeyboard() has reported the candle already
    this.#reportCrosshair(event.time, false);
  }

  /** @param {Bar | undefined} bar */
  #onKeyboard(bar) {
    if (bar) this.#series.placeCrosshair(bar);
    else this.#chart.clearCrosshairPosition();
    this.#reportCrosshair(bar?.time, bar !== undefined);
  }

  /** @param {number | undefined} time @param {boolean} byKeyboard */
  #reportCrosshair(time, byKeyboard) {
    this.#crosshairTime = time;
    this.#callbacks.onCrosshair(this.crosshairBar, byKeyboard);
    this.#showLines();
  }

  /** Show the values of the indicators and the comparison as text. */
  #showLines() {
    const bar = this.crosshairBar;
    this.#indicators.showValues(bar);
    this.#comparison.showValue(bar?.time);
  }

  /** Publish the state as data attributes, because tests can't read the canvas; show the values of the lines. */
  #exposeState() {
    const { bars, symbol, interval } = this.candles;
    Object.assign(this.#element.dataset, {
      symbol,
      interval: interval.name,
      candles: String(bars.length),
      first: String(bars[0]?.time ?? ""),
      last: String(bars.at(-1)?.time ?? ""),
      style: choices.style,
    });
    this.#showLines();
  }
}
