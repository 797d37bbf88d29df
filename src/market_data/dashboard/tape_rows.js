/**
 * Rows of the tape. A row stays in the document as long as its trade is shown, so that a screen reader and a selection keep
 * their place while trades arrive.
 */

import { byId, setText } from "./dom.js";
import { arrow, dateText, direction, preciseTimestampText, priceText, updateDecimals, volumeText } from "./formats.js";
import { now } from "./service_clock.js";
import { timeZoneLabel } from "./time_zone.js";

const tableBody = byId("tape");

/** @typedef {import("./trade_order.js").TradeEvent} TradeEvent */

/** @param {TradeEvent} trade @returns {string} Unique among the trades of a symbol. */
export const tradeKey = ({ timestamp, trade_id: id }) => `${timestamp} ${id}`;

export class TapeRows {
  /** @type {Map<string, {row: HTMLTableRowElement, trade: TradeEvent, previousPrice: number | undefined}>} By trade. */
  #shown = new Map();
  /** Day, time zone and decimals, on which the texts of all rows depend. */
  #format = "";

  /** @param {TradeEvent[]} trades Newest first. */
  show(trades) {
    const before = this.#shown;
    const decimals = trades.length ? updateDecimals(trades[0].symbol, ...trades.map(({ price }) => price)) : 0;
    const format = `${dateText(now())} ${timeZoneLabel()} ${decimals}`; // times of other days than today have a date
    const isOtherFormat = format !== this.#format;
    this.#format = format;
    this.#shown = new Map();
    trades.forEach((trade, index) => {
      const key = tradeKey(trade);
      const previousPrice = trades[index + 1]?.price;
      const known = before.get(key);
      before.delete(key);
      const entry = { row: known?.row ?? createRow(), trade, previousPrice };
      this.#shown.set(key, entry);
      if (isOtherFormat || known?.trade !== trade || known.previousPrice !== previousPrice) fillRow(entry);
    });
    for (const { row } of before.values()) row.remove();
    let next = tableBody.firstElementChild;
    for (const { row } of this.#shown.values()) {
      if (row === next) next = next.nextElementSibling;
      else tableBody.insertBefore(row, next);
    }
  }
}

function createRow() {
  const row = document.createElement("tr");
  for (let count = 0; count < 3; count++) row.append(document.createElement("td"));
  return row;
}

/** @param {{row: HTMLTableRowElement, trade: TradeEvent, previousPrice: number | undefined}} entry */
function fillRow({ row, trade, previousPrice }) {
  const { symbol, price, volume, timestamp } = trade;
  const difference = previousPrice === undefined ? 0 : price - previousPrice;
  row.dataset.direction = direction(difference);
  const time = preciseTimestampText(Date.parse(timestamp), now());
  const texts = [time, `${arrow(difference)} ${priceText(symbol, price)}`, volumeText(volume)];
  texts.forEach((text, index) => setText(row.cells[index], text));
}
