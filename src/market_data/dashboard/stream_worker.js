/**
 * Shared worker that holds the streams of all tabs: over HTTP/1.1 a browser opens six connections to a host, so that the
 * seventh tab would wait forever. Tabs with different API keys never share one.
 */

import { FanOut } from "./fan_out.js";

/**
 * @typedef {import("./subscription.js").Subscription} Subscription
 * @typedef {{open: number, url: string, headers: Record<string, string>, subscription: Subscription, position: string}} Open
 * @typedef {{close: number}} Close
 */

/** @type {Map<string, FanOut>} By URL and key. */
const streams = new Map();

/** @param {MessageEvent} event */
self.onconnect = ({ ports: [port] }) => {
  /** @type {Map<number, () => void>} Functions that close a session, by its number. */
  const sessions = new Map();

  /** @param {Open} request */
  const open = ({ open: number, url, headers, subscription, position }) => {
    const name = JSON.stringify([url, headers]);
    const stream = streams.get(name) ?? new FanOut(url, headers);
    streams.set(name, stream);
    const end = () => {
      sessions.delete(number);
      if (stream.isIdle) streams.delete(name);
    };
    /** @type {import("./fan_out.js").Session} */
    const session = {
      tab: port,
      subscription,
      position,
      send: (message) => port.postMessage({ session: number, message }),
      end: (unauthorized) => {
        end();
        port.postMessage({ session: number, unauthorized });
      },
    };
    sessions.set(number, () => {
      stream.close(session);
      end();
    });
    stream.open(session);
  };

  /** @param {MessageEvent<Open | Close>} event */
  port.onmessage = ({ data }) => ("open" in data ? open(data) : sessions.get(data.close)?.());
  // Of a tab that has crashed. Browsers without this event keep its session until the last tab is closed.
  port.addEventListener("close", () => [...sessions.values()].forEach((close) => close()));
};
