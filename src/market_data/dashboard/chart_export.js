/** Downloads of the chart: its picture as PNG, its visible candles as CSV. */

import { byId } from "./dom.js";
import { bucketText } from "./formats.js";
import { colours } from "./theme.js";
import { timeZoneLabel } from "./time_zone.js";

/** @typedef {import("./chart.js").Chart} Chart */

const HEADER_PX = 30;
const TEXT_PX = 13;
const COLUMNS = ["timestamp", "open", "high", "low", "close", "volume", "vwap", "trade_count"];

/** @param {Chart} chart @returns {string} Symbol, interval and visible times. */
export function description(chart) {
  const { symbol, interval, title } = chart.candles;
  const bars = chart.visibleBars;
  const [first, last] = [bars[0], bars.at(-1)].map((bar) => (bar ? bucketText(bar.time, interval.seconds) : "—"));
  return `${symbol} · ${title} · ${first} to ${last} ${timeZoneLabel()}`;
}

/** @param {Chart} chart */
export function savePng(chart) {
  const picture = chart.screenshot();
  const ratio = devicePixelRatio;
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height + HEADER_PX * ratio;
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { panel, text } = colours(["panel", "text"]);
  drawing.fillStyle = panel;
  drawing.fillRect(0, 0, canvas.width, canvas.height);
  drawing.drawImage(picture, 0, HEADER_PX * ratio);
  drawing.fillStyle = text;
  drawing.font = `${TEXT_PX * ratio}px ${getComputedStyle(document.body).fontFamily}`;
  drawing.textBaseline = "middle";
  const lines = [...byId("chart-lines").children]
    .filter((each) => !(/** @type {HTMLElement} */ (each).hidden))
    .map((each) => `   ${[...each.children].map((part) => part.textContent).join(" ")}`)
    .join("");
  drawing.fillText(description(chart) + lines, 8 * ratio, (HEADER_PX / 2) * ratio, canvas.width - 16 * ratio);
  canvas.toBlob((blob) => blob && save(blob, fileName(chart, "png")));
}

/** @param {Chart} chart */
export function saveCsv(chart) {
  save(new Blob([csv(chart)], { type: "text/csv" }), fileName(chart, "csv"));
}

/** @param {Chart} chart @returns {string} The columns of `/candles`, and one of each line. Times are in UTC. */
function csv(chart) {
  const bars = chart.visibleBars;
  const lines = bars.map((bar) => chart.linesAt(bar));
  const rows = bars.map(({ time, open, high, low, close, volume, vwap, trades }, index) => [
    new Date(time * 1000).toISOString().replace(".000Z", "Z"),
    ...[open, high, low, close, volume, vwap, trades],
    ...Object.values(lines[index]),
  ]);
  return [[...COLUMNS, ...Object.keys(lines[0] ?? {})], ...rows].map((row) => `${row.map(field).join()}\r\n`).join("");
}

/** @param {string | number | null} value */
function field(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {Chart} chart @param {string} suffix */
function fileName(chart, suffix) {
  const { symbol, interval } = chart.candles;
  const last = chart.visibleBars.at(-1);
  const time = last ? new Date(last.time * 1000).toISOString().slice(0, 16).replaceAll(":", "") : "empty";
  return `${symbol.replaceAll(/[^\w.-]/g, "_")}_${interval.name}_${time}Z.${suffix}`;
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the download may start later
}
