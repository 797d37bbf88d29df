/** Prints the chart: browsers print no canvas that is drawn again for another size, so a picture takes its place. */

import { byId, setText } from "./dom.js";
import { description } from "./chart_export.js";

/** @param {import("./chart.js").Chart} chart */
export function preparePrinting(chart) {
  const picture = byId("chart-picture");
  const printing = matchMedia("print");
  const prepare = () => {
    setText(byId("chart-caption"), description(chart));
    picture.replaceChildren(chart.screenshot("light"));
  };
  addEventListener("beforeprint", prepare);
  printing.addEventListener("change", () => (printing.matches ? prepare() : picture.replaceChildren()));
  addEventListener("afterprint", () => picture.replaceChildren());
}
