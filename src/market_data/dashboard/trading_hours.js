/** Trading sessions of a calendar: the part of a session to which a time belongs, and the times at which buckets start. */

import { getJson } from "./api_client.js";

/** Calendar of symbols that are always traded, whose sessions are never read. */
export const ALWAYS_OPEN = "24/7";
const SECONDS_PER_DAY = 86_400;
/** The service answers so many days at once. */
const MAX_DAYS = 10_000;
/** Days read more than asked for: a session may begin on the day before its date, and end on the day after it. */
const MARGIN_DAYS = 2;

/**
 * @typedef {"pre" | "regular" | "post"} Part
 * @typedef {object} Segment Part of a session without a break. All times are in seconds.
 * @property {Part} part
 * @property {number} start
 * @property {number} close Buckets start before it.
 * @property {number} end After the closing auction, whose trades belong to the bucket before.
 * @property {number} anchor Buckets start at multiples of their length after it, except for the first one.
 * @property {number} session Start of the whole session.
 */

/** @param {any} found Of `/calendars/{code}/sessions`. @returns {Segment[]} */
function segmentsOf(found) {
  const time = (/** @type {string} */ name) => Date.parse(found[name]) / 1000;
  const [opens, closes, auctionEnds] = ["opens_at", "closes_at", "auction_ends_at"].map(time);
  const [session, ends] = ["pre_opens_at", "post_closes_at"].map(time);
  /** @type {Segment[]} */
  const segments = [{ part: "pre", start: session, close: opens, end: opens, anchor: session, session }];
  let start = opens;
  if (found.break_starts_at) {
    const close = time("break_starts_at");
    const end = Math.min(close + auctionEnds - closes, time("break_ends_at"));
    segments.push({ part: "regular", start, close, end, anchor: start, session });
    start = time("break_ends_at");
  }
  segments.push(
    { part: "regular", start, close: closes, end: auctionEnds, anchor: start, session },
    { part: "post", start: auctionEnds, close: ends, end: ends, anchor: closes, session },
  );
  return segments.filter((segment) => segment.start < segment.end);
}

/** @param {number} day Since 1970. */
function dateOf(day) {
  return new Date(day * SECONDS_PER_DAY * 1000).toISOString().slice(0, 10);
}

export class TradingHours {
  #calendar;
  /** @type {Segment[]} Oldest first. */
  #segments = [];
  /** Days since 1970 that have been read: the first, and the one after the last. */
  #days = { first: Infinity, end: -Infinity };

  /** @param {string} calendar Code. */
  constructor(calendar) {
    this.#calendar = calendar;
  }

  /** @returns {boolean} False until sessions are known, and if the calendar has none. */
  get known() {
    return this.#segments.length > 0;
  }

  /** Read the sessions of a range that are missing. @param {number} from @param {number} until @param {AbortSignal} signal */
  async cover(from, until, signal) {
    const first = Math.floor(from / SECONDS_PER_DAY) - MARGIN_DAYS;
    const end = Math.floor(until / SECONDS_PER_DAY) + 1 + MARGIN_DAYS;
    if (!Number.isFinite(this.#days.first)) {
      this.#segments = await this.#read(first, end, signal);
      this.#days = { first, end };
      return;
    }
    if (first < this.#days.first) {
      this.#segments = (await this.#read(first, this.#days.first, signal)).concat(this.#segments);
      this.#days.first = first;
    }
    if (end > this.#days.end) {
      this.#segments = this.#segments.concat(await this.#read(this.#days.end, end, signal));
      this.#days.end = end;
    }
  }

  /** @param {number} first @param {number} end @param {AbortSignal} signal @returns {Promise<Segment[]>} */
  async #read(first, end, signal) {
    const path = `/calendars/${encodeURIComponent(this.#calendar)}/sessions`;
    const segments = [];
    for (let start = first; start < end; start += MAX_DAYS) {
      const range = { start: dateOf(start), end: dateOf(Math.min(end, start + MAX_DAYS)) };
      const { sessions } = await getJson(path, range, signal);
      segments.push(...sessions.flatMap(segmentsOf));
    }
    return segments;
  }

  /** @param {number} from @param {number} until @returns {Segment[]} Those that have a time between them. */
  between(from, until) {
    const segments = [];
    for (let index = this.#indexAt(from); this.#segments[index]?.start < until; index++) segments.push(this.#segments[index]);
    return segments;
  }

  /** @param {number} time @returns {Segment | null} Null if the market is closed. */
  at(time) {
    const segment = this.#segments[this.#indexAt(time)];
    return segment && segment.start <= time ? segment : null;
  }

  /**
   * Return the times between two candles at which a bucket of trading time starts.
   * @param {number} previous @param {number} next @param {number} length Of the buckets. @param {number} max Number of times.
   * @param {import("./chart_choices.js").Session} session Buckets start with each segment; those of all trades at multiples of
   *   their length since 1970.
   */
  starts(previous, next, length, max, session) {
    const times = [];
    const utc = session === "all";
    for (const { part, start, close, anchor } of this.between(previous, next)) {
      if (session === "regular" && part !== "regular") continue;
      const grid = utc ? 0 : anchor;
      let time = utc ? Math.ceil(start / length) * length : start;
      if (time <= previous) time = grid + (Math.floor((previous - grid) / length) + 1) * length;
      for (; time < close && time < next; time = grid + (Math.floor((time - grid) / length) + 1) * length) {
        if (times.length === max) return times;
        times.push(time);
      }
    }
    return times;
  }

  /** @param {number} time @returns {number} Index of the first segment that ends after it. */
  #indexAt(time) {
    let [low, high] = [0, this.#segments.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#segments[middle].end <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
