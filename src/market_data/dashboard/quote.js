/** Quote panel: last price and 24-hour figures of the selected symbol. */

import { readDaySummary } from "./day_change.js";
import { byId, flash } from "./dom.js";
import { arrow, direction, percentText, priceText, shortTimestampText, volumeText, withSign } from "./formats.js";
import { now } from "./service_clock.js";

const DAY_REFRESH_MS = 30_000;

const [symbolLabel, nameLabel, priceLabel, changeLabel] = ["symbol", "name", "price", "change"].map(byId);
const [highLabel, lowLabel, volumeLabel, tradeTimeLabel] = ["day-high", "day-low", "day-volume", "last-trade"].map(byId);

/** @typedef {{symbol: string, price: number, volume: number, timestamp: string}} Trade */

export class Quote {
  #symbol = "";
  /** @type {import("./day_change.js").DaySummary | null} */
  #day = null;
  /** @type {Trade | undefined} */
  #lastTrade = undefined;
  #onDayOpen;

  /** @param {(symbol: string, open: number | null) => void} onDayOpen Called with the price of 24 hours ago. */
  constructor(onDayOpen) {
    this.#onDayOpen = onDayOpen;
    setInterval(() => this.refreshDay(), DAY_REFRESH_MS);
  }

  /** @param {import("./watch_list.js").Listing} listing @param {Trade | undefined} lastTrade */
  select({ symbol, name }, lastTrade) {
    this.#symbol = symbol;
    this.#day = null;
    this.#lastTrade = lastTrade;
    symbolLabel.textContent = symbol;
    nameLabel.textContent = name;
    this.#show();
    this.refreshDay();
  }

  /** @param {Trade[]} trades Of the selected symbol, in the order of the stream. */
  addTrades(trades) {
    const before = this.#lastTrade;
    for (const trade of trades) {
      if (!isOlder(trade, this.#lastTrade)) this.#lastTrade = trade;
      if (!this.#day) continue;
      this.#day.high = Math.max(this.#day.high, trade.price);
      this.#day.low = Math.min(this.#day.low, trade.price);
    }
    if (!this.#lastTrade || this.#lastTrade === before) return;
    if (!this.#day) this.refreshDay();
    this.#show();
    flash(priceLabel, this.#lastTrade.price - (before ?? this.#lastTrade).price);
  }

  /** Read the 24-hour figures. Trades update high and low in between; the volume stays until the next call. */
  async refreshDay() {
    const symbol = this.#symbol;
    if (!symbol) return;
    try {
      const day = await readDaySummary(symbol);
      if (symbol !== this.#symbol) return;
      this.#day = day;
      this.#onDayOpen(symbol, day?.open ?? null);
      this.#show();
    } catch {
      // Keep the previous figures until the next refresh.
    }
  }

  /** @returns {string} Price and change for screen readers. */
  get summary() {
    if (!this.#lastTrade) return `${this.#symbol}: no trades yet`;
    const change = changeLabel.textContent?.trim();
    return `${this.#symbol} ${priceLabel.textContent}${change ? `, ${change}` : ""}`;
  }

  #show() {
    const [symbol, trade, day] = [this.#symbol, this.#lastTrade, this.#day];
    priceLabel.textContent = priceText(symbol, trade?.price);
    /** @type {HTMLDataElement} */ (priceLabel).value = String(trade?.price ?? "");
    highLabel.textContent = priceText(symbol, day?.high);
    lowLabel.textContent = priceText(symbol, day?.low);
    volumeLabel.textContent = volumeText(day?.volume);
    tradeTimeLabel.textContent = trade ? shortTimestampText(Date.parse(trade.timestamp), now()) : "—";
    document.title = trade ? `${priceText(symbol, trade.price)} ${symbol} · Market Data` : `${symbol} · Market Data`;
    if (!trade || !day?.open) {
      changeLabel.textContent = "\u00a0";
      delete changeLabel.dataset.direction;
      return;
    }
    const difference = trade.price - day.open;
    const amount = withSign(difference, priceText(symbol, Math.abs(difference)));
    changeLabel.textContent = `${arrow(difference)} ${amount} (${percentText(difference / day.open)}) in 24 h`;
    changeLabel.dataset.direction = direction(difference);
  }
}

/** @param {Trade} trade @param {Trade | undefined} other */
export function isOlder(trade, other) {
  return other !== undefined && Date.parse(trade.timestamp) < Date.parse(other.timestamp);
}
