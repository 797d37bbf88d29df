/**
 * Replay: the page plays 24 hours of the past, and shows what the service knew at their virtual time. The query string has the
 * time at which they begin; without one the page is live.
 */

import { followReplay, now } from "./service_clock.js";

const DAY_MS = 86_400_000;
const DEFAULT_SPEED = 60;
/** A stream from the very end would be rejected. */
const SHORTEST_MS = 1000;

/** @typedef {{timestamp: string, speed: number, paused: boolean}} Clock Event of `/ws`. */

export class Replay {
  /** Choices of the user, which the next stream has from the beginning. */
  speed = DEFAULT_SPEED;
  paused = false;
  /** Version up to which the page has received all events; 0 before the first one. */
  #version = 0;

  /** @param {number} start In milliseconds since 1970. */
  constructor(start) {
    this.start = start;
    this.isOver = start + DAY_MS <= Date.now();
    this.end = this.isOver ? start + DAY_MS : Date.now();
    followReplay(start, 0);
  }

  /** Version that the page shows, or a time before the first event. @returns {string} */
  get asOf() {
    return this.#version > 0 ? String(this.#version) : this.from; // nobody knows the time of version 0
  }

  /** Time at which the next stream begins. @returns {string} */
  get from() {
    return new Date(Math.max(this.start, Math.min(now(), this.end - SHORTEST_MS))).toISOString();
  }

  /** Parameters of the next stream. @returns {Record<string, string>} */
  get parameters() {
    /** @type {Record<string, string>} */
    const end = this.isOver ? { to: new Date(this.end).toISOString() } : {};
    return { from: this.from, ...end, speed: String(this.speed) };
  }

  /** Note the position of a message. @param {string} id */
  reach(id) {
    const [version, ...rest] = id.split("-").map(Number);
    this.#version = rest.some(Boolean) ? version : version - 1; // the first id of a version is before its events
  }

  /** @param {Clock} clock */
  follow({ timestamp, speed, paused }) {
    followReplay(Date.parse(timestamp), paused ? 0 : speed);
  }

  /** Hold the clock, because the stream has ended. @param {number} [time] */
  hold(time = now()) {
    followReplay(time, 0);
  }

  /** Let the next stream begin at another time. @param {number} time */
  seek(time) {
    this.#version = 0;
    followReplay(time, 0);
  }
}

const start = Date.parse(new URLSearchParams(location.search).get("replay") ?? "");

/** Null on a live page. */
export const replay = Number.isNaN(start) ? null : new Replay(start);

/** @param {number} time Beginning, in milliseconds. @returns {string} URL of the page that plays it, or of the live page. */
export function replayUrl(time = NaN) {
  const url = new URL(location.href);
  if (Number.isNaN(time)) url.searchParams.delete("replay");
  else url.searchParams.set("replay", new Date(time).toISOString());
  return url.href;
}
