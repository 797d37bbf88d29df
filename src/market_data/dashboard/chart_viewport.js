/** Visible range of the chart: the newest candles, a range of times, zoom; scrolls to a candle. */

/** Space between the newest candle and the price scale. */
const RIGHT_MARGIN_PX = 48;
const BAR_SPACING_PX = 8;
const MIN_BAR_SPACING_PX = 0.1;
const MAX_BAR_SPACING_PX = 60;
/** So few candles fill the pane, each at most a third of it. */
const MIN_SLOTS = 3;
/** Older candles are loaded once fewer bars than this remain left of the visible range. */
const PREFETCH_BARS = 80;
const WHEEL_STEP_PX = 100;
const WHEEL_LINE_PX = 32;

/** @typedef {import("./candles.js").Candles} Candles */

export class ChartViewport {
  #chart;
  #scale;
  #callbacks;
  /** @type {Candles | null} */
  #candles = null;
  /** @type {{from: number, to: number | null} | null} Times to show once their candles are loaded. */
  #wanted = null;
  /** @type {{from: number, to: number} | null} The library shows it with the next frame, and returns the one before until then. */
  #pendingRange = null;
  /** True until the user scrolls or zooms: few candles are spread again when another one is added. */
  #spread = false;

  /**
   * @param {any} chart Of the library.
   * @param {HTMLElement} element
   * @param {object} callbacks
   * @param {(until: number | undefined) => void} callbacks.onNeedOlder Time up to which older candles are needed; undefined
   *   for any.
   * @param {(away: boolean) => void} callbacks.onScroll True if the newest candle is not visible.
   * @param {() => void} callbacks.onUserChange Called when the user scrolls or zooms.
   */
  constructor(chart, element, callbacks) {
    this.#chart = chart;
    this.#scale = chart.timeScale();
    this.#callbacks = callbacks;
    chart.applyOptions({
      // Vertical swipes scroll the page. The wheel is handled here, because the library moves the right edge.
      handleScroll: { vertTouchDrag: false },
      handleScale: { mouseWheel: false },
      timeScale: { barSpacing: BAR_SPACING_PX, minBarSpacing: MIN_BAR_SPACING_PX, rightBarStaysOnScroll: true },
    });
    this.#scale.subscribeVisibleLogicalRangeChange(() => this.#onChange());
    // Also when the labels of the price scale become wider.
    this.#scale.subscribeSizeChange(() => this.onAppend());
    element.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    element.addEventListener("pointerdown", () => this.#onPointerDown(), { capture: true });
  }

  /** @param {Candles} candles */
  bind(candles) {
    this.#candles = candles;
    this.#wanted = null;
  }

  /** Show the newest candles in the default size. */
  showLatest() {
    this.#wanted = null;
    this.#spread = true;
    this.#fit(this.defaultCount);
  }

  /** Show a range as soon as its candles are loaded. @param {number} from @param {number | null} to Null for the newest. */
  showRange(from, to) {
    this.#wanted = { from, to };
    this.#spread = false;
    this.#applyWanted();
  }

  /** Keep showing what was visible before the candles were drawn. @param {{from: number, to: number | null} | null} times */
  keep(times) {
    // A reload replaces all candles by the newest ones.
    if (times && !this.#wanted && (this.#candles?.bars[0]?.time ?? 0) > times.from) this.#wanted = times;
    this.#applyWanted();
    this.onAppend();
  }

  /** Continue `showRange()` with the candles loaded since. */
  #applyWanted() {
    if (!this.#wanted || !this.#candles?.bars.length) return;
    const { from, to } = this.#wanted;
    const { bars, complete } = this.#candles;
    if (bars[0].time > from && !complete) return this.#callbacks.onNeedOlder(from);
    this.#wanted = null;
    const first = this.#indexOf(from);
    const last = this.#lastIndex();
    // Before the first candle, show as many candles as asked for.
    const end = to === null ? last : this.#indexOf(to + Math.max(0, bars[0].time - from));
    if (end < last) this.#setRange({ from: first, to: Math.max(end, first + 2) });
    else this.#fit(last - first + 1);
  }

  /** Keep few candles spread after some were added, or the size has changed. */
  onAppend() {
    if (this.#spread && this.#lastIndex() * BAR_SPACING_PX < this.#scale.width()) this.showLatest();
  }

  /** @returns {{from: number, to: number} | null} Times of the first and last visible candle. */
  get visibleTimes() {
    return this.#scale.getVisibleRange();
  }

  /** @returns {{from: number, to: number | null} | null} Null for the default range; no end up to the newest candle. */
  get chosenTimes() {
    const times = this.visibleTimes;
    if (this.#spread || this.#wanted || !times || !this.#candles?.bars.length) return null;
    return { from: times.from, to: this.#isAway() ? times.to : null };
  }

  /** @returns {number} Candles of the default size that fill the width. */
  get defaultCount() {
    return Math.max(MIN_SLOTS, Math.round((this.#scale.width() - RIGHT_MARGIN_PX) / BAR_SPACING_PX));
  }

  /** @returns {number} Candles that fit without touching each other. */
  get capacity() {
    return Math.max(60, Math.floor(this.#scale.width() / 2));
  }

  /** Keeps the right edge of the pane. @param {number} factor */
  zoom(factor) {
    const range = this.#pendingRange ?? this.#scale.getVisibleLogicalRange();
    if (!range) return;
    const width = this.#scale.width();
    const spacing = width / (range.to - range.from + 1);
    const newSpacing = Math.max(MIN_BAR_SPACING_PX, Math.min(Math.max(MAX_BAR_SPACING_PX, spacing), spacing * factor));
    const offset = range.to - this.#lastIndex();
    // The space after the newest candle keeps its width in pixels; in the past, the last visible candle keeps its place.
    const to = offset > 0 ? range.to - offset + (offset * spacing) / newSpacing : range.to;
    this.#setRange({ from: to - width / newSpacing + 1, to });
    this.#onUserChange();
  }

  /** @param {number} time Of a candle. */
  scrollIntoView(time) {
    const range = this.#scale.getVisibleLogicalRange();
    if (!range) return;
    const [index, last, width] = [this.#indexOf(time), this.#lastIndex(), range.to - range.from];
    if (index >= range.from && index <= range.to) return;
    if (index < range.from) this.#scale.scrollToPosition(index - 2 + width - last, false);
    else this.#scale.scrollToPosition(index === last ? this.#marginBars(width) : index + 2 - last, false);
    this.#onUserChange();
  }

  /** @param {number} time @returns {number} */
  #indexOf(time) {
    return this.#scale.timeToIndex(time, true) ?? 0;
  }

  #lastIndex() {
    return this.#indexOf(this.#candles?.bars.at(-1)?.time ?? 0);
  }

  /** @param {number} bars Visible ones. */
  #marginBars(bars) {
    return (RIGHT_MARGIN_PX * (bars + 1)) / this.#scale.width();
  }

  /** Show the last candles up to the margin. @param {number} count */
  #fit(count) {
    const width = this.#scale.width() - RIGHT_MARGIN_PX;
    if (width <= 0) return;
    const last = this.#lastIndex();
    const slots = Math.max(MIN_SLOTS, Math.min(count, last + 1));
    const spacing = Math.max(MIN_BAR_SPACING_PX, width / slots);
    const to = last + RIGHT_MARGIN_PX / spacing;
    this.#setRange({ from: to - this.#scale.width() / spacing + 1, to });
  }

  /** @param {{from: number, to: number}} range */
  #setRange(range) {
    this.#scale.setVisibleLogicalRange(range);
    this.#pendingRange = range;
    requestAnimationFrame(() => {
      if (this.#pendingRange === range) this.#pendingRange = null;
    });
  }

  #isAway() {
    const range = this.#scale.getVisibleLogicalRange();
    return range !== null && range.to < this.#lastIndex();
  }

  #onChange() {
    const range = this.#scale.getVisibleLogicalRange();
    if (!range || !this.#candles?.bars.length) return;
    this.#callbacks.onScroll(this.#isAway());
    if (range.from < this.#indexOf(this.#candles.bars[0].time) + PREFETCH_BARS) this.#callbacks.onNeedOlder(undefined);
  }

  /** Report a change of the user once the pointer is up, if it has scrolled or zoomed. */
  #onPointerDown() {
    const before = this.#scale.getVisibleLogicalRange();
    const ended = new AbortController();
    for (const name of ["pointerup", "pointercancel", "touchend"])
      addEventListener(
        name,
        () => {
          ended.abort();
          const after = this.#scale.getVisibleLogicalRange();
          if (after?.from !== before?.from || after?.to !== before?.to) this.#onUserChange();
        },
        { signal: ended.signal },
      );
  }

  #onUserChange() {
    this.#spread = false;
    this.#wanted = null;
    this.#callbacks.onUserChange();
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    if (!event.deltaY || Math.abs(event.deltaX) > Math.abs(event.deltaY)) return; // the library scrolls
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_LINE_PX;
    this.zoom(1 - Math.max(-1, Math.min(1, pixels / WHEEL_STEP_PX)) / 10);
  }
}
