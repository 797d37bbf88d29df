/** Series of prices and volumes on the chart. */

import {
  AreaSeries,
  CandlestickSeries,
  createSeriesMarkers,
  HistogramSeries,
  LineSeries,
} from "./lightweight-charts.standalone.production.mjs";
import { maxVolume, openGap, pointOf, trend, withGaps } from "./chart_points.js";
import { priceText, updateDecimals, volumeText } from "./formats.js";
import { SessionShading } from "./session_shading.js";
import { VolumeCuts } from "./volume_cuts.js";

/** @typedef {import("./candles.js").Bar} Bar @typedef {import("./candles.js").Candles} Candles */
/** @typedef {import("./chart_points.js").Style} Style */

const SERIES = { candles: CandlestickSeries, line: LineSeries, area: AreaSeries };
const [PRICE_PANE_SHARE, VOLUME_PANE_SHARE] = [4, 1];
/** The decimals of a symbol follow from this number of its newest candles. */
const CANDLES_FOR_DECIMALS = 200;
/** A click so far above or below a candle is on it. */
const CLICK_MARGIN_PX = 12;
const MARK_SIZE = 0.6;
/** Marks, which arrive after the candles, don't move these. */
const MARKS = { autoScale: false };

export class ChartSeries {
  #chart;
  #prices;
  #volumes;
  /** @type {any} Of the library: the marks of revised candles. */
  #marks;
  #volumeCuts;
  /** Of both panes. */
  #shading;
  /** @type {Style} */
  #style;
  /** @type {Record<string, string>} */
  #colours = {};
  /** @type {Candles | null} */
  #candles = null;
  /** @type {number | undefined} Time of the last candle drawn. */
  #drawnUntil;

