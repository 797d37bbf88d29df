/** Settings of the chart: style, scale, indicators, comparison, time zone and colours. */

import { choices } from "./chart_choices.js";
import { INDICATORS } from "./chart_indicators.js";
import { byId, setText } from "./dom.js";
import { onTimeZoneChange, setTimeZone, timeZone } from "./time_zone.js";
import { setTrendColours, TREND_COLOURS, trendColours } from "./trend_colours.js";

/** @typedef {import("./watch_list.js").Listing} Listing */

const MAX_SUGGESTIONS = 30;

const style = /** @type {HTMLSelectElement} */ (byId("chart-style"));
const scale = /** @type {HTMLSelectElement} */ (byId("chart-scale"));
const zone = /** @type {HTMLSelectElement} */ (byId("chart-time-zone"));
const trend = /** @type {HTMLSelectElement} */ (byId("chart-trend-colours"));
const compare = /** @type {HTMLInputElement} */ (byId("chart-compare"));
const compareHelp = byId("chart-compare-help");
const stopComparison = byId("stop-comparison");
const indicators = byId("chart-indicators");

/** @param {() => readonly Listing[]} listings Of all symbols. */
export function bindChartSettings(listings) {
  indicators.append(...INDICATORS.map(indicatorOption));
  trend.append(...TREND_COLOURS.map(({ name, title }) => new Option(title, name)));
  style.addEventListener("change", () => choices.set({ style: /** @type {any} */ (style.value) }));
  scale.addEventListener("change", () => choices.set({ scale: /** @type {any} */ (scale.value) }));
  zone.addEventListener("change", () => setTimeZone(/** @type {any} */ (zone.value)));
  trend.addEventListener("change", () => setTrendColours(/** @type {any} */ (trend.value)));
  compare.addEventListener("input", () => suggest(listings()));
  compare.addEventListener("change", () => chooseComparison(listings()));
  byId("chart-compare-form").addEventListener("submit", (event) => {
    event.preventDefault();
    chooseComparison(listings());
  });
  stopComparison.addEventListener("click", () => {
    choices.set({ compare: "" });
    compare.focus(); // the button disappears
  });
  choices.addEventListener("change", show);
  onTimeZoneChange(show);
  show();
}

function show() {
  style.value = choices.style;
  scale.value = choices.compare ? "percent" : choices.scale;
  scale.disabled = choices.compare !== "";
  zone.value = timeZone();
  trend.value = trendColours();
  compare.value = choices.compare;
  stopComparison.hidden = !choices.compare;
  setText(compareHelp, choices.compare ? "Both are shown in percent of their first visible close." : "");
  for (const input of indicators.querySelectorAll("input")) input.checked = choices.indicators.includes(input.value);
}

/** @param {import("./chart_indicators.js").Indicator} indicator */
function indicatorOption({ name, label, title }) {
  const option = document.createElement("label");
  const input = document.createElement("input");
  input.type = "checkbox";
  input.value = name;
  input.addEventListener("change", () => {
    const checked = [...indicators.querySelectorAll("input:checked")];
    choices.set({ indicators: checked.map((each) => /** @type {HTMLInputElement} */ (each).value) });
  });
  option.title = title;
  option.append(input, label);
  return option;
}

/** @param {readonly Listing[]} listings */
function suggest(listings) {
  const text = compare.value.trim().toUpperCase();
  const matches = listings.filter(({ symbol, name }) => symbol.includes(text) || name.toUpperCase().includes(text));
  byId("chart-compare-symbols").replaceChildren(
    ...matches.slice(0, MAX_SUGGESTIONS).map(({ symbol, name }) => new Option(name, symbol)),
  );
}

/** @param {readonly Listing[]} listings */
function chooseComparison(listings) {
  const symbol = compare.value.trim().toUpperCase();
  if (symbol && !listings.some((listing) => listing.symbol === symbol))
    return setText(compareHelp, `Unknown symbol ${symbol}: choose one of the watch list.`);
  if (symbol !== choices.compare) choices.set({ compare: symbol });
}
