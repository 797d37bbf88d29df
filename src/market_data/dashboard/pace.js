/**
 * Usual pace of each symbol's trades, from which the age follows at which its last trade is stale: three times a gap that nine
 * of ten recent gaps stay below. A symbol that trades at random has one longer gap in about a thousand.
 */

/** A shorter silence is never stale: networks and writers pause for seconds. */
const MIN_MS = 10_000;
/** While too few trades are known. */
const DEFAULT_MS = 60_000;
const FACTOR = 3;
const QUANTILE = 0.9;
const MIN_GAPS = 3;
/** Trades of two days from which their mean gap is an estimate of the pace. */
const MIN_TRADES = 10;
const MAX_TIMES = 61;
/** Trades that follow faster are one: a burst is not the pace. */
const BURST_MS = 1000;
const DAY_MS = 86_400_000;

export class Pace {
  /** @type {Map<string, number[]>} Times of the newest trades of each symbol, oldest first. */
  #times = new Map();
  /** @type {Map<string, number>} Ages in milliseconds, until more trades are known. */
  #estimates = new Map();
  /** @type {Map<string, number>} */
  #thresholds = new Map();

  /** @param {string} symbol @param {number[]} times Of trades, in milliseconds and any order. */
  add(symbol, times) {
    const known = this.#times.get(symbol) ?? [];
    const all = [...known, ...times].sort((a, b) => a - b);
    /** @type {number[]} */
    const spaced = [];
    for (const time of all) if (!spaced.length || time - spaced[spaced.length - 1] >= BURST_MS) spaced.push(time);
    this.#times.set(symbol, spaced.slice(-MAX_TIMES));
    this.#thresholds.delete(symbol);
  }

  /**
   * Estimate the pace from the number of trades since the start of the previous UTC day.
   * @param {string} symbol
   * @param {number} trades
   * @param {number} now Service's time.
   */
  estimate(symbol, trades, now) {
    if (trades >= MIN_TRADES) this.#estimates.set(symbol, (FACTOR * (DAY_MS + (now % DAY_MS))) / trades);
    this.#thresholds.delete(symbol);
  }

  /** @param {string} symbol @returns {number} Age in milliseconds above which its last trade is stale. */
  threshold(symbol) {
    let threshold = this.#thresholds.get(symbol);
    if (threshold === undefined) {
      threshold = Math.max(MIN_MS, this.#compute(symbol));
      this.#thresholds.set(symbol, threshold);
    }
    return threshold;
  }

  /** @param {string} symbol */
  #compute(symbol) {
    const times = this.#times.get(symbol) ?? [];
    const gaps = times.slice(1).map((time, index) => time - times[index]);
    if (gaps.length < MIN_GAPS) return this.#estimates.get(symbol) ?? DEFAULT_MS;
    return FACTOR * gaps.sort((a, b) => a - b)[Math.floor(QUANTILE * (gaps.length - 1))];
  }
}
