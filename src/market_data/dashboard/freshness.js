/**
 * How old the data of the shown symbol is: the age of its last trade, counted up, and stale beyond the service's threshold.
 * Nothing counts as fresh while the connection is not live, for then nobody knows.
 */

import { announce } from "./announcer.js";
import { now } from "./clock.js";
import { ageText, momentText, timeText } from "./formats.js";
import { ask } from "./service.js";

/** Until the service has told its own. */
const FALLBACK_MS = 10_000;
const ASK_EVERY_MS = 30_000;

const root = document.documentElement;
const place = /** @type {HTMLElement} */ (document.getElementById("freshness"));
const words = /** @type {HTMLElement} */ (place.querySelector(".text"));
const asOf = /** @type {HTMLElement} */ (document.getElementById("as-of"));
const flag = /** @type {HTMLElement} */ (document.getElementById("old-chart"));

export class Freshness {
  threshold = FALLBACK_MS;
  #disabled = false;
  /** @type {number | null | undefined} Time of the last trade; null where there is none, undefined where it is not known. */
  #trade = undefined;
  #live = false;
  #heard = 0;

  constructor() {
    this.ask();
    setInterval(() => this.ask(), ASK_EVERY_MS);
  }

  /** What the service says of its feed. */
  async ask() {
    try {
      const status = await ask("/status/ingestion");
      this.threshold = status.threshold_seconds * 1000 || FALLBACK_MS;
      this.#disabled = status.ingestion_status === "disabled";
    } catch {
      return; // what it said last still holds; the connection tells the rest
    }
    this.show();
  }

  /** @param {number | null | undefined} time Of the newest trade of the symbol shown, in milliseconds. */
  set trade(time) {
    this.#trade = time;
    this.show();
  }

  /** @param {import("./stream.js").State} state */
  set connection({ kind, heard }) {
    this.#live = kind === "live";
    this.#heard = heard;
    this.show();
  }

  /** @param {number | undefined} time @returns {boolean} Whether a trade of that time is too old to be the present price. */
  isOld(time) {
    return !this.#live || (time !== undefined && now() - time > this.threshold);
  }

  show() {
    const [kind, text] = this.#verdict();
    const feed = this.#disabled ? "Feed disabled · " : "";
    const sentence = feed + (feed ? text.charAt(0).toLowerCase() + text.slice(1) : text);
    if (words.textContent !== sentence) words.textContent = sentence;
    this.#mark(kind);
    if (root.dataset.freshness === kind) return;
    if (kind === "stale" && root.dataset.freshness === "fresh") announce(`The data is stale. ${text}`);
    root.dataset.freshness = kind;
  }

  /** @returns {["fresh" | "stale" | "none" | "unknown", string]} */
  #verdict() {
    if (this.#trade === undefined) return ["unknown", "No data yet"];
    if (this.#trade === null) return ["none", "No trades yet"];
    const age = now() - this.#trade;
    if (age > this.threshold) return ["stale", `Stale: last trade ${ageText(age)} ago`];
    if (!this.#live) return ["unknown", `Last known trade ${ageText(age)} ago`];
    return ["fresh", `Last trade ${ageText(age)} ago`];
  }

  /** @param {string} kind */
  #mark(kind) {
    const time = this.#time(kind);
    asOf.hidden = flag.hidden = !time;
    if (!time) return;
    const text = `as of ${time}`;
    if (asOf.textContent !== text) asOf.textContent = text;
    const title = this.#live ? `Stale, ${text} UTC` : `Not live, ${text} UTC`;
    if (flag.textContent !== title) flag.textContent = title;
  }

  /**
   * @param {string} kind
   * @returns {string} Until when what is shown was the present; empty while it is, or there is nothing.
   */
  #time(kind) {
    if (typeof this.#trade !== "number") return "";
    if (!this.#live && this.#heard) return timeText(this.#heard + now() - Date.now());
    return kind === "stale" || !this.#live ? momentText(this.#trade, now()) : "";
  }
}
