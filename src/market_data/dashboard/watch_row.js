/** A row of the watch list. */

import { setText, showPrice } from "./dom.js";
import { changeText, direction, priceText, shownRatio } from "./formats.js";
import { createSparkline, drawSparkline } from "./sparklines.js";

/** @param {import("./watch_list.js").Listing} listing */
export function createRow({ symbol, name, type, description }) {
  const row = document.createElement("div");
  row.id = `row-${encodeURIComponent(symbol)}`; // an id has no spaces: aria-activedescendant would name several
  row.className = "row";
  row.dataset.symbol = symbol;
  row.setAttribute("role", "row");
  const [title, trend, price, change] = ["title", "trend", "last", "change"].map((className) => {
    const cell = document.createElement("span");
    cell.className = className;
    cell.setAttribute("role", "gridcell");
    row.append(cell);
    return cell;
  });
  const symbolLabel = document.createElement("b");
  symbolLabel.textContent = symbolLabel.title = symbol;
  const nameLabel = document.createElement("small");
  nameLabel.textContent = type === "other" ? name : `${name} · ${type}`;
  nameLabel.title = description ? `${name}: ${description}` : name;
  title.append(symbolLabel, " ", nameLabel);
  trend.append(createSparkline());
  price.textContent = change.textContent = "—";
  return row;
}

/**
 * @param {HTMLElement} row
 * @param {object} content
 * @param {string} content.symbol
 * @param {number | undefined} content.price
 * @param {number} content.move Difference from the price that the row shows.
 * @param {number | null} content.ratio Change in 24 hours; null if unknown.
 * @param {import("./sparklines.js").Line | undefined} content.line
 * @param {boolean} content.selected
 * @param {boolean} content.stale
 */
export function updateRow(row, { symbol, price, move, ratio, line, selected, stale }) {
  const [, trendCell, priceCell, changeCell] = /** @type {HTMLElement[]} */ ([...row.children]);
  row.setAttribute("aria-selected", String(selected));
  row.classList.toggle("stale", stale);
  showPrice(priceCell, priceText(symbol, price), move);
  setText(changeCell, changeText(ratio));
  if (ratio === null) delete row.dataset.direction;
  else row.dataset.direction = direction(shownRatio(ratio));
  drawSparkline(/** @type {SVGElement} */ (trendCell.firstElementChild), line, price);
}
