/**
 * One connection to `/stream` for several tabs with the same API key: it is subscribed to what any of them needs, and each
 * gets its own events, in their order, without a gap and none twice.
 */

import { LATE_MS, SseReader } from "./sse_reader.js";
import { compareIds, contains, includes, streamQuery, union } from "./subscription.js";

/**
 * @typedef {import("./subscription.js").Subscription} Subscription
 * @typedef {import("./sse_reader.js").Message} Message
 * @typedef {object} Session Stream of one tab.
 * @property {unknown} tab
 * @property {Subscription} subscription
 * @property {string} position Id up to which it has all events; empty if it begins with the next one.
 * @property {boolean} [joined] True once it receives events.
 * @property {(message: Message) => void} send
 * @property {(unauthorized: boolean) => void} end
 * @typedef {{reader: SseReader, subscription: Subscription, position: string, lastMessageAt: number}} Connection The position
 *   is the id after which it begins, then that of the last message.
 */

export class FanOut {
  #url;
  #headers;
  /** @type {Set<Session>} */
  #sessions = new Set();
  /** @type {Connection | null} */
  #current = null;
  /** @type {Connection | null} Replaces the current one on its first message. */
  #next = null;

  /** @param {string} url Of the stream, without a query. @param {Record<string, string>} headers With the API key. */
  constructor(url, headers) {
    this.#url = url;
    this.#headers = headers;
  }

  /** @param {Session} session */
  open(session) {
    this.#sessions.add(session);
    if (this.#next) return this.#covers(this.#next, session) || this.#connect();
    const isAlive = this.#current && performance.now() - this.#current.lastMessageAt < LATE_MS;
    if (isAlive && this.#covers(this.#current, session)) this.#join(session, /** @type {Connection} */ (this.#current));
    else this.#connect();
  }

  /** @param {Session} session */
  close(session) {
    if (!this.#sessions.delete(session)) return;
    if (![...this.#sessions].some(({ joined }) => !joined)) this.#next = closed(this.#next);
    if (!this.#sessions.size) this.#current = closed(this.#current);
  }

  get isIdle() {
    return this.#sessions.size === 0;
  }

  /** @param {Connection | null} connection @param {Session} session @returns {boolean} True if it delivers all events. */
  #covers(connection, { subscription, position }) {
    if (!connection || !contains(connection.subscription, subscription)) return false;
    return !position || (connection.position !== "" && compareIds(position, connection.position) >= 0);
  }

  /** Connect for all sessions. The current connection stays until the new one has delivered a message. */
  #connect() {
    closed(this.#next);
    const newest = new Map([...this.#sessions].map((session) => [session.tab, session])); // older ones are being replaced
    const sessions = [...newest.values()];
    const positions = sessions.map(({ position }) => position).filter(Boolean);
    const position = positions.sort(compareIds)[0] ?? "";
    const subscription = union(sessions.map((session) => session.subscription));
    /** @type {Connection} */
    const connection = {
      reader: new SseReader(`${this.#url}?${streamQuery(subscription, position)}`, this.#headers, {
        onMessage: (message) => this.#receive(connection, message),
        onEnd: () => this.#end(connection, false),
        onUnauthorized: () => this.#end(connection, true),
      }),
      subscription,
      position,
      lastMessageAt: performance.now(),
    };
    this.#next = connection;
  }

  /** @param {Connection} connection @param {Message} message */
  #receive(connection, message) {
    if (connection === this.#next) {
      closed(this.#current);
      this.#current = connection;
      this.#next = null;
      connection.position ||= message.id;
      for (const session of this.#sessions) if (!session.joined) this.#join(session, connection);
    }
    if (connection !== this.#current) return;
    connection.lastMessageAt = performance.now();
    connection.position = later(connection.position, message.id);
    const isEvent = ["trade", "candle", "reload"].includes(message.name);
    for (const session of this.#sessions) {
      if (!session.joined) continue;
      const difference = compareIds(message.id, session.position);
      if (difference < 0 || (isEvent && difference === 0)) continue; // events that it has, for a tab that lacks them
      session.position = message.id;
      if (includes(session.subscription, message)) session.send(message);
    }
  }

  /** Begin to deliver, with a message that says so. @param {Session} session @param {Connection} connection */
  #join(session, connection) {
    session.joined = true;
    session.position ||= connection.position;
    session.send({ name: "joined", id: session.position, data: "{}" });
  }

  /** @param {Connection} connection @param {boolean} unauthorized */
  #end(connection, unauthorized) {
    const isCurrent = connection === this.#current;
    if (isCurrent) this.#current = null;
    else if (connection === this.#next) this.#next = null;
    else return;
    for (const session of this.#sessions) {
      if (Boolean(session.joined) !== isCurrent) continue;
      this.#sessions.delete(session);
      session.end(unauthorized);
    }
  }
}

/** @param {Connection | null} connection @returns {null} */
function closed(connection) {
  connection?.reader.close();
  return null;
}

/** @param {string} a @param {string} b */
function later(a, b) {
  return compareIds(a, b) < 0 ? b : a;
}
