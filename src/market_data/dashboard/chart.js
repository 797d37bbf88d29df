/** Candlestick and volume chart: TradingView's lightweight-charts with the theme's colours and keyboard control. */

import {
  CandlestickSeries,
  createChart,
  CrosshairMode,
  HistogramSeries,
} from "../lightweight-charts.standalone.production.mjs";
import { bucketText, priceText, updateDecimals, volumeText } from "./formats.js";
import { colours, onThemeChange } from "./theme.js";

/** Empty bars between the newest candle and the price scale. */
const RIGHT_MARGIN_BARS = 6;
const BAR_SPACING_PX = 8;
const MIN_BAR_SPACING_PX = 0.5;
const MAX_BAR_SPACING_PX = 60;
/** Older candles are loaded once fewer bars than this remain left of the visible range. */
const PREFETCH_BARS = 80;
const COLOURS = [
  ...["up", "down", "volume-up", "volume-down", "label-up", "label-down"],
  ...["panel", "grid", "muted", "line", "crosshair", "label"],
];

/** @typedef {import("./candles.js").Bar} Bar */

export class Chart {
  #element;
  #callbacks;
  #chart;
  #prices;
  #volumes;
  /** @type {import("./candles.js").Candles | null} */
  #candles = null;
  /** @type {Record<string, string>} */
  #colours = {};
  /** @type {number | null} Time of the candle that the keyboard has selected. */
  #cursor = null;

