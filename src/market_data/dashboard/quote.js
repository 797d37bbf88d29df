/** Quote panel: last price and 24-hour figures of the selected symbol. */

import { delayed } from "./api_client.js";
import { DAY_MS, readDaySummary } from "./day_change.js";
import { byId, flash } from "./dom.js";
import { arrow, direction, percentText, priceText, shortTimestampText, volumeText, withSign } from "./formats.js";
import { now } from "./service_clock.js";

const DAY_REFRESH_MS = 30_000;
/** Delay of reading the 24-hour figures after a change of stored trades. */
const CHANGE_DELAY_MS = 300;

const [symbolLabel, nameLabel, priceLabel, changeLabel] = ["symbol", "name", "price", "change"].map(byId);
const [highLabel, lowLabel, volumeLabel, tradeTimeLabel] = ["day-high", "day-low", "day-volume", "last-trade"].map(byId);

/**
 * @typedef {import("./trade_order.js").Trade} Trade
 * @typedef {import("./trade_order.js").TradeEvent} TradeEvent
 * @typedef {import("./day_change.js").OpenCandle} OpenCandle
 */

export class Quote {
  #symbol = "";
  /** @type {import("./day_change.js").DaySummary | null} */
  #day = null;
  /** @type {Trade | undefined} */
  #lastTrade = undefined;
  #dayRequests = 0;
  #onDayOpen;

  /** @param {(symbol: string, candle: OpenCandle | null) => void} onDayOpen Called with the first candle of 24 hours. */
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

  /**
   * @param {Trade | undefined} lastTrade Of the selected symbol.
   * @param {TradeEvent[]} events Of the symbol, since the last call.
   */
  update(lastTrade, events) {
    if (!this.#symbol) return;
    const before = this.#lastTrade;
    this.#lastTrade = lastTrade;
    if (events.some(({ change }) => change) || (!this.#day && lastTrade !== before)) this.refreshDaySoon();
    for (const { change, timestamp, price } of events) {
      if (!this.#day || change || Date.parse(timestamp) < now() - DAY_MS) continue;
      this.#day.high = Math.max(this.#day.high, price);
      this.#day.low = Math.min(this.#day.low, price);
    }
    this.#show();
    if (lastTrade && before) flash(priceLabel, lastTrade.price - before.price);
  }

  refreshDaySoon = delayed(() => this.refreshDay(), CHANGE_DELAY_MS);

  /** Read the 24-hour figures. Trades update high and low in between; the volume stays until the next call. */
  async refreshDay() {
    const symbol = this.#symbol;
    if (!symbol) return;
    this.#dayRequests += 1;
    const request = this.#dayRequests;
    try {
      const day = await readDaySummary(symbol);
      if (request !== this.#dayRequests) return; // there is a later one
      this.#day = day;
      this.#onDayOpen(symbol, day?.first ?? null);
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
    if (!trade || !day) {
      changeLabel.textContent = "\u00a0";
      delete changeLabel.dataset.direction;
      return;
    }
    const difference = trade.price - day.first.open;
    const amount = withSign(difference, priceText(symbol, Math.abs(difference)));
    changeLabel.textContent = `${arrow(difference)} ${amount} (${percentText(difference / day.first.open)}) in 24 h`;
    changeLabel.dataset.direction = direction(difference);
  }
}
