/** Colours of the chart, from the style sheet. */

import { INDICATORS } from "./chart_indicators.js";
import { colours } from "./theme.js";

const NAMES = [
  ...["up", "down", "flat", "volume-up", "volume-down", "volume-flat", "label-up", "label-down", "area", "compared"],
  ...["panel", "grid", "muted", "line", "crosshair", "label", "pre", "post", "session-strip", ...INDICATORS.map(({ colour }) => colour)],
];

/** @param {"light"} [theme] Instead of the current one. */
export function chartColours(theme) {
  return colours(NAMES, theme);
}

/** @param {Record<string, string>} colours @returns {object} Options of the library, apart from those of series. */
export function colourOptions({ panel, grid, muted, line, crosshair, label }) {
  const cross = { color: crosshair, labelBackgroundColor: label };
  return {
    layout: { background: { color: panel }, textColor: muted, panes: { separatorColor: line, separatorHoverColor: grid } },
    grid: { vertLines: { color: grid }, horzLines: { color: grid } },
    crosshair: { vertLine: cross, horzLine: cross },
    timeScale: { borderColor: line },
  };
}