  /**
   * @param {HTMLElement} element
   * @param {object} callbacks
   * @param {() => void} callbacks.onNearOldest Called when the visible range comes close to the oldest candle.
   * @param {(bar: Bar | undefined, byKeyboard: boolean) => void} callbacks.onCrosshair Undefined if there is no crosshair.
   * @param {(away: boolean) => void} callbacks.onScroll True if the newest candle is not visible.
   */
  constructor(element, callbacks) {
    this.#element = element;
    this.#callbacks = callbacks;
    this.#chart = createChart(element, {
      autoSize: true,
      // The CSP blocks the style sheet of the library's logo, so the footer has the attribution link.
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      localization: { locale: "en-GB", timeFormatter: (time) => this.#timeText(time) },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: {
        rightOffset: RIGHT_MARGIN_BARS,
        barSpacing: BAR_SPACING_PX,
        minBarSpacing: MIN_BAR_SPACING_PX,
        timeVisible: true,
        secondsVisible: false,
      },
      rightPriceScale: { borderVisible: false, minimumWidth: 68 },
    });
    this.#prices = this.#chart.addSeries(CandlestickSeries, {
      priceFormat: { type: "custom", formatter: (price) => priceText(this.#candles?.symbol ?? "", price), minMove: 0.01 },
    });
    this.#prices.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.06 } });
    this.#volumes = this.#chart.addSeries(
      HistogramSeries,
      {
        priceFormat: { type: "custom", formatter: volumeText, minMove: 0.01 },
        priceLineVisible: false,
        lastValueVisible: false,
      },
      1,
    );
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 0.2, bottom: 0 } });
    const [pricePane, volumePane] = this.#chart.panes();
    pricePane.setStretchFactor(4);
    volumePane.setStretchFactor(1);
    this.#chart.chartElement().setAttribute("aria-hidden", "true");
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.#onVisibleRangeChange(range));
    this.#chart.subscribeCrosshairMove((event) => this.#onCrosshairMove(event));
    element.addEventListener("keydown", (event) => this.#onKeydown(event));
    element.addEventListener("blur", () => this.#clearCrosshair());
    element.addEventListener("pointermove", () => (this.#cursor = null));
    onThemeChange(() => this.#applyTheme());
  }

  /** Empty the chart and bind it to other candles. @param {import("./candles.js").Candles} candles */
  clear(candles) {
    this.#candles = candles;
    this.#clearCrosshair();
    this.#prices.setData([]);
    this.#volumes.setData([]);
    this.#chart.timeScale().applyOptions({ timeVisible: candles.interval.seconds < 86400 });
    this.#element.setAttribute("aria-label", `${candles.symbol}, candles of ${candles.interval.title}, times in UTC`);
    this.#exposeState();
  }

  /** Draw all loaded candles; scroll to the newest one unless `keepRange` is set. */
  show({ keepRange = false } = {}) {
    const { bars, symbol } = /** @type {import("./candles.js").Candles} */ (this.#candles);
    const decimals = updateDecimals(symbol, ...bars.slice(-200).flatMap((bar) => [bar.open, bar.high, bar.low, bar.close]));
    this.#prices.applyOptions({ priceFormat: { minMove: 10 ** -decimals } });
    this.#prices.setData(bars);
    this.#volumes.setData(bars.map((bar) => this.#volumeBar(bar)));
    this.#updatePriceLabel();
    if (!keepRange) this.showLatest();
    this.#exposeState();
  }

  /** @param {Bar} bar @param {boolean} earlier True if it is not the last bar. */
  update(bar, earlier) {
    this.#prices.update(bar, earlier);
    if (!earlier) this.#updatePriceLabel();
    this.#volumes.update(this.#volumeBar(bar), earlier);
    this.#exposeState();
  }

  /** Scroll to the newest candle and reset the zoom. */
  showLatest() {
    const scale = this.#chart.timeScale();
    scale.applyOptions({ barSpacing: BAR_SPACING_PX });
    scale.scrollToPosition(RIGHT_MARGIN_BARS, false);
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
  }

  /** Publish the state as data attributes, because tests can't read the canvas. */
  #exposeState() {
    const bars = this.#candles?.bars ?? [];
    Object.assign(this.#element.dataset, {
      symbol: this.#candles?.symbol ?? "",
      interval: this.#candles?.interval.name ?? "",
      candles: String(bars.length),
      first: String(bars[0]?.time ?? ""),
      last: String(bars.at(-1)?.time ?? ""),
    });
  }

  /** Colour the price label: its white text needs a darker background than the colour of the candle. */
  #updatePriceLabel() {
    const last = this.#candles?.bars.at(-1);
    if (!last) return;
    this.#prices.applyOptions({ priceLineColor: this.#colours[last.close >= last.open ? "label-up" : "label-down"] });
  }

  /** @param {Bar} bar */
  #volumeBar({ time, volume, open, close }) {
    return { time, value: volume, color: this.#colours[close >= open ? "volume-up" : "volume-down"] };
  }

  #applyTheme() {
    this.#colours = colours(...COLOURS);
    const { up, down, panel, grid, muted, line, crosshair, label } = this.#colours;
    const cross = { color: crosshair, labelBackgroundColor: label };
    this.#chart.applyOptions({
      layout: { background: { color: panel }, textColor: muted, panes: { separatorColor: line, separatorHoverColor: grid } },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { vertLine: cross, horzLine: cross },
      timeScale: { borderColor: line },
    });
    // Rising candles are hollow, falling ones filled: the direction shows without colours.
    this.#prices.applyOptions({
      upColor: panel,
      downColor: down,
      borderUpColor: up,
      borderDownColor: down,
      wickUpColor: up,
      wickDownColor: down,
    });
    this.#volumes.setData(this.#candles?.bars.map((bar) => this.#volumeBar(bar)) ?? []);
    this.#updatePriceLabel();
  }

  /** @param {number} time */
  #timeText(time) {
    return bucketText(time, this.#candles?.interval.seconds ?? 60);
  }

  /** @param {{from: number, to: number} | null} range Indexes of bars. */
  #onVisibleRangeChange(range) {
    const count = this.#candles?.bars.length ?? 0;
    if (!range || !count) return;
    const away = range.to < count - 1;
    // The library labels the last visible candle, whose close is not the current price.
    if (this.#prices.options().lastValueVisible === away) this.#prices.applyOptions({ lastValueVisible: !away });
    this.#callbacks.onScroll(away);
    if (range.from < PREFETCH_BARS) this.#callbacks.onNearOldest();
  }

  /** @param {any} event */
  #onCrosshairMove(event) {
    if (!this.#candles || this.#cursor !== null) return; // #moveCrosshair() has reported the candle already
    const { bars } = this.#candles;
    this.#callbacks.onCrosshair(event.time === undefined ? undefined : bars[this.#candles.indexAt(event.time)], false);
  }

  #clearCrosshair() {
    this.#cursor = null;
    this.#chart.clearCrosshairPosition();
    this.#callbacks.onCrosshair(undefined, false);
  }

  /** @param {KeyboardEvent} event */
  #onKeydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowLeft: () => this.#moveCrosshair(-step),
      ArrowRight: () => this.#moveCrosshair(step),
      PageUp: () => this.#moveCrosshair(-50),
      PageDown: () => this.#moveCrosshair(50),
      Home: () => this.#moveCrosshair(-Infinity),
      End: () => this.#moveCrosshair(Infinity),
      "+": () => this.#zoom(1.25),
      "=": () => this.#zoom(1.25),
      "-": () => this.#zoom(0.8),
      Escape: () => this.#clearCrosshair(),
    };
    const action = actions[/** @type {keyof typeof actions} */ (event.key)];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** @param {number} by Number of candles, negative to the left. */
  #moveCrosshair(by) {
    const candles = this.#candles;
    if (!candles?.bars.length) return;
    const last = candles.bars.length - 1;
    const from = this.#cursor === null ? last + (by < 0 ? 1 : 0) : candles.indexAt(this.#cursor);
    const index = Math.max(0, Math.min(last, from + by));
    const bar = candles.bars[index];
    this.#cursor = bar.time;
    this.#scrollIntoView(index, last);
    this.#chart.setCrosshairPosition(bar.close, bar.time, this.#prices);
    this.#callbacks.onCrosshair(bar, true);
  }

  /** @param {number} index Of the candle. @param {number} last Index of the last candle. */
  #scrollIntoView(index, last) {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const width = range.to - range.from;
    if (index < range.from + 1) scale.scrollToPosition(index - 2 + width - last, false);
    else if (index > range.to - 1) scale.scrollToPosition(Math.min(index + 2 - last, RIGHT_MARGIN_BARS), false);
  }

  /** @param {number} factor */
  #zoom(factor) {
    const scale = this.#chart.timeScale();
    const spacing = scale.options().barSpacing * factor;
    scale.applyOptions({ barSpacing: Math.max(MIN_BAR_SPACING_PX, Math.min(MAX_BAR_SPACING_PX, spacing)) });
  }
}
