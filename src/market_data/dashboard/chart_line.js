/**
 * Line of values that are prices, such as those of a moving average. In percent, the library relates each series to its own
 * first visible value, which is its current value: that of this one is the close, so that it relates to the same price as the
 * candles.
 */

import { LineStyle } from "./lightweight-charts.standalone.production.mjs";

/** Lengths of dashes and spaces in line widths, as the library draws its own lines. @type {Record<number, number>} */
const DASHES = { [LineStyle.Dotted]: 1, [LineStyle.Dashed]: 2, [LineStyle.LargeDashed]: 6 };

/** @typedef {{time: number, close: number, value?: number}} PricePoint Without a value where there is no line. */

/** A custom series of the library; it is its own renderer. */
export class PriceLine {
  /** @type {any} */
  #data = null;
  /** @type {any} */
  #options = null;

  defaultOptions() {
    return { lineStyle: LineStyle.Solid, lineWidth: 2 };
  }

  /** @param {PricePoint} point @returns {number[]} The last one is the current value. */
  priceValueBuilder({ value, close }) {
    return value === undefined ? [close] : [value, close];
  }

  /** @param {Partial<PricePoint>} point */
  isWhitespace({ close }) {
    return close === undefined;
  }

  /** @param {any} data @param {any} options */
  update(data, options) {
    this.#data = data;
    this.#options = options;
  }

  renderer() {
    return this;
  }

  /** @param {any} target Of the library. @param {(price: number) => number | null} toCoordinate */
  draw(target, toCoordinate) {
    const { bars, visibleRange } = this.#data;
    if (!visibleRange) return;
    const { color, lineStyle, lineWidth } = this.#options;
    target.useBitmapCoordinateSpace((/** @type {any} */ { context, horizontalPixelRatio, verticalPixelRatio }) => {
      const width = lineWidth * verticalPixelRatio;
      const dash = DASHES[lineStyle];
      Object.assign(context, { strokeStyle: color, lineWidth: width, lineJoin: "round" });
      context.setLineDash(dash ? [dash * width, dash * width] : []);
      context.beginPath();
      let isDrawn = false;
      // From the last candle before the edge to the first one behind it.
      for (const { x, originalData } of bars.slice(Math.max(0, visibleRange.from - 1), visibleRange.to + 1)) {
        const y = originalData.value === undefined ? null : toCoordinate(originalData.value);
        if (y !== null) context[isDrawn ? "lineTo" : "moveTo"](x * horizontalPixelRatio, y * verticalPixelRatio);
        isDrawn = y !== null;
      }
      context.stroke();
    });
  }
}
