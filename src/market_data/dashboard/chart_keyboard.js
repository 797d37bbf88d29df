/** Keyboard control of the chart: moves the crosshair from candle to candle, chooses one, and zooms. */

/** @typedef {import("./candles.js").Bar} Bar @typedef {import("./candles.js").Candles} Candles */

const ZOOM_FACTOR = 1.25;

export class ChartKeyboard {
  #viewport;
  #onMove;
  #onChoose;
  /** @type {Candles | null} */
  #candles = null;
  /** @type {number | null} Time of the candle that the keyboard has selected. */
  #cursor = null;

  /**
   * @param {HTMLElement} element
   * @param {import("./chart_viewport.js").ChartViewport} viewport
   * @param {(bar: Bar | undefined) => void} onMove Called with the selected candle, undefined if none is any more.
   * @param {(time: number) => void} onChoose Called with the time of the selected candle after Enter.
   */
  constructor(element, viewport, onMove, onChoose) {
    this.#viewport = viewport;
    this.#onMove = onMove;
    this.#onChoose = onChoose;
    element.addEventListener("keydown", (event) => this.#onKeydown(event));
    element.addEventListener("blur", () => this.clear());
    element.addEventListener("pointermove", () => (this.#cursor = null));
  }

  /** @returns {boolean} True if the keyboard has placed the crosshair. */
  get active() {
    return this.#cursor !== null;
  }

  /** @param {Candles} candles */
  bind(candles) {
    this.#candles = candles;
    this.clear();
  }

  clear() {
    this.#cursor = null;
    this.#onMove(undefined);
  }

  /** @param {KeyboardEvent} event */
  #onKeydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowLeft: () => this.#move(-step),
      ArrowRight: () => this.#move(step),
      PageUp: () => this.#move(-50),
      PageDown: () => this.#move(50),
      Home: () => this.#move(-Infinity),
      End: () => this.#move(Infinity),
      "+": () => this.#viewport.zoom(ZOOM_FACTOR),
      "=": () => this.#viewport.zoom(ZOOM_FACTOR),
      "-": () => this.#viewport.zoom(1 / ZOOM_FACTOR),
      Enter: () => this.#choose(),
      Escape: () => this.clear(),
    };
    const action = actions[/** @type {keyof typeof actions} */ (event.key)];
    if (!action) return;
    event.preventDefault();
    action();
  }

  #choose() {
    const time = this.#cursor ?? this.#candles?.bars.at(-1)?.time;
    if (time !== undefined) this.#onChoose(time);
  }

  /** @param {number} by Number of candles, negative to the left. */
  #move(by) {
    const candles = this.#candles;
    if (!candles?.bars.length) return;
    const last = candles.bars.length - 1;
    const from = this.#cursor === null ? last + (by < 0 ? 1 : 0) : candles.indexAt(this.#cursor);
    const bar = candles.bars[Math.max(0, Math.min(last, from + by))];
    this.#cursor = bar.time;
    this.#viewport.scrollIntoView(bar.time);
    this.#onMove(bar);
  }
}
