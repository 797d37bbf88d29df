/**
 * Choices of the user for the chart: style, scale, indicators, sessions, adjustment, comparison and visible range. All are in
 * the URL unless they are the default. All but the last two also last in the browser, for URLs without them.
 */

import { INDICATORS } from "./chart_indicators.js";
import { findRange } from "./ranges.js";
import { readStored, store } from "./storage.js";
import { ALWAYS_OPEN } from "./trading_hours.js";
import { readChartParameter, readUrl, setChartParameters } from "./url_state.js";

/** @typedef {import("./chart_points.js").Style} Style @typedef {"linear" | "log" | "percent"} Scale */
/** @typedef {import("./ranges.js").RangeName} RangeName */
/** @typedef {"extended" | "regular" | "all"} Session @typedef {"raw" | "split" | "dividend" | "all"} Adjustment */
/** @typedef {{calendar: string, session: Session, adjustment: Adjustment}} Trading What candles are made of. */

/**
 * @typedef {object} VisibleRange Times in seconds.
 * @property {RangeName | null} name Of a range that ends with the newest candle.
 * @property {number | null} from Null for the default range.
 * @property {number | null} to Null up to the newest candle.
 * @property {string | null} symbol For which the range was chosen. @property {string | null} interval
 */

/** @type {readonly Style[]} */
const STYLES = ["candles", "line", "area"];
/** @type {readonly Scale[]} */
const SCALES = ["linear", "log", "percent"];
/** @type {readonly {name: Session, title: string}[]} The first is the default. */
export const SESSIONS = Object.freeze([
  { name: "extended", title: "Extended hours" },
  { name: "regular", title: "Regular hours" },
  { name: "all", title: "All trades" },
]);
/** @type {readonly {name: Adjustment, title: string}[]} The first is the default. */
export const ADJUSTMENTS = Object.freeze([
  { name: "raw", title: "Not adjusted" },
  { name: "split", title: "Split-adjusted" },
  { name: "dividend", title: "Dividend-adjusted" },
  { name: "all", title: "Fully adjusted" },
]);
const SYMBOL_PATTERN = /^[^,\s][^,]{0,63}$/;

/** @type {VisibleRange} */
const NEWEST = Object.freeze({ name: null, from: null, to: null, symbol: null, interval: null });

/** @param {string | null} text @returns {number | null} */
function parseTime(text) {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** @param {number} seconds @returns {string} 2026-02-08T10:30Z */
function timeParameter(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(0, 16)}Z`;
}

/** @param {string} name @returns {unknown} The choice of the URL, else the stored one. */
function initial(name) {
  return readChartParameter(name) ?? readStored(`chart-${name}`);
}

class ChartChoices extends EventTarget {
  /** @type {Style} */
  style = STYLES.find((each) => each === initial("style")) ?? STYLES[0];
  /** @type {Scale} */
  scale = SCALES.find((each) => each === initial("scale")) ?? SCALES[0];
  /** @type {string[]} Names, in the order of `INDICATORS`. */
  indicators = [];
  /** Of symbols that have sessions, see `tradingOf()`. @type {Session} */
  session = SESSIONS.find(({ name }) => name === initial("session"))?.name ?? SESSIONS[0].name;
  /** @type {Adjustment} */
  adjustment = ADJUSTMENTS.find(({ name }) => name === initial("adjustment"))?.name ?? ADJUSTMENTS[0].name;
  /** Symbol of the comparison; empty if there is none. */
  compare = "";
  range = NEWEST;

  constructor() {
    super();
    const indicators = String(initial("indicators") ?? "").split(",");
    this.indicators = INDICATORS.map(({ name }) => name).filter((name) => indicators.includes(name));
    const compare = readChartParameter("compare")?.toUpperCase() ?? "";
    if (SYMBOL_PATTERN.test(compare)) this.compare = compare;
    this.#readRange();
    this.#write();
  }

  /** Take over the range of another URL; the other choices stay. @returns {boolean} True if it was another one. */
  readRangeOfUrl() {
    const { name, from, to } = this.range;
    this.#readRange();
    this.#write();
    return name !== this.range.name || from !== this.range.from || to !== this.range.to;
  }

  /** @param {Partial<Pick<ChartChoices, "style" | "scale" | "indicators" | "session" | "adjustment" | "compare">>} choices */
  set(choices) {
    Object.assign(this, choices);
    store("chart-style", this.style === STYLES[0] ? undefined : this.style);
    store("chart-scale", this.scale === SCALES[0] ? undefined : this.scale);
    store("chart-indicators", this.indicators.join() || undefined);
    store("chart-session", this.session === SESSIONS[0].name ? undefined : this.session);
    store("chart-adjustment", this.adjustment === ADJUSTMENTS[0].name ? undefined : this.adjustment);
    this.#write();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {string} [calendar] Of a symbol. @returns {Trading} Of a symbol that is always traded: all trades, unadjusted. */
  tradingOf(calendar = ALWAYS_OPEN) {
    if (calendar === ALWAYS_OPEN) return { calendar, session: "all", adjustment: "raw" };
    return { calendar, session: this.session, adjustment: this.adjustment };
  }

  /** @param {Partial<VisibleRange>} range Replaces the whole range. */
  setRange(range) {
    this.range = { ...NEWEST, ...range };
    this.#write();
    this.dispatchEvent(new Event("rangechange"));
  }

  /**
   * Return to the newest candles unless the range was chosen for this selection. A named range is kept for other symbols.
   * @param {string} symbol @param {string} interval
   */
  matchSelection(symbol, interval) {
    const { range } = this;
    const matches = range.interval === interval && (range.name !== null || range.symbol === symbol);
    if (matches || range === NEWEST) return;
    this.range = NEWEST;
    this.#write({ write: false }); // the URL of the previous selection keeps its range
    this.dispatchEvent(new Event("rangechange"));
  }

  #readRange() {
    const name = findRange(readChartParameter("range"));
    const [from, to] = ["from", "to"].map((each) => parseTime(readChartParameter(each)));
    const selection = readUrl();
    if (name) this.range = { ...NEWEST, ...selection, name };
    else if (from !== null && (to === null || from < to)) this.range = { ...selection, name: null, from, to };
    else this.range = NEWEST;
    this.dispatchEvent(new Event("rangechange"));
  }

  /** @param {{write?: boolean}} [options] */
  #write(options) {
    const { name, from, to } = this.range;
    /** @type {[string, string][]} */
    const parameters = [
      ["style", this.style === STYLES[0] ? "" : this.style],
      ["scale", this.scale === SCALES[0] ? "" : this.scale],
      ["indicators", this.indicators.join()],
      ["session", this.session === SESSIONS[0].name ? "" : this.session],
      ["adjustment", this.adjustment === ADJUSTMENTS[0].name ? "" : this.adjustment],
      ["compare", this.compare],
      ["range", name ?? ""],
      ["from", from === null ? "" : timeParameter(from)],
      ["to", to === null ? "" : timeParameter(to)],
    ];
    setChartParameters(Object.fromEntries(parameters.filter(([, value]) => value)), options);
  }
}

export const choices = new ChartChoices();
