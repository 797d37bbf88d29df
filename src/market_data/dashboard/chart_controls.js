/** Controls below the chart: ranges, go-to-date, downloads and full screen. `chart_settings.js` has the other choices. */

import { announce } from "./announcer.js";
import { getJson } from "./api_client.js";
import { choices } from "./chart_choices.js";
import { saveCsv, savePng } from "./chart_export.js";
import { byId } from "./dom.js";
import { intervalFor, MAX_CANDLES, RANGES, rangeStart } from "./ranges.js";
import { dismissNotice, showNotice } from "./notices.js";
import { now } from "./service_clock.js";
import { dayStart } from "./time_zone.js";

/** @typedef {import("./intervals.js").Interval} Interval @typedef {import("./ranges.js").RangeName} RangeName */

const EPOCH = "1970-01-01T00:00:00Z";

export class ChartControls {
  #chart;
  #selection;
  #selectInterval;

  /**
   * @param {import("./chart.js").Chart} chart
   * @param {object} page
   * @param {() => {symbol: string, interval: Interval}} page.selection
   * @param {(interval: Interval) => void} page.selectInterval
   */
  constructor(chart, { selection, selectInterval }) {
    this.#chart = chart;
    this.#selection = selection;
    this.#selectInterval = selectInterval;
    this.#createRangeButtons();
    byId("go-to").addEventListener("change", () => this.#goToDate());
    byId("go-to").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#goToDate();
    });
    byId("save-png").addEventListener("click", () => savePng(chart));
    byId("save-csv").addEventListener("click", () => saveCsv(chart));
    this.#bindFullScreen();
  }

  #createRangeButtons() {
    const buttons = RANGES.map(({ name, title }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.title = title;
      button.addEventListener("click", () => this.#chooseRange(name));
      return button;
    });
    byId("ranges").append(...buttons);
    const mark = () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.textContent === choices.range.name));
    };
    choices.addEventListener("rangechange", mark);
    mark();
  }

  /** @param {RangeName} name */
  async #chooseRange(name) {
    const { symbol } = this.#selection();
    const newest = this.#chart.newestTime ?? now() / 1000;
    let start = rangeStart(name, newest);
    try {
      if (name === "All") start = await this.#oldestTime(symbol, newest);
      dismissNotice("range");
    } catch (error) {
      return showNotice("range", `Can't find the first candle. ${/** @type {Error} */ (error).message}`);
    }
    if (symbol !== this.#selection().symbol) return; // another one was selected meanwhile
    this.#show({ name }, intervalFor(newest - start, this.#chart.capacity));
  }

  /** @param {string} symbol @param {number} newest @returns {Promise<number>} */
  async #oldestTime(symbol, newest) {
    const { candles } = await getJson("/candles", { symbol, interval: "1d", start: EPOCH, limit: 1 });
    return candles.length ? Date.parse(candles[0].timestamp) / 1000 : newest;
  }

  #goToDate() {
    const input = /** @type {HTMLInputElement} */ (byId("go-to-date"));
    if (!input.value || !input.validity.valid) return; // a year that is being typed
    const from = dayStart(input.value) / 1000;
    const { interval } = this.#selection();
    const age = now() / 1000 - from;
    const reaching = age / interval.seconds <= MAX_CANDLES ? interval : intervalFor(age, MAX_CANDLES);
    if (reaching !== interval)
      showNotice("range", `Candles of ${interval.title} are too many to load since then: showing ${reaching.title}.`, "info");
    else dismissNotice("range");
    this.#show({ from, to: from + this.#chart.defaultCount * reaching.seconds }, reaching);
    announce(`Showing ${input.value} in candles of ${reaching.title}.`);
  }

  /** @param {Partial<import("./chart_choices.js").VisibleRange>} range @param {Interval} interval */
  #show(range, interval) {
    const { symbol, interval: current } = this.#selection();
    choices.setRange({ ...range, symbol, interval: interval.name });
    if (interval === current) this.#chart.applyRange();
    else this.#selectInterval(interval);
  }

  #bindFullScreen() {
    const button = byId("full-screen");
    const panel = /** @type {HTMLElement} */ (button.closest("section"));
    button.hidden = !document.fullscreenEnabled;
    button.addEventListener("click", () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else panel.requestFullscreen().catch(() => announce("Full screen is not available."));
    });
    addEventListener("fullscreenchange", () =>
      button.setAttribute("aria-pressed", String(document.fullscreenElement !== null)),
    );
  }
}
