/** Legend of the chart: the newest candle, or the one under the crosshair. Gives the canvas a text that can be read out. */

import { announce } from "./announcer.js";
import { byId, setText } from "./dom.js";
import { bucketText, changeRatio, changeText, countText, direction, priceText, shownRatio, volumeText } from "./formats.js";

const legend = byId("legend");
/** @type {Map<string, HTMLElement>} */
const values = new Map();

for (const [field, term, abbreviation] of [
  ["time", "Candle", ""],
  ["session", "Session", ""],
  ["revised", "State", ""],
  ["open", "Open", "O"],
  ["high", "High", "H"],
  ["low", "Low", "L"],
  ["close", "Close", "C"],
  ["change", "Change", ""],
  ["volume", "Volume", "Vol"],
  ["vwap", "Volume-weighted average price", "VWAP"],
  ["trades", "Trades", "Trades"],
]) {
  const row = document.createElement("div");
  row.dataset.field = field;
  const name = document.createElement("dt");
  const spoken = document.createElement("span");
  spoken.className = "visually-hidden";
  spoken.textContent = term;
  const visible = document.createElement("span");
  visible.setAttribute("aria-hidden", "true");
  visible.textContent = abbreviation;
  name.append(spoken, visible);
  const value = document.createElement("dd");
  row.append(name, value);
  legend.append(row);
  values.set(field, value);
}
clear();

/** Texts of the parts of a session; empty in regular trading. */
const PARTS = { pre: "pre-market", regular: "", post: "post-market" };

/** Hide the legend, but keep its height. */
function clear() {
  legend.classList.add("no-candle");
  for (const [field, value] of values) value.textContent = ["time", "session", "revised"].includes(field) ? "" : "—";
}

/**
 * @param {import("./candles.js").Candles} candles
 * @param {import("./candles.js").Bar | undefined} bar One of the candles, or without values.
 * @param {boolean} [announced] True to announce the candle to screen readers.
 */
export function showCandle({ symbol, interval, revised, hours }, bar, announced = false) {
  if (!bar) return clear();
  legend.classList.remove("no-candle");
  const difference = bar.close - bar.open;
  const ratio = changeRatio(bar.close, bar.open);
  const segment = hours?.known ? hours.at(bar.time) : undefined;
  const texts = {
    time: bucketText(bar.time, interval.seconds),
    session: segment === undefined ? "" : segment ? PARTS[segment.part] : "market closed",
    revised: revised.has(bar.time) ? "revised" : "",
    open: priceText(symbol, bar.open),
    high: priceText(symbol, bar.high),
    low: priceText(symbol, bar.low),
    close: priceText(symbol, bar.close),
    change: changeText(ratio, difference),
    volume: volumeText(bar.volume),
    vwap: priceText(symbol, bar.vwap),
    trades: countText(bar.trades),
  };
  for (const [field, text] of Object.entries(texts)) setText(/** @type {HTMLElement} */ (values.get(field)), text);
  legend.dataset.direction = direction(ratio === null ? difference : shownRatio(ratio));
  if (announced) {
    const { time, session, open, high, low, close, volume } = texts;
    announce(`${time}${session && `, ${session}`}: open ${open}, high ${high}, low ${low}, close ${close}, volume ${volume}.`);
  }
}
