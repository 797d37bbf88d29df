/** Price scale of the chart: linear, logarithmic or in percent. */

import { PriceScaleMode } from "./lightweight-charts.standalone.production.mjs";
import { choices } from "./chart_choices.js";
import { byId, setText } from "./dom.js";

const MODES = {
  linear: PriceScaleMode.Normal,
  log: PriceScaleMode.Logarithmic,
  percent: PriceScaleMode.Percentage,
};

/**
 * Apply the chosen scale, or percent with a comparison, unless prices of zero or less rule it out; a note says so then.
 * @param {any} chart Of the library.
 * @param {string} symbol
 * @param {boolean} hasNonPositivePrices
 * @param {import("./chart_comparison.js").ChartComparison} comparison
 * @returns {import("./chart_choices.js").Scale} The applied one.
 */
export function applyScale(chart, symbol, hasNonPositivePrices, comparison) {
  const scale = comparison.symbol ? "percent" : choices.scale;
  const obstacle = hasNonPositivePrices ? symbol : comparison.hasNonPositivePrices ? comparison.symbol : "";
  const possible = scale === "linear" || !obstacle;
  const applied = possible ? scale : "linear";
  chart.priceScale("right").applyOptions({ mode: MODES[applied] });
  const note = byId("scale-note");
  note.hidden = possible;
  setText(note, possible ? "" : `No ${scale} scale: ${obstacle} has prices of zero or less.`);
  return applied;
}
