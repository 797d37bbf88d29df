/** Shades the candles of the pre-market and the post-market. */

/** Strip on top of the pane, which tells the two without their colours: solid in the pre-market, dashed in the post-market. */
const STRIP_PX = 3;
const DASH_PX = 4;

/** A primitive of the library, attached to the series of a pane; it is its own view and renderer. */
export class SessionShading {
  /** @type {Record<string, string>} `pre`, `post` and `session-strip`. */
  colours = {};
  #scale;
  #candles;

  /** @param {any} scale Time scale of the library. @param {() => import("./candles.js").Candles | null} candles Those drawn. */
  constructor(scale, candles) {
    this.#scale = scale;
    this.#candles = candles;
  }

  paneViews() {
    return [this];
  }

  renderer() {
    return this;
  }

  /** Below the grid and the candles. */
  zOrder() {
    return "bottom";
  }

  /** @returns {{part: string, from: number, to: number}[]} Visible shaded parts: indexes of their first and last column. */
  get columns() {
    const [times, candles] = [this.#scale.getVisibleRange(), this.#candles()];
    const last = candles?.bars.at(-1)?.time;
    if (!times || !candles?.hours || last === undefined) return [];
    /** Index of the first column at or after a time. @param {number} time */
    const indexOf = (time) => this.#scale.timeToIndex(time, true) + (time > last ? 1 : 0);
    const columns = [];
    for (const { part, start, end } of candles.hours.between(times.from, times.to + 1)) {
      if (part === "regular") continue;
      const [from, to] = [indexOf(start), indexOf(end) - 1];
      if (from <= to) columns.push({ part, from, to });
    }
    return columns;
  }

  draw() {}

  /** @param {any} target Of the library. */
  drawBackground(target) {
    const columns = this.columns;
    if (!columns.length) return;
    const width = this.#scale.options().barSpacing;
    target.useBitmapCoordinateSpace((/** @type {any} */ { context, bitmapSize, horizontalPixelRatio: ratio }) => {
      for (const { part, from, to } of columns) {
        const left = Math.round((this.#scale.logicalToCoordinate(from) - width / 2) * ratio);
        const right = Math.round((this.#scale.logicalToCoordinate(to) + width / 2) * ratio);
        context.fillStyle = this.colours[part];
        context.fillRect(left, 0, right - left, bitmapSize.height);
        context.fillStyle = this.colours["session-strip"];
        const dash = part === "pre" ? right - left : DASH_PX * ratio;
        for (let x = left; x < right; x += 2 * dash) context.fillRect(x, 0, Math.min(dash, right - x), STRIP_PX * ratio);
      }
    });
  }
}
