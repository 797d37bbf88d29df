/** Indicators on the chart: their lines, and their values as text. */

import { LineSeries, LineStyle, PriceScaleMode } from "./lightweight-charts.standalone.production.mjs";
import { PriceLine } from "./chart_line.js";
import { byId, setText } from "./dom.js";
import { priceText } from "./formats.js";
import {
  exponentialMovingAverage,
  relativeStrengthIndex,
  sessionStart,
  simpleMovingAverage,
  volumeWeightedAverage,
} from "./indicators.js";

/** @typedef {import("./candles.js").Candles} Candles @typedef {import("./candles.js").Bar} Bar @typedef {import("./indicators.js").Values} Values */

/**
 * @typedef {object} Indicator
 * @property {string} name In the URL.
 * @property {string} label
 * @property {string} title
 * @property {string} colour Custom property of the style sheet.
 * @property {number} lineStyle Tells the lines apart without colours.
 * @property {boolean} [ownPane] True if its values are no prices.
 * @property {(candles: Candles) => Values} compute
 * @property {(candles: Candles) => number} [since] Time from which on it needs candles for the newest values.
 */

const list = byId("chart-lines");
const RSI_LENGTH = 14;
const RSI_LEVELS = [30, 70];
const RSI_RANGE = { minValue: 0, maxValue: 100 };
const INDICATOR_PANE = 2;
const { Solid, Dashed, Dotted, LargeDashed } = LineStyle;

/** @type {readonly Indicator[]} */
export const INDICATORS = Object.freeze([
  {
    name: "sma20",
    label: "SMA 20",
    title: "Simple moving average of 20 candles",
    colour: "line-1",
    lineStyle: Solid,
    compute: ({ bars }) => simpleMovingAverage(bars, 20),
  },
  {
    name: "sma50",
    label: "SMA 50",
    title: "Simple moving average of 50 candles",
    colour: "line-2",
    lineStyle: Dashed,
    compute: ({ bars }) => simpleMovingAverage(bars, 50),
  },
  {
    name: "ema20",
    label: "EMA 20",
    title: "Exponential moving average of 20 candles",
    colour: "line-3",
    lineStyle: Dotted,
    compute: ({ bars }) => exponentialMovingAverage(bars, 20),
  },
  {
    name: "vwap",
    label: "VWAP",
    title:
      "Volume-weighted average price since the start of the UTC day or trading session (of the year for candles of a day and more)",
    colour: "line-4",
    lineStyle: LargeDashed,
    compute: (candles) => volumeWeightedAverage(candles.bars, candles.interval.seconds, candles.complete, startIn(candles)),
    since: (candles) => startIn(candles)(candles.bars[candles.bars.length - 1].time),
  },
  {
    name: "rsi14",
    label: "RSI 14",
    title: "Relative strength index of 14 candles",
    colour: "line-5",
    lineStyle: Solid,
    ownPane: true,
    compute: ({ bars }) => relativeStrengthIndex(bars, RSI_LENGTH),
  },
]);

/** @param {Candles} candles @returns {(time: number) => number} Start of the trading session of a time, or of its UTC day. */
function startIn({ hours, interval }) {
  return (time) => hours?.at(time)?.session ?? sessionStart(time, interval.seconds);
}

/** @typedef {{indicator: Indicator, series: any, values: Values, output: HTMLElement}} Shown */

export class ChartIndicators {
  #chart;
  /** @type {Map<string, Shown>} */
  #shown = new Map();
  /** @type {Candles | null} */
  #candles = null;
  /** @type {Bar | undefined} Candle whose values are shown as text. */
  #bar;
  #updateQueued = false;

  /** @param {any} chart Of the library. */
  constructor(chart) {
    this.#chart = chart;
  }

