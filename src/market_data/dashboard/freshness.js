/**
 * Freshness of the selected symbol: the age of its last trade, stale above the threshold that its pace sets.
 * Time in which the market is closed makes nothing stale.
 * Data never counts as fresh without a live connection: there may be newer trades.
 */

import { announce } from "./announcer.js";
import { getJson } from "./api_client.js";
import { byId, setText } from "./dom.js";
import { ageText, shortTimestampText, timeText } from "./formats.js";
import { MarketHours } from "./market_hours.js";
import { MARKET_STATES, showMarket } from "./market_note.js";
import { replay } from "./replay.js";
import { elapsed, now } from "./service_clock.js";
import { timeZoneLabel } from "./time_zone.js";

const STATUS_INTERVAL_MS = 30_000;

const root = document.documentElement;
const label = /** @type {HTMLElement} */ (byId("freshness").querySelector(".text"));
const priceAsOf = byId("price-as-of");
const chartAsOf = byId("chart-as-of");

/** @typedef {"fresh" | "stale" | "closed" | "none" | "unknown"} Kind */

export class Freshness {
  #pace;
  #hours = new MarketHours(() => this.#show());
  #symbol = "";
  #feedDisabled = false;
  /** @type {number | null | undefined} In milliseconds; null if the symbol has no trades, undefined until known. */
  #lastTradeAt = undefined;
  #live = false;
  #lastMessageAt = 0;

  /** @param {import("./pace.js").Pace} pace */
  constructor(pace) {
    this.#pace = pace;
    this.readStatus();
    setInterval(() => this.readStatus(), STATUS_INTERVAL_MS);
  }

  async readStatus() {
    try {
      const status = await getJson("/status/ingestion");
      this.#feedDisabled = status.ingestion_status === "disabled";
    } catch {
      return; // keep the previous status; the connection status shows the failure
    }
    this.#show();
  }

  /** @param {{symbol: string, calendar?: string}[]} listings */
  set listings(listings) {
    this.#hours.listings = listings;
  }

  /** @param {string} symbol The selected one. @param {number | null} lastTradeAt In milliseconds; null without a trade. */
  update(symbol, lastTradeAt) {
    this.#symbol = symbol;
    this.#lastTradeAt = lastTradeAt;
    this.#show();
  }

  /** Called every second, which keeps the age current. @param {import("./stream.js").State} state */
  set connection({ kind, lastMessageAt }) {
    this.#live = kind === "live";
    this.#lastMessageAt = lastMessageAt;
    this.#show();
  }

  /** @param {string} symbol @param {number} time Of its last trade. @returns {boolean} True if its price may not be current. */
  isStale(symbol, time) {
    return !replay && (!this.#live || this.#isOld(symbol, time));
  }

  /** @param {string} symbol @param {number} time @returns {boolean} True if the market was open since for an unusual time. */
  #isOld(symbol, time) {
    const threshold = this.#pace.threshold(symbol);
    if (now() - time <= threshold) return false;
    const hours = this.#hours.of(symbol);
    if (!hours) return true;
    return hours.status === "open" && now() - Math.max(time, hours.openedAt) > threshold;
  }

  #show() {
    const [kind, text] = this.#assess();
    setText(label, this.#feedDisabled ? `Feed disabled · ${text.charAt(0).toLowerCase()}${text.slice(1)}` : text);
    this.#showAsOf(kind);
    showMarket(this.#symbol, replay ? null : this.#hours.of(this.#symbol));
    if (root.dataset.freshness === kind) return;
    if (kind === "stale" && root.dataset.freshness === "fresh") announce(`The data is stale. ${text}`, "data");
    root.dataset.freshness = kind;
  }

  /** @returns {[Kind, string]} */
  #assess() {
    if (this.#lastTradeAt === undefined) return ["unknown", "No data yet"];
    if (this.#lastTradeAt === null) return ["none", "No trades yet"];
    if (replay) return ["fresh", `Last trade at ${timeText(this.#lastTradeAt)}`];
    const age = now() - this.#lastTradeAt;
    if (this.#isOld(this.#symbol, this.#lastTradeAt)) return ["stale", `Stale: last trade ${ageText(age)} ago`];
    if (!this.#live) return ["unknown", `Last known trade ${ageText(age)} ago`];
    const status = this.#hours.of(this.#symbol)?.status ?? "open";
    if (status === "open") return ["fresh", `Last trade ${ageText(age)} ago`];
    return [age > this.#pace.threshold(this.#symbol) ? "closed" : "fresh", `${MARKET_STATES[status]} · last trade ${ageText(age)} ago`];
  }

  /** @param {Kind} kind */
  #showAsOf(kind) {
    const time = this.#asOf(kind);
    priceAsOf.hidden = chartAsOf.hidden = !time;
    if (!time) return;
    setText(priceAsOf, `as of ${time}`);
    setText(chartAsOf, `${this.#live ? "Stale" : "Not live"}, as of ${time} ${timeZoneLabel()}`);
  }

  /** @param {Kind} kind @returns {string} Time up to which the page is complete; empty if it is current or has no data. */
  #asOf(kind) {
    if (replay || typeof this.#lastTradeAt !== "number") return "";
    if (!this.#live && this.#lastMessageAt) return timeText(now() - (elapsed() - this.#lastMessageAt));
    return kind === "stale" || !this.#live ? shortTimestampText(this.#lastTradeAt, now()) : "";
  }
}
