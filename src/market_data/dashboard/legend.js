/** The newest candle, or the one under the crosshair, in text: what the canvas can't say. */

import { announce } from "./announcer.js";
import { arrow, bucketText, countText, direction, percentText, priceText, volumeText } from "./formats.js";

const place = /** @type {HTMLElement} */ (document.getElementById("legend"));
/** @type {Map<string, {row: HTMLElement, value: HTMLElement}>} */
const parts = new Map();
place.classList.add("none");

for (const [key, term, short] of [
  ["time", "Candle", ""],
  ["open", "Open", "O"],
  ["high", "High", "H"],
  ["low", "Low", "L"],
  ["close", "Close", "C"],
  ["change", "Change", ""],
  ["volume", "Volume", "Vol"],
  ["vwap", "Average by volume", "VWAP"],
  ["trades", "Trades", "Trades"],
]) {
  const row = document.createElement("div");
  row.dataset.part = key;
  const name = document.createElement("dt");
  const full = document.createElement("span");
  full.className = "hidden";
  full.textContent = term;
  const shown = document.createElement("span");
  shown.setAttribute("aria-hidden", "true");
  shown.textContent = short;
  name.append(full, shown);
  const value = document.createElement("dd");
  value.textContent = key === "time" ? "" : "—";
  row.append(name, value);
  place.append(row);
  parts.set(key, { row, value });
}

/**
 * @param {string} symbol
 * @param {{seconds: number}} interval
 * @param {import("./candles.js").Bar | undefined} bar
 * @param {boolean} [spoken] Whether a screen reader is told as well.
 */
export function showCandle(symbol, interval, bar, spoken = false) {
  place.classList.toggle("none", !bar);
  if (!bar) {
    for (const [key, { value }] of parts) value.textContent = key === "time" ? "" : "—";
    return;
  }
  const difference = bar.close - bar.open;
  const texts = {
    time: bucketText(bar.time, interval.seconds),
    open: priceText(symbol, bar.open),
    high: priceText(symbol, bar.high),
    low: priceText(symbol, bar.low),
    close: priceText(symbol, bar.close),
    change: `${arrow(difference)} ${percentText(bar.open ? difference / bar.open : 0)}`,
    volume: volumeText(bar.volume),
    vwap: priceText(symbol, bar.vwap),
    trades: countText(bar.trades),
  };
  for (const [key, text] of Object.entries(texts)) {
    const part = parts.get(key);
    if (part && part.value.textContent !== text) part.value.textContent = text;
  }
  place.dataset.direction = direction(difference);
  if (spoken) {
    const { time, open, high, low, close, volume } = texts;
    announce(`${time}: open ${open}, high ${high}, low ${low}, close ${close}, volume ${volume}.`);
  }
}
