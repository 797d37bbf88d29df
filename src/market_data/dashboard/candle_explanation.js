/** Dialog that explains a candle: the trades behind it, late and changed ones, and its revisions. */

import { getJson } from "./api_client.js";
import { isoTime } from "./candles.js";
import { byId } from "./dom.js";
import { ageText, bucketText, countText, preciseTimestampText, priceText, quantityText, volumeText } from "./formats.js";
import { now } from "./service_clock.js";

const dialog = /** @type {HTMLDialogElement} */ (byId("explanation"));
const title = byId("explanation-title");
const content = byId("explanation-content");
const CAUSES = { late: "Late trades", correct: "Correction", cancel: "Cancellation", reload: "Bulk history" };
const NOT_EXPLAINED =
  "Candles of sessions have no explanation. Those of all trades have one, and those of less than an hour.";
let reading = new AbortController();

dialog.addEventListener("close", () => reading.abort());

/**
 * Open the dialog, and read the explanation.
 * @param {import("./candles.js").Candles} candles
 * @param {number} time Start of the bucket, in seconds since 1970.
 */
export async function explainCandle({ symbol, interval, areUtcBuckets }, time) {
  reading.abort();
  const { signal } = (reading = new AbortController());
  title.textContent = `${symbol}, ${interval.title}, ${bucketText(time, interval.seconds)}`;
  content.replaceChildren(element("p", areUtcBuckets ? "Loading…" : NOT_EXPLAINED));
  if (!dialog.open) dialog.showModal();
  if (!areUtcBuckets) return;
  const timestamp = isoTime(time);
  try {
    const explanation = await getJson("/candles/explain", { symbol, interval: interval.name, timestamp }, signal);
    if (!signal.aborted) content.replaceChildren(...sections(explanation));
  } catch (error) {
    if (signal.aborted) return;
    const { message } = /** @type {Error} */ (error);
    content.replaceChildren(element("p", `Can't read the explanation. ${message}`));
  }
}

/** @param {any} found Response of `/candles/explain`. @returns {HTMLElement[]} */
function sections(found) {
  const { symbol, late_trade_count: late, change_count: changed } = found;
  const revisions = found.revisions ?? [];
  const parts = [element("p", summary(found))];
  if (found.candle) parts.push(table(["", "Candle", "From trades", "Trade"], figures(found)));
  parts.push(
    ...section(quantityText(late, "late trade"), ["Time", "Price", "Volume", "Stored after"], found.late_trades, (each) => [
      moment(each.timestamp),
      priceText(symbol, each.price),
      volumeText(each.volume),
      ageText(each.delay_seconds * 1000),
    ]),
    ...section(quantityText(changed, "changed trade"), ["Time", "Before", "After", "By"], found.changes, (each) => [
      moment(each.timestamp),
      valuesText(symbol, each.before),
      each.after ? valuesText(symbol, each.after) : "cancelled",
      [each.actor, each.reason].filter(Boolean).join(": "),
    ]),
    ...section(quantityText(revisions.length, "revision"), ["Changed at", "Cause", "Before", "After"], revisions, (each) => [
      moment(each.changed_at),
      CAUSES[/** @type {keyof typeof CAUSES} */ (each.cause)],
      candleText(symbol, each.before),
      candleText(symbol, each.after),
    ]),
  );
  return parts;
}

/** @param {any} found @returns {string} */
function summary({ candle, agrees }) {
  if (!candle) return "There is no trade in this bucket any more.";
  if (agrees) return `The figures are those of its ${quantityText(candle.trade_count, "trade")}.`;
  if (candle.settled === false) return "Late trades are not in the candle yet.";
  return "The figures differ from those of its trades.";
}

/** @param {any} found @returns {string[][]} */
function figures({ symbol, candle, recomputed, trades }) {
  const prices = ["open", "high", "low", "close"].map((name) => [
    name[0].toUpperCase() + name.slice(1),
    priceText(symbol, candle[name]),
    priceText(symbol, recomputed?.[name]),
    trades ? moment(trades[name].timestamp) : "",
  ]);
  return [
    ...prices,
    ["Volume", volumeText(candle.volume), volumeText(recomputed?.volume), ""],
    ["VWAP", priceText(symbol, candle.vwap), priceText(symbol, recomputed?.vwap), ""],
    ["Trades", countText(candle.trade_count), countText(recomputed?.trade_count ?? 0), ""],
  ];
}

/** @param {string} heading @param {string[]} columns @param {any[]} items @param {(item: any) => string[]} cells */
function section(heading, columns, items, cells) {
  return items.length ? [element("h3", heading), table(columns, items.map(cells))] : [];
}

/** @param {string[]} columns @param {string[][]} rows The first cell is the header of its row. @returns {HTMLElement} */
function table(columns, rows) {
  const result = /** @type {HTMLTableElement} */ (element("table"));
  const headers = columns.map((name) => (name ? header(name, "col") : element("td")));
  result.createTHead().insertRow().append(...headers);
  const body = result.createTBody();
  for (const [first, ...rest] of rows)
    body.insertRow().append(header(first, "row"), ...rest.map((each) => element("td", each)));
  return result;
}

/** @param {string} text @param {"col" | "row"} scope */
function header(text, scope) {
  const result = /** @type {HTMLTableCellElement} */ (element("th", text));
  result.scope = scope;
  return result;
}

/** @param {string} name @param {string} [text] */
function element(name, text = "") {
  const result = document.createElement(name);
  result.textContent = text;
  return result;
}

/** @param {string} timestamp */
function moment(timestamp) {
  return preciseTimestampText(Date.parse(timestamp), now());
}

/** @param {string} symbol @param {{price: number, volume: number}} values */
function valuesText(symbol, { price, volume }) {
  return `${priceText(symbol, price)} × ${volumeText(volume)}`;
}

/** @param {string} symbol @param {any} candle Null if there is none; undefined for bulk history. */
function candleText(symbol, candle) {
  if (!candle) return candle === null ? "no candle" : "";
  const prices = [candle.open, candle.high, candle.low, candle.close].map((price) => priceText(symbol, price));
  return `${prices.join(" ")}, ${quantityText(candle.trade_count, "trade")}`;
}
