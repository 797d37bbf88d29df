/** The symbol that is shown: its price, its day. */

import { arrow, direction, momentText, percentText, priceText, signed, volumeText } from "./formats.js";
import { now } from "./clock.js";
import { readDay } from "./changes.js";

const DAY_EVERY_MS = 30_000;

const at = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [symbolPlace, namePlace, pricePlace, changePlace] = ["symbol", "name", "price", "change"].map(at);
const [highPlace, lowPlace, volumePlace, tradePlace] = ["day-high", "day-low", "day-volume", "last-trade"].map(at);

/** @typedef {{symbol: string, price: number, volume: number, timestamp: string}} Trade */

export class Quote {
  #symbol = "";
  /** @type {{open: number, high: number, low: number, volume: number} | null} */
  #day = null;
  /** @type {Trade | undefined} */
  #trade = undefined;
  #opened;

  /** @param {(symbol: string, open: number | null) => void} opened Called with the price of 24 hours ago. */
  constructor(opened) {
    this.#opened = opened;
    setInterval(() => this.readDay(), DAY_EVERY_MS);
  }

  /** @param {{symbol: string, name: string}} symbol @param {Trade | undefined} trade Its newest one. */
  open({ symbol, name }, trade) {
    this.#symbol = symbol;
    this.#day = null;
    this.#trade = trade;
    symbolPlace.textContent = symbol;
    namePlace.textContent = name;
    this.#show();
    this.readDay();
  }

  /** @param {Trade[]} trades Of the same symbol, in the order in which they were told. */
  add(trades) {
    const before = this.#trade;
    for (const trade of trades) {
      if (!isOlder(trade, this.#trade)) this.#trade = trade;
      if (!this.#day) continue;
      this.#day.high = Math.max(this.#day.high, trade.price);
      this.#day.low = Math.min(this.#day.low, trade.price);
    }
    if (!this.#trade || this.#trade === before) return;
    if (!this.#day) this.readDay();
    this.#show();
    flash(pricePlace, this.#trade.price - (before ?? this.#trade).price);
  }

  /** What the day was like: high and low follow the trades, the volume is of the last reading. */
  async readDay() {
    const symbol = this.#symbol;
    if (!symbol) return;
    try {
      const day = await readDay(symbol);
      if (symbol !== this.#symbol) return;
      this.#day = day;
      this.#opened(symbol, day?.open ?? null);
      this.#show();
    } catch {
      // What is there stays; the next reading comes soon.
    }
  }

  /** @returns {string} In a sentence. */
  get sentence() {
    if (!this.#trade) return `${this.#symbol}: no trades yet`;
    const change = changePlace.textContent?.trim();
    return `${this.#symbol} ${pricePlace.textContent}${change ? `, ${change}` : ""}`;
  }

  #show() {
    const [symbol, trade, day] = [this.#symbol, this.#trade, this.#day];
    pricePlace.textContent = priceText(symbol, trade?.price);
    /** @type {HTMLDataElement} */ (pricePlace).value = String(trade?.price ?? "");
    highPlace.textContent = priceText(symbol, day?.high);
    lowPlace.textContent = priceText(symbol, day?.low);
    volumePlace.textContent = volumeText(day?.volume);
    tradePlace.textContent = trade ? momentText(Date.parse(trade.timestamp), now()) : "—";
    document.title = trade ? `${priceText(symbol, trade.price)} ${symbol} · Market Data` : `${symbol} · Market Data`;
    if (!trade || !day?.open) {
      changePlace.textContent = "\u00a0";
      delete changePlace.dataset.direction;
      return;
    }
    const difference = trade.price - day.open;
    const amount = signed(difference, priceText(symbol, Math.abs(difference)));
    changePlace.textContent = `${arrow(difference)} ${amount} (${percentText(difference / day.open)}) in 24 h`;
    changePlace.dataset.direction = direction(difference);
  }
}

/** @param {Trade} trade @param {Trade | undefined} known */
export function isOlder(trade, known) {
  return known !== undefined && Date.parse(trade.timestamp) < Date.parse(known.timestamp);
}

/** Let an element light up for a moment. @param {HTMLElement} element @param {number} difference */
export function flash(element, difference) {
  if (!difference) return;
  const name = difference > 0 ? "flash-up" : "flash-down";
  element.classList.remove("flash-up", "flash-down");
  void element.offsetWidth; // starts the animation anew
  element.classList.add(name);
}
