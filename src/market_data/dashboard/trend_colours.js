/**
 * Colours of rising and falling prices. The default pair, blue and orange, is safe for colour-blind readers; green for
 * rising is usual in Europe and America, red for rising in East Asia. `theme_boot.js` sets a stored choice.
 */

import { store } from "./storage.js";

/** @typedef {"blue-orange" | "green-red" | "red-green"} TrendColours */

/** @type {readonly {name: TrendColours, title: string}[]} */
export const TREND_COLOURS = Object.freeze([
  { name: "blue-orange", title: "Blue up, orange down" },
  { name: "green-red", title: "Green up, red down" },
  { name: "red-green", title: "Red up, green down" },
]);
const DEFAULT = TREND_COLOURS[0].name;
const root = document.documentElement;

/** @returns {TrendColours} */
export function trendColours() {
  return TREND_COLOURS.find(({ name }) => name === root.dataset.trendColours)?.name ?? DEFAULT;
}

/** @param {TrendColours} name */
export function setTrendColours(name) {
  if (name === DEFAULT) delete root.dataset.trendColours;
  else root.dataset.trendColours = name;
  store("trend-colours", name === DEFAULT ? undefined : name);
  root.dispatchEvent(new Event("themechange"));
}
