/** Sparklines: the prices of the last 24 hours, as closes of hours. One request reads all symbols that are due. */

import { getJson } from "./api_client.js";
import { replay } from "./replay.js";
import { delayed } from "./retry.js";
import { elapsed, now } from "./service_clock.js";

const HOUR_MS = 3_600_000;
const PERIOD_MS = 24 * HOUR_MS;
const REFRESH_MS = replay ? 30_000 : 300_000; // hours may pass in a minute of a replay
/** Wait after a failed request: the lines are the least important data of the page. */
const FAILED_MS = 30_000;
/** Collects the symbols that become visible while the user scrolls. */
const COLLECT_MS = 250;
const MAX_SYMBOLS = 100;

const [WIDTH, HEIGHT, MARGIN] = [64, 24, 2];
const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {{time: number, price: number}} Point
 * @typedef {{points: Point[], readAt: number, checkedAt: number}} Line `readAt` is the service's time, `checkedAt` is one of
 *   `elapsed()`.
 */

export class Sparklines {
  /** @type {Map<string, Line>} */
  #lines = new Map();
  /** @type {string[]} */
  #wanted = [];
  #reading = false;
  #onRead;

  /** @param {() => void} onRead */
  constructor(onRead) {
    this.#onRead = onRead;
  }

  /** Read missing and outdated lines. Replaces the symbols of the previous call. @param {string[]} symbols */
  request(symbols) {
    this.#wanted = symbols;
    if (this.#due.length) this.#readSoon();
  }

  /** Read the line of a symbol again when it is requested next. @param {string} symbol */
  expire(symbol) {
    this.#lines.delete(symbol);
  }

  /** @param {string} symbol @returns {Line | undefined} */
  line(symbol) {
    return this.#lines.get(symbol);
  }

  get #due() {
    return this.#wanted.filter((symbol) => elapsed() - (this.#lines.get(symbol)?.checkedAt ?? -Infinity) > REFRESH_MS);
  }

  #readSoon = delayed(() => this.#read(), COLLECT_MS);

  async #read() {
    const symbols = this.#due.slice(0, MAX_SYMBOLS);
    if (this.#reading || !symbols.length) return;
    this.#reading = true;
    const [readAt, checkedAt] = [now(), elapsed()];
    const start = new Date(Math.floor((readAt - PERIOD_MS) / HOUR_MS) * HOUR_MS).toISOString();
    try {
      const { candles } = await getJson("/candles", { symbols: symbols.join(), interval: "1h", start });
      for (const symbol of symbols) this.#lines.set(symbol, { points: [], readAt, checkedAt });
      for (const { symbol, timestamp, open, close } of candles) {
        const points = /** @type {Line} */ (this.#lines.get(symbol)).points;
        const time = Date.parse(timestamp);
        if (!points.length) points.push({ time, price: open });
        points.push({ time: time + HOUR_MS, price: close });
      }
      this.#onRead();
    } catch {
      const points = (/** @type {string} */ symbol) => this.#lines.get(symbol)?.points ?? [];
      const failed = { readAt, checkedAt: checkedAt - REFRESH_MS + FAILED_MS };
      for (const symbol of symbols) this.#lines.set(symbol, { points: points(symbol), ...failed });
    } finally {
      this.#reading = false;
    }
  }
}

export function createSparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-hidden", "true"); // the change says it in words
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}

/** @type {WeakMap<SVGElement, {line: Line | undefined, lastPrice: number | undefined}>} */
const drawn = new WeakMap();

/**
 * Draw a line that ends at the last price. The width stands for 24 hours: the line of a younger symbol begins later.
 * @param {SVGElement} svg
 * @param {Line | undefined} line
 * @param {number | undefined} lastPrice
 */
export function drawSparkline(svg, line, lastPrice) {
  const before = drawn.get(svg);
  if (before && before.line === line && before.lastPrice === lastPrice) return;
  drawn.set(svg, { line, lastPrice });
  const isKnown = line?.points.length && lastPrice !== undefined;
  const path = isKnown ? pathOf([...line.points.slice(0, -1), { time: line.readAt, price: lastPrice }], line.readAt) : "";
  /** @type {SVGElement} */ (svg.firstElementChild).setAttribute("d", path);
}

/** @param {Point[]} points @param {number} end */
function pathOf(points, end) {
  const prices = points.map(({ price }) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const y = (/** @type {number} */ price) =>
    high === low ? HEIGHT / 2 : MARGIN + ((high - price) / (high - low)) * (HEIGHT - 2 * MARGIN);
  const x = (/** @type {number} */ time) => Math.max(0, WIDTH * (1 - (end - time) / PERIOD_MS));
  return points.map(({ time, price }, index) => `${index ? "L" : "M"}${x(time).toFixed(1)} ${y(price).toFixed(1)}`).join("");
}
