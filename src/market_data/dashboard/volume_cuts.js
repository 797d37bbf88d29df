/** Marks volumes that the top of the pane cuts off with a gap in their bars, because their height says less than they were. */

const GAP_TOP_PX = 6;
const GAP_PX = 3;

/** A primitive of the library, attached to the series of the volumes; it is its own view and renderer. */
export class VolumeCuts {
  /** Of the gap: the background. */
  colour = "";
  #scale;
  #series;
  #visibleBars;

  /**
   * @param {any} scale Time scale of the library. @param {any} series Of the library.
   * @param {() => readonly import("./candles.js").Bar[]} visibleBars
   */
  constructor(scale, series, visibleBars) {
    this.#scale = scale;
    this.#series = series;
    this.#visibleBars = visibleBars;
  }

  paneViews() {
    return [this];
  }

  renderer() {
    return this;
  }

  /** @param {any} target Of the library. */
  draw(target) {
    const top = this.#series.coordinateToPrice(0);
    if (top === null) return;
    const width = this.#scale.options().barSpacing;
    target.useBitmapCoordinateSpace((/** @type {any} */ { context, horizontalPixelRatio, verticalPixelRatio }) => {
      context.fillStyle = this.colour;
      for (const { time, volume } of this.#visibleBars()) {
        if (volume <= top) continue;
        const left = this.#scale.timeToCoordinate(time) - width / 2;
        context.fillRect(
          ...[Math.floor(left * horizontalPixelRatio), GAP_TOP_PX * verticalPixelRatio],
          ...[Math.ceil(width * horizontalPixelRatio) + 1, GAP_PX * verticalPixelRatio],
        );
      }
    });
  }
}
