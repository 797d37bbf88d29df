/**
 * Live connection to `/stream` that reconnects and resumes.
 *
 * Browsers do not detect a connection that is open but dead, and an `EventSource` does not retry after an error status. So
 * each connection is used once, watched for silence and replaced.
 */

import { isKeyRequired } from "./api_key_dialog.js";
import { replay } from "./replay.js";
import { openStream, watchForPeers } from "./shared_stream.js";
import { elapsed } from "./service_clock.js";
import { LATE_MS } from "./sse_reader.js";

/** Silence after which a connection is dead. */
const DEAD_MS = 25_000;
const CONNECT_TIMEOUT_MS = 10_000;
const OFFLINE_MS = 30_000;
/** After a longer silence, reading a snapshot is cheaper than replaying all events. */
const MAX_RESUME_MS = 60_000;
/** A tab that is hidden for so long gives its connection back. */
const HIDDEN_MS = 60_000;
const RETRY_DELAYS_MS = [300, 600, 1200, 2500, 5000, 8000];

/**
 * @typedef {"connecting" | "live" | "late" | "reconnecting" | "offline" | "unauthorized" | "paused" | "ended"} Kind
 * @typedef {{kind: Kind, since: number, lastMessageAt: number}} State Times of `elapsed()`; 0 for no message yet.
 * @typedef {"switched" | "resumed" | "restarted"} Opening How the connection began: it replaced one that was still live, it
 *   continued after the last event of one that was lost, or it missed events.
 * @typedef {{reader: import("./shared_stream.js").Reader, since: number, resumed: boolean}} Connection
 */

export class Stream {
  /** @type {Connection | null} */
  #current = null;
  /** @type {Connection | null} Replaces the current one on its first message. */
  #next = null;
  /** @type {import("./subscription.js").Subscription | null} */
  #subscription = null;
  #lastEventId = "";
  #lastMessageAt = 0;
  #lostAt = elapsed();
  #failures = 0;
  #retryTimer = 0;
  #hiddenTimer = 0;
  /** True from the release of the connection until a visible page has one again, or has lost it. */
  #paused = false;
  /** True if a replay has reached its end. */
  #ended = false;
  #callbacks;

