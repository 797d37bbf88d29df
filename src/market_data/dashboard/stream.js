/**
 * The live connection: server-sent events that are taken up again, whatever ended them.
 *
 * No browser notices a connection that is dead but open, and none that is refused for now is tried again by itself. So every
 * link here is used once, watched, and replaced.
 */

import { locked } from "./key.js";
import { Source } from "./source.js";

/** Heartbeats come every 10 s at least. */
const LATE_MS = 13_000;
const DEAD_MS = 25_000;
const OPENING_MS = 10_000;
const OFFLINE_MS = 30_000;
/** After a longer silence it is cheaper to read anew than to be told all that happened. */
const RESUME_MS = 60_000;
const WAITS_MS = [300, 600, 1200, 2500, 5000, 8000];

/**
 * @typedef {"connecting" | "live" | "late" | "reconnecting" | "offline" | "locked"} Kind
 * @typedef {{kind: Kind, since: number, heard: number}} State `heard` is the last sign of life, 0 for none.
 * @typedef {"switched" | "resumed" | "anew"} Opening What it takes the place of: one that still was there, one that was
 *   lost, or none that it could go on from.
 * @typedef {{source: Source, since: number, resumed: boolean}} Link
 */

export class Stream {
  /** @type {Link | null} What we listen to. */
  #link = null;
  /** @type {Link | null} What is to take its place as soon as it says something. */
  #next = null;
  #wish = "";
  #lastId = "";
  #heard = 0;
  #lost = Date.now();
  #failures = 0;
  #retry = 0;
  /** @type {{event: (name: string, data: any) => void, opened: (how: Opening) => void, state: (state: State) => void}} */
  #tell;

  /**
   * @param {object} tell Called with what happens.
   * @param {(name: string, data: any) => void} tell.event
   * @param {(how: Opening) => void} tell.opened There is a connection.
   * @param {(state: State) => void} tell.state Each second and on every change.
   */
  constructor(tell) {
    this.#tell = tell;
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#watch());
    document.addEventListener("visibilitychange", () => {
      this.#watch();
      if (!document.hidden) this.#hurry();
    });
    // A page that is put aside would keep a connection; one that comes back finds it dead.
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", (event) => event.persisted && this.#open());
  }

  /**
   * Listen to this from now on. The connection before stays until the new one speaks.
   * @param {string[] | null} symbols All where null.
   * @param {string[]} channels
   */
  subscribe(symbols, channels) {
    const query = new URLSearchParams(symbols ? { symbols: symbols.join(",") } : {});
    query.set("channels", channels.join(","));
    if (query.toString() === this.#wish) return;
    this.#wish = query.toString();
    this.#open();
  }

  /** @returns {State} */
  get state() {
    const now = Date.now();
    if (this.#link) {
      const late = now - this.#heard > LATE_MS;
      return { kind: late ? "late" : "live", since: this.#heard, heard: this.#heard };
    }
    if (locked()) return { kind: "locked", since: this.#lost, heard: this.#heard };
    const offline = !navigator.onLine || now - this.#lost > OFFLINE_MS;
    const kind = offline ? "offline" : this.#heard ? "reconnecting" : "connecting";
    return { kind, since: this.#lost, heard: this.#heard };
  }

  #open() {
    clearTimeout(this.#retry);
    if (locked()) return;
    this.#next?.source.close();
    const resumed = this.#lastId !== "" && Date.now() - this.#heard < RESUME_MS;
    const query = resumed ? `${this.#wish}&${new URLSearchParams({ last_event_id: this.#lastId })}` : this.#wish;
    /** @type {Link} */
    const link = {
      source: new Source(`/stream?${query}`, (message) => this.#hear(link, message), () => this.#drop(link)),
      since: Date.now(),
      resumed,
    };
    this.#next = link;
    this.#tell.state(this.state);
  }

  /** @param {Link} link @param {import("./source.js").Message} message */
  #hear(link, { name, id, data }) {
    const opened = link === this.#next;
    const how = this.#link ? "switched" : link.resumed ? "resumed" : "anew";
    if (opened) {
      this.#link?.source.close();
      this.#link = link;
      this.#next = null;
      this.#failures = 0;
    }
    if (link !== this.#link) return;
    this.#heard = Date.now();
    this.#lastId = id;
    if (opened) {
      this.#tell.state(this.state);
      this.#tell.opened(how);
    }
    this.#tell.event(name, JSON.parse(data));
    if (name === "bye") this.#drop(link);
  }

  /** @param {Link} link It has failed. */
  #drop(link) {
    link.source.close();
    if (link === this.#next) this.#next = null;
    else if (link === this.#link) {
      this.#link = null;
      this.#lost = Date.now();
    } else return;
    if (!this.#next) {
      const wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)];
      this.#failures += 1;
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#open(), wait * (0.75 + Math.random() / 2));
    }
    this.#tell.state(this.state);
  }

  /** Find out what the browser does not tell. */
  #watch() {
    const now = Date.now();
    if (this.#link && now - this.#heard > DEAD_MS) {
      const { source } = this.#link;
      source.close();
      this.#link = null;
      this.#lost = this.#heard;
      if (!this.#next) this.#open();
    }
    if (this.#next && now - this.#next.since > OPENING_MS) this.#drop(this.#next);
    this.#tell.state(this.state);
  }

  /** Don't wait for the next attempt: something has changed for the better. */
  #hurry() {
    if (this.#wish && !this.#link && !this.#next) this.#open();
  }

  #leave() {
    clearTimeout(this.#retry);
    this.#next?.source.close();
    this.#link?.source.close();
    this.#next = this.#link = null;
    this.#lost = Date.now();
  }
}
