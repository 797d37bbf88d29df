/** Last trade of each symbol, and the price moves that are not shown yet. */

import { updateDecimals } from "./formats.js";
import { compareTrades } from "./trade_order.js";

/** @typedef {import("./trade_order.js").Trade} Trade @typedef {import("./trade_order.js").TradeEvent} TradeEvent */

export class LastTrades {
  /** @type {Map<string, Trade>} */
  #trades = new Map();
  /** @type {Map<string, number>} */
  #moves = new Map();

  /** @param {string} symbol */
  get(symbol) {
    return this.#trades.get(symbol);
  }

  /** @param {string} symbol @returns {number} Sum of the price moves since the last call. */
  takeMove(symbol) {
    const move = this.#moves.get(symbol) ?? 0;
    this.#moves.delete(symbol);
    return move;
  }

  /** Follow a stored trade or the change of one. @param {TradeEvent} event */
  apply(event) {
    const { symbol, change, latest } = event;
    const known = this.#trades.get(symbol);
    if (change) this.set(symbol, latest ?? null);
    else if (!known || compareTrades(event, known) >= 0) this.set(symbol, event);
  }

  /** @param {string} symbol @param {Trade | null} trade Null if the symbol has no trade. */
  set(symbol, trade) {
    const known = this.#trades.get(symbol);
    if (!trade) this.#trades.delete(symbol);
    else {
      this.#trades.set(symbol, trade);
      updateDecimals(symbol, trade.price);
      if (known) this.#moves.set(symbol, (this.#moves.get(symbol) ?? 0) + trade.price - known.price);
    }
  }
}