  /**
   * @param {object} callbacks
   * @param {(name: string, data: any) => void} callbacks.onEvent
   * @param {(how: Opening) => void} callbacks.onOpen Called on the first message of a connection.
   * @param {(state: State) => void} callbacks.onState Called every second and on every change.
   */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    setInterval(() => this.#checkTimeouts(), 1000);
    addEventListener("online", () => this.#reconnectNow());
    addEventListener("offline", () => this.#checkTimeouts());
    document.addEventListener("visibilitychange", () => {
      this.#checkTimeouts();
      this.#followVisibility();
    });
    this.#followVisibility();
    watchForPeers(() => this.#connect());
    // A page in the back/forward cache must not hold a connection, and finds it dead when it returns.
    addEventListener("pagehide", () => this.#disconnect());
    addEventListener("pageshow", (event) => event.persisted && this.#connect());
  }

  /**
   * Change the subscription. The current connection stays until the new one has delivered a message.
   * @param {string[] | null} symbols Null for all symbols.
   * @param {string[]} channels
   */
  subscribe(symbols, channels) {
    const subscription = { symbols, channels };
    if (JSON.stringify(subscription) === JSON.stringify(this.#subscription)) return;
    this.#subscription = subscription;
    this.#connect();
  }

  /** Send a command to a replay. @param {Record<string, string | number>} command */
  send(command) {
    this.#current?.reader.send?.(command);
  }

  /** Begin again, at another time of a replay. */
  restart() {
    this.#disconnect();
    this.#connect();
  }

  /** @returns {State} */
  get state() {
    const now = elapsed();
    const lastMessageAt = this.#lastMessageAt;
    if (this.#current) return { kind: now - lastMessageAt > LATE_MS ? "late" : "live", since: lastMessageAt, lastMessageAt };
    if (this.#paused) return { kind: "paused", since: this.#lostAt, lastMessageAt };
    if (this.#ended && !this.#next) return { kind: "ended", since: this.#lostAt, lastMessageAt };
    const offline = !navigator.onLine || now - this.#lostAt > OFFLINE_MS;
    const waiting = offline ? "offline" : lastMessageAt ? "reconnecting" : "connecting";
    return { kind: isKeyRequired() ? "unauthorized" : waiting, since: this.#lostAt, lastMessageAt };
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    if (isKeyRequired() || !this.#subscription || (this.#paused && document.hidden)) return;
    this.#next?.reader.close();
    this.#ended = false;
    const resumed = !replay && this.#lastEventId !== "" && elapsed() - this.#lastMessageAt < MAX_RESUME_MS;
    /** @type {Connection} */
    const connection = {
      reader: openStream(this.#subscription, resumed ? this.#lastEventId : "", {
        onMessage: (message) => this.#receive(connection, message),
        onEnd: () => this.#close(connection),
      }),
      since: elapsed(),
      resumed,
    };
    this.#next = connection;
    this.#notifyState();
  }

  /** @param {Connection} connection @param {import("./sse_reader.js").Message} message */
  #receive(connection, { name, id, data }) {
    const isFirst = connection === this.#next;
    const how = this.#current && !replay ? "switched" : connection.resumed ? "resumed" : "restarted";
    if (isFirst) {
      this.#current?.reader.close();
      this.#current = connection;
      this.#next = null;
      this.#failures = 0;
      this.#paused = false;
    }
    if (connection !== this.#current) return;
    this.#lastMessageAt = elapsed();
    this.#lastEventId = id;
    if (isFirst) {
      this.#notifyState();
      this.#callbacks.onOpen(how);
    }
    this.#callbacks.onEvent(name, JSON.parse(data));
    if (name === "bye") this.#close(connection);
    if (name === "end") this.#end();
  }

  /** Close a connection that has failed or ended, and schedule the next attempt. @param {Connection} connection */
  #close(connection) {
    connection.reader.close();
    this.#paused &&= document.hidden;
    if (connection === this.#next) this.#next = null;
    else if (connection === this.#current) {
      this.#current = null;
      this.#lostAt = elapsed();
    } else return;
    if (!this.#next) {
      const delay = RETRY_DELAYS_MS[Math.min(this.#failures, RETRY_DELAYS_MS.length - 1)];
      this.#failures += 1;
      clearTimeout(this.#retryTimer);
      // Jitter: after a restart of the service the pages should not all reconnect at once.
      this.#retryTimer = setTimeout(() => this.#connect(), delay * (0.75 + Math.random() / 2));
    }
    this.#notifyState();
  }

  #end() {
    this.#disconnect();
    this.#ended = true;
    this.#notifyState();
  }

  #checkTimeouts() {
    const now = elapsed();
    if (this.#current && now - this.#lastMessageAt > DEAD_MS) {
      this.#current.reader.close();
      this.#current = null;
      this.#lostAt = this.#lastMessageAt;
      if (!this.#next) this.#connect();
    }
    if (this.#next && now - this.#next.since > CONNECT_TIMEOUT_MS) this.#close(this.#next);
    this.#notifyState();
  }

  /** Skip the retry delay: the network is back, or the page is visible again. */
  #reconnectNow() {
    if (!this.#current && !this.#next && !this.#ended) this.#connect();
  }

  #followVisibility() {
    clearTimeout(this.#hiddenTimer);
    if (!document.hidden) this.#reconnectNow();
    else this.#hiddenTimer = setTimeout(() => this.#release(), HIDDEN_MS);
  }

  #release() {
    this.#paused = true;
    this.#disconnect();
    this.#notifyState();
  }

  #disconnect() {
    clearTimeout(this.#retryTimer);
    this.#next?.reader.close();
    this.#current?.reader.close();
    this.#next = this.#current = null;
    this.#lostAt = elapsed();
  }

  #notifyState() {
    this.#callbacks.onState(this.state);
  }
}