  /** Show these indicators and no others. @param {readonly string[]} names @param {Record<string, string>} colours */
  select(names, colours) {
    for (const [name, { series }] of this.#shown)
      if (!names.includes(name)) {
        this.#chart.removeSeries(series);
        this.#shown.delete(name);
      }
    for (const indicator of INDICATORS)
      if (names.includes(indicator.name) && !this.#shown.has(indicator.name)) this.#add(indicator, colours);
    const shown = INDICATORS.flatMap(({ name }) => this.#shown.get(name) ?? []);
    for (const row of list.querySelectorAll("[data-indicator]")) row.remove();
    list.prepend(...shown.map(({ output }) => /** @type {HTMLElement} */ (output.parentElement)));
  }

  /** @param {Record<string, string>} colours */
  applyColours(colours) {
    for (const { indicator, series } of this.#shown.values()) series.applyOptions({ color: colours[indicator.colour] });
  }

  /** Compute and draw all values. @param {Candles} candles */
  show(candles) {
    this.#candles = candles;
    for (const shown of this.#shown.values()) this.#draw(shown);
    this.showValues(this.#bar);
  }

  /** @param {Candles} candles @returns {number} Time from which on the indicators need candles. */
  since(candles) {
    if (!candles.bars.length) return Infinity;
    return Math.min(...[...this.#shown.values()].map(({ indicator }) => indicator.since?.(candles) ?? Infinity));
  }

  /** Empty all lines. */
  clear() {
    for (const { series } of this.#shown.values()) series.setData([]);
  }

  /** Compute the values of the last candle again, once a frame. */
  update() {
    if (this.#updateQueued || !this.#shown.size) return;
    this.#updateQueued = true;
    requestAnimationFrame(() => {
      this.#updateQueued = false;
      if (!this.#candles?.bars.length) return;
      const { bars } = this.#candles;
      for (const shown of this.#shown.values()) {
        const before = shown.values.length;
        shown.values = shown.indicator.compute(this.#candles);
        // Draw the last two, because the last but one may have got its final value since.
        for (let index = Math.max(0, Math.min(before, bars.length) - 1); index < bars.length; index++)
          shown.series.update(point(bars[index], shown.values[index]));
      }
      this.showValues(this.#bar);
    });
  }

  /** @param {Bar | undefined} bar Candle whose values are shown as text; undefined for the newest. */
  showValues(bar) {
    this.#bar = bar;
    if (!this.#candles || !this.#shown.size) return;
    const { bars } = this.#candles;
    const index = bar ? bars.findIndex(({ time }) => time === bar.time) : bars.length - 1;
    for (const { indicator, values, output } of this.#shown.values()) {
      const value = values[index] ?? null;
      setText(output, indicator.ownPane ? (value?.toFixed(1) ?? "—") : priceText(this.#candles?.symbol ?? "", value));
    }
  }

  /** @param {number} index Of a candle. @returns {Record<string, number | null>} Values by label. */
  valuesAt(index) {
    return Object.fromEntries(
      [...this.#shown.values()].map(({ indicator, values }) => [indicator.label, values[index] ?? null]),
    );
  }

  /** @param {Shown} shown */
  #draw(shown) {
    const candles = /** @type {Candles} */ (this.#candles);
    shown.values = shown.indicator.compute(candles);
    shown.series.setData(candles.bars.map((bar, index) => point(bar, shown.values[index])));
  }

  /** @param {Indicator} indicator @param {Record<string, string>} colours */
  #add(indicator, colours) {
    const { name, label, title, colour, lineStyle, ownPane } = indicator;
    const priceFormat = ownPane
      ? { type: "custom", formatter: (/** @type {number} */ value) => value.toFixed(0), minMove: 1 }
      : {
          type: "custom",
          formatter: (/** @type {number} */ value) => priceText(this.#candles?.symbol ?? "", value),
          minMove: 1e-9,
        };
    const options = {
      ...{ color: colours[colour], lineStyle, lineWidth: 2, priceFormat, crosshairMarkerVisible: false },
      ...{ priceLineVisible: false, lastValueVisible: false },
    };
    const series = ownPane
      ? this.#chart.addSeries(LineSeries, options, INDICATOR_PANE)
      : this.#chart.addCustomSeries(new PriceLine(), options);
    if (ownPane) {
      series.getPane().setStretchFactor(1);
      const line = { color: colours.muted, lineWidth: 1, lineStyle: Dotted, axisLabelVisible: false };
      for (const price of RSI_LEVELS) series.createPriceLine({ ...line, price });
      series.applyOptions({ autoscaleInfoProvider: () => ({ priceRange: RSI_RANGE }) });
      series.priceScale().applyOptions({ mode: PriceScaleMode.Normal }); // not that of the prices
    }
    const row = document.createElement("div");
    row.dataset.indicator = name;
    const term = document.createElement("dt");
    term.textContent = label;
    term.title = title;
    const output = document.createElement("dd");
    row.append(term, output);
    const shown = { indicator, series, values: /** @type {Values} */ ([]), output };
    this.#shown.set(name, shown);
    if (this.#candles) this.#draw(shown);
  }
}

/** @param {Bar} bar @param {number | null} value @returns {object} A point of the library or of `PriceLine`. */
function point({ time, close }, value) {
  return { time, close, value: value ?? undefined };
}
