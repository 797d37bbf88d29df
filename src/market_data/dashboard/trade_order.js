/** Order of the trades of a symbol, as in the API: by time, then by id. */

/**
 * @typedef {{symbol: string, price: number, volume: number, timestamp: string, trade_id?: number}} Trade A latest price has no
 *   `trade_id`.
 * @typedef {Trade & {trade_id: number, change?: "corrected" | "cancelled", latest?: Trade | null}} TradeEvent
 */

/**
 * Compare as text, because a `Date` has no microseconds: they have six digits, or none if they are zero.
 * @param {Trade} a
 * @param {Trade} b
 * @returns {number} Negative if the first one is older; 0 if that is unknown, because they have the same time and no ids.
 */
export function compareTrades(a, b) {
  const [first, second] = [a, b].map(({ timestamp }) => timestamp.slice(0, -1));
  if (first !== second) return first < second ? -1 : 1;
  return a.trade_id === undefined || b.trade_id === undefined ? 0 : a.trade_id - b.trade_id;
}
