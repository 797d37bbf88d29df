/** Quote panel: last price and 24-hour figures of the selected symbol. */

import { byId, showPrice } from "./dom.js";
import {
  arrow,
  changeRatio,
  direction,
  percentText,
  priceText,
  shortTimestampText,
  shownRatio,
  volumeText,
  withSign,
} from "./formats.js";
import { now } from "./service_clock.js";

const [symbolLabel, nameLabel, priceLabel, changeLabel] = ["symbol", "name", "price", "change"].map(byId);
const [highLabel, lowLabel, volumeLabel, tradeTimeLabel] = ["day-high", "day-low", "day-volume", "last-trade"].map(byId);

/**
 * @typedef {import("./trade_order.js").Trade} Trade
 */

export class Quote {
  #symbol = "";
  /** @type {Trade | undefined} */
  #lastTrade = undefined;
  #snapshots;

  /** @param {import("./snapshots.js").Snapshots} snapshots */
  constructor(snapshots) {
    this.#snapshots = snapshots;
  }

  /** @param {import("./watch_list.js").Listing} listing @param {Trade | undefined} lastTrade */
  select({ symbol, name }, lastTrade) {
    this.#symbol = symbol;
    this.#lastTrade = lastTrade;
    symbolLabel.textContent = symbol;
    nameLabel.textContent = name;
    this.#show();
  }

  /** Show the current snapshot and last trade of the selected symbol. @param {Trade | undefined} lastTrade */
  update(lastTrade) {
    if (!this.#symbol) return;
    const before = this.#lastTrade;
    this.#lastTrade = lastTrade;
    this.#show(lastTrade && before ? lastTrade.price - before.price : 0);
  }

  /** @returns {string} Price and change for screen readers. */
  get summary() {
    if (!this.#lastTrade) return `${this.#symbol}: no trades yet`;
    const change = changeLabel.textContent?.trim();
    return `${this.#symbol} ${priceLabel.textContent}${change ? `, ${change}` : ""}`;
  }

  /** @param {number} [move] Difference from the last shown price. */
  #show(move = 0) {
    const [symbol, trade] = [this.#symbol, this.#lastTrade];
    const [day, reference] = [this.#snapshots.figures(symbol), this.#snapshots.reference(symbol)];
    showPrice(priceLabel, priceText(symbol, trade?.price), move);
    /** @type {HTMLDataElement} */ (priceLabel).value = String(trade?.price ?? "");
    highLabel.textContent = priceText(symbol, day?.high);
    lowLabel.textContent = priceText(symbol, day?.low);
    volumeLabel.textContent = volumeText(day?.volume);
    tradeTimeLabel.textContent = trade ? shortTimestampText(Date.parse(trade.timestamp), now()) : "—";
    document.title = trade ? `${priceText(symbol, trade.price)} ${symbol} · Market Data` : `${symbol} · Market Data`;
    if (!trade || reference === null) {
      changeLabel.textContent = "\u00a0";
      delete changeLabel.dataset.direction;
      return;
    }
    const difference = trade.price - reference;
    const amount = withSign(difference, priceText(symbol, Math.abs(difference)));
    const ratio = changeRatio(trade.price, reference);
    const percent = ratio === null ? "" : ` (${percentText(ratio)})`;
    const shown = ratio === null ? difference : shownRatio(ratio);
    const period = this.#snapshots.coversDay(symbol) ? "in 24 h" : "since the first trade";
    changeLabel.textContent = `${arrow(shown)} ${amount}${percent} ${period}`.trim();
    changeLabel.dataset.direction = direction(shown);
  }
}
