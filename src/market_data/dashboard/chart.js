/** Candles and volume on a canvas: TradingView's lightweight-charts, with our colours and keys. */

import {
  CandlestickSeries,
  createChart,
  CrosshairMode,
  HistogramSeries,
} from "/assets/lightweight-charts.standalone.production.mjs";
import { bucketText, learn, priceText, volumeText } from "./formats.js";
import { colours, onTheme } from "./theme.js";

/** Empty bars between the newest candle and the price scale. */
const MARGIN = 6;
const SPACING = 8;
const COLOURS = [
  ...["up", "down", "volume-up", "volume-down", "label-up", "label-down"],
  ...["panel", "grid", "muted", "line", "crosshair", "label"],
];
/** Bars left of the view below which older ones are loaded. */
const NEAR = 80;

/** @typedef {import("./candles.js").Bar} Bar */

export class Chart {
  #element;
  #tell;
  #chart;
  #prices;
  #volumes;
  /** @type {import("./candles.js").Candles | null} */
  #candles = null;
  /** @type {Record<string, string>} */
  #colours = {};
  /** @type {number | null} Time of the candle that the keyboard is at. */
  #cursor = null;

  /**
   * @param {HTMLElement} element
   * @param {object} tell
   * @param {() => void} tell.nearStart The view comes near the oldest candle.
   * @param {(bar: Bar | undefined, byKeyboard: boolean) => void} tell.pointed None where the crosshair is gone.
   * @param {(away: boolean) => void} tell.scrolled Whether the newest candle is out of view.
   */
  constructor(element, tell) {
    this.#element = element;
    this.#tell = tell;
    this.#chart = createChart(element, {
      autoSize: true,
      // It brings a style sheet of its own, which the content policy stops: the page's footer has the link.
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      localization: { locale: "en-GB", timeFormatter: (time) => this.#timeText(time) },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { rightOffset: MARGIN, barSpacing: SPACING, minBarSpacing: 0.5, timeVisible: true, secondsVisible: false },
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
    const [above, below] = this.#chart.panes();
    above.setStretchFactor(4);
    below.setStretchFactor(1);
    this.#chart.chartElement().setAttribute("aria-hidden", "true");
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.#moved(range));
    this.#chart.subscribeCrosshairMove((event) => this.#pointed(event));
    element.addEventListener("keydown", (event) => this.#press(event));
    element.addEventListener("blur", () => this.#unpoint());
    element.addEventListener("pointermove", () => (this.#cursor = null));
    onTheme(() => this.#paint());
  }

  /** @param {import("./candles.js").Candles} candles What is shown from now on; nothing yet. */
  clear(candles) {
    this.#candles = candles;
    this.#unpoint();
    this.#prices.setData([]);
    this.#volumes.setData([]);
    this.#chart.timeScale().applyOptions({ timeVisible: candles.interval.seconds < 86400 });
    this.#element.setAttribute("aria-label", `${candles.symbol}, candles of ${candles.interval.words}, times in UTC`);
    this.#note();
  }

  /** Show all candles that there are: the newest ones, or with `keep` what is in view already. */
  show({ keep = false } = {}) {
    const { bars, symbol } = /** @type {import("./candles.js").Candles} */ (this.#candles);
    const places = learn(symbol, ...bars.slice(-200).flatMap((bar) => [bar.open, bar.high, bar.low, bar.close]));
    this.#prices.applyOptions({ priceFormat: { minMove: 10 ** -places } });
    this.#prices.setData(bars);
    this.#volumes.setData(bars.map((bar) => this.#volume(bar)));
    this.#label();
    if (!keep) this.showLatest();
    this.#note();
  }

  /** @param {Bar} bar @param {boolean} inside Whether later ones are shown already. */
  update(bar, inside) {
    this.#prices.update(bar, inside);
    if (!inside) this.#label();
    this.#volumes.update(this.#volume(bar), inside);
    this.#note();
  }

  /** Scroll to the newest candle. */
  showLatest() {
    const scale = this.#chart.timeScale();
    scale.applyOptions({ barSpacing: SPACING });
    scale.scrollToPosition(MARGIN, false);
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
  }

  /** What the canvas shows, for tests and scripts. */
  #note() {
    const bars = this.#candles?.bars ?? [];
    Object.assign(this.#element.dataset, {
      symbol: this.#candles?.symbol ?? "",
      interval: this.#candles?.interval.name ?? "",
      candles: String(bars.length),
      first: String(bars[0]?.time ?? ""),
      last: String(bars.at(-1)?.time ?? ""),
    });
  }

  /** Colour the label of the newest price: its white text needs a darker ground than the canvas gives the candle. */
  #label() {
    const last = this.#candles?.bars.at(-1);
    if (!last) return;
    this.#prices.applyOptions({ priceLineColor: this.#colours[last.close >= last.open ? "label-up" : "label-down"] });
  }

  /** @param {Bar} bar */
  #volume({ time, volume, open, close }) {
    return { time, value: volume, color: this.#colours[close >= open ? "volume-up" : "volume-down"] };
  }

  #paint() {
    this.#colours = colours(...COLOURS);
    const { up, down, panel, grid, muted, line, crosshair, label } = this.#colours;
    const cross = { color: crosshair, labelBackgroundColor: label };
    this.#chart.applyOptions({
      layout: { background: { color: panel }, textColor: muted, panes: { separatorColor: line, separatorHoverColor: grid } },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      crosshair: { vertLine: cross, horzLine: cross },
      timeScale: { borderColor: line },
    });
    // Up is hollow and down is full: it can be told without the colours.
    this.#prices.applyOptions({
      upColor: panel,
      downColor: down,
      borderUpColor: up,
      borderDownColor: down,
      wickUpColor: up,
      wickDownColor: down,
    });
    this.#volumes.setData(this.#candles?.bars.map((bar) => this.#volume(bar)) ?? []);
    this.#label();
  }

  /** @param {number} time */
  #timeText(time) {
    return bucketText(time, this.#candles?.interval.seconds ?? 60);
  }

  /** @param {{from: number, to: number} | null} range In bars; the oldest one is 0. */
  #moved(range) {
    const count = this.#candles?.bars.length ?? 0;
    if (!range || !count) return;
    const away = range.to < count - 1;
    // The label would follow the last candle in view, and pass an old close off as the price.
    if (this.#prices.options().lastValueVisible === away) this.#prices.applyOptions({ lastValueVisible: !away });
    this.#tell.scrolled(away);
    if (range.from < NEAR) this.#tell.nearStart();
  }

  #pointed(/** @type {any} */ event) {
    const candles = this.#candles;
    if (!candles) return;
    // What the keyboard points at has been told.
    if (this.#cursor !== null) return;
    this.#tell.pointed(event.time === undefined ? undefined : candles.bars[candles.index(event.time)], false);
  }

  #unpoint() {
    this.#cursor = null;
    this.#chart.clearCrosshairPosition();
    this.#tell.pointed(undefined, false);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const acts = {
      ArrowLeft: () => this.#step(-step),
      ArrowRight: () => this.#step(step),
      PageUp: () => this.#step(-50),
      PageDown: () => this.#step(50),
      Home: () => this.#step(-Infinity),
      End: () => this.#step(Infinity),
      "+": () => this.#zoom(1.25),
      "=": () => this.#zoom(1.25),
      "-": () => this.#zoom(0.8),
      Escape: () => this.#unpoint(),
    };
    const act = acts[/** @type {keyof typeof acts} */ (event.key)];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @param {number} by Candles to move the crosshair by. */
  #step(by) {
    const candles = this.#candles;
    if (!candles?.bars.length) return;
    const end = candles.bars.length - 1;
    const from = this.#cursor === null ? end + (by < 0 ? 1 : 0) : candles.index(this.#cursor);
    const index = Math.max(0, Math.min(end, from + by));
    const bar = candles.bars[index];
    this.#cursor = bar.time;
    this.#reveal(index, end);
    this.#chart.setCrosshairPosition(bar.close, bar.time, this.#prices);
    this.#tell.pointed(bar, true);
  }

  /** Scroll as far as it takes for a candle to be in view. @param {number} index @param {number} end */
  #reveal(index, end) {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const width = range.to - range.from;
    if (index < range.from + 1) scale.scrollToPosition(index - 2 + width - end, false);
    else if (index > range.to - 1) scale.scrollToPosition(Math.min(index + 2 - end, MARGIN), false);
  }

  /** @param {number} by */
  #zoom(by) {
    const scale = this.#chart.timeScale();
    scale.applyOptions({ barSpacing: Math.max(0.5, Math.min(60, scale.options().barSpacing * by)) });
  }
}