  /** @param {any} chart Of the library. @param {Style} style @param {() => readonly Bar[]} visibleBars */
  constructor(chart, style, visibleBars) {
    this.#chart = chart;
    this.#style = style;
    this.#prices = this.#addPrices();
    this.#marks = createSeriesMarkers(this.#prices, [], MARKS);
    this.#volumes = this.#addVolumes(visibleBars);
    this.#volumeCuts = new VolumeCuts(chart.timeScale(), this.#volumes, visibleBars);
    this.#volumes.attachPrimitive(this.#volumeCuts);
    const [pricePane, volumePane] = chart.panes();
    this.#shading = new SessionShading(chart.timeScale(), () => this.#candles);
    for (const pane of [pricePane, volumePane]) pane.attachPrimitive(this.#shading);
    pricePane.setStretchFactor(PRICE_PANE_SHARE);
    volumePane.setStretchFactor(VOLUME_PANE_SHARE);
  }

  /** @returns {any[][]} Points of the prices, without those of gaps, of the volumes, and of the marks. */
  get points() {
    const hasPrice = (/** @type {any} */ point) => point.open !== undefined || point.value !== undefined;
    return [this.#prices.data().filter(hasPrice), this.#volumes.data(), this.#marks.markers()];
  }

  /** @returns {{part: string, from: number, to: number}[]} Columns of the visible pre-market and post-market. */
  get shadedColumns() {
    return this.#shading.columns;
  }

  /** Mark the revised candles. */
  showMarks() {
    const { bars, revised } = this.#candles ?? { bars: [], revised: new Set() };
    const mark = { position: "aboveBar", shape: "circle", color: this.#colours.muted, size: MARK_SIZE };
    this.#marks.setMarkers(bars.filter(({ time }) => revised.has(time)).map(({ time }) => ({ ...mark, time })));
  }

  /** @param {Style} style */
  setStyle(style) {
    if (style === this.#style) return;
    const previous = this.#prices;
    this.#style = style;
    this.#prices = this.#addPrices();
    this.#marks = createSeriesMarkers(this.#prices, [], MARKS);
    this.#chart.removeSeries(previous); // after the addition, because a pane without series disappears
    this.#prices.setSeriesOrder(0);
    this.applyColours(this.#colours);
  }

  /** @param {Record<string, string>} colours */
  applyColours(colours) {
    this.#colours = colours;
    const { up, down, panel, area } = colours;
    const options = {
      // Rising candles are hollow, falling ones filled: the direction shows without colours.
      candles: {
        ...{ upColor: panel, borderUpColor: up, wickUpColor: up },
        ...{ downColor: down, borderDownColor: down, wickDownColor: down },
      },
      line: { color: up },
      area: { lineColor: up, topColor: area, bottomColor: panel },
    };
    this.#prices.applyOptions(options[this.#style]);
    this.#volumeCuts.colour = panel;
    this.#shading.colours = colours;
    if (this.#candles) this.draw(this.#candles);
  }

  /** Draw all candles. @param {Candles} candles */
  draw(candles) {
    this.#candles = candles;
    const { bars, symbol } = candles;
    const newest = bars.slice(-CANDLES_FOR_DECIMALS).flatMap((bar) => [bar.open, bar.high, bar.low, bar.close]);
    this.#prices.applyOptions({ priceFormat: { minMove: 10 ** -updateDecimals(symbol, ...newest) } });
    this.#prices.setData(withGaps(candles, pointOf(this.#style, this.#colours)));
    this.#volumes.setData(bars.map((bar) => this.#volumeBar(bar)));
    this.#drawnUntil = bars.at(-1)?.time;
    this.showMarks();
    this.#colourPriceLabel();
  }

  /** Empty both series: the time axis computes its ticks again only for new points. */
  clear() {
    this.#marks.setMarkers([]);
    this.#prices.setData([]);
    this.#volumes.setData([]);
    this.#drawnUntil = undefined;
  }

  /** @param {Bar} bar @param {boolean} earlier True if it is not the last one. @returns {boolean} True if it is a new one. */
  update(bar, earlier) {
    const last = this.#drawnUntil;
    const added = last === undefined || bar.time > last;
    if (added && last !== undefined && this.#candles)
      for (const point of openGap(last, bar.time, this.#candles)) this.#prices.update(point);
    this.#prices.update(pointOf(this.#style, this.#colours)(bar), earlier);
    this.#volumes.update(this.#volumeBar(bar), earlier);
    if (earlier) this.showMarks();
    else {
      this.#drawnUntil = bar.time;
      this.#colourPriceLabel();
    }
    return added;
  }

  /** The library labels the last visible candle, whose close is not always the current price. @param {boolean} shown */
  showPriceLabel(shown) {
    if (this.#prices.options().lastValueVisible !== shown) this.#prices.applyOptions({ lastValueVisible: shown });
  }

  /** Place the crosshair on a candle. @param {Bar} bar */
  placeCrosshair(bar) {
    this.#chart.setCrosshairPosition(bar.close, bar.time, this.#prices);
  }

  /** @param {Bar} bar @param {number} y @param {number} pane @returns {boolean} True if a point of its column belongs to it. */
  isAt(bar, y, pane) {
    if (pane) return true;
    const [top, bottom] = [bar.high, bar.low].map((price) => this.#prices.priceToCoordinate(price));
    return y > top - CLICK_MARGIN_PX && y < bottom + CLICK_MARGIN_PX;
  }

  #addPrices() {
    const series = this.#chart.addSeries(SERIES[this.#style], {
      priceFormat: {
        type: "custom",
        formatter: (/** @type {number} */ price) => priceText(this.#candles?.symbol ?? "", price),
        minMove: 0.01,
      },
    });
    series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.06 } });
    return series;
  }

  /** @param {() => readonly Bar[]} visibleBars */
  #addVolumes(visibleBars) {
    const series = this.#chart.addSeries(
      HistogramSeries,
      {
        priceFormat: { type: "custom", formatter: volumeText, minMove: 0.01 },
        priceLineVisible: false,
        lastValueVisible: false,
        autoscaleInfoProvider: (/** @type {() => any} */ computed) => {
          const info = computed();
          if (info?.priceRange) info.priceRange.maxValue = maxVolume(visibleBars());
          return info;
        },
      },
      1,
    );
    series.priceScale().applyOptions({ scaleMargins: { top: 0.2, bottom: 0 } });
    return series;
  }

  /** @param {Bar} bar */
  #volumeBar(bar) {
    return { time: bar.time, value: bar.volume, color: this.#colours[`volume-${trend(bar)}`] };
  }

  /** The white text of the price label needs a darker background than the colour of the candle. */
  #colourPriceLabel() {
    const last = this.#candles?.bars.at(-1);
    if (!last) return;
    const color = this.#colours[{ up: "label-up", down: "label-down", flat: "label" }[trend(last)]];
    if (this.#prices.options().priceLineColor !== color) this.#prices.applyOptions({ priceLineColor: color });
  }
}
