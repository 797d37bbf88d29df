/**
 * Streams of this tab: its own connection while it is the only one, else sessions of the worker that all tabs share. A lone
 * tab starts sooner without the worker.
 */

import { authHeaders, requestKey } from "./api_key_dialog.js";
import { replay } from "./replay.js";
import { ReplayReader } from "./replay_reader.js";
import { serviceUrl } from "./service_url.js";
import { SseReader } from "./sse_reader.js";
import { streamQuery } from "./subscription.js";

/**
 * @typedef {import("./subscription.js").Subscription} Subscription
 * @typedef {import("./sse_reader.js").Message} Message
 * @typedef {{close: () => void, send?: (command: Record<string, string | number>) => void}} Reader Replays have commands.
 * @typedef {{onMessage: (message: Message) => void, onEnd: () => void}} Callbacks
 */

/** @type {Map<number, Callbacks>} By number of the session. */
const sessions = new Map();
let lastSession = 0;
let hasPeers = false;
/** @type {MessagePort | null} */
let port = null;

/**
 * Call a function when another tab of the dashboard opens, or was open before.
 * @param {() => void} onPeer Called once.
 */
export function watchForPeers(onPeer) {
  if (!globalThis.SharedWorker || !globalThis.BroadcastChannel) return;
  const channel = new BroadcastChannel(serviceUrl("/dashboard"));
  channel.onmessage = ({ data }) => {
    if (data === "opened") channel.postMessage("present");
    if (hasPeers) return;
    hasPeers = true;
    onPeer();
  };
  channel.postMessage("opened");
}

/**
 * Read events after a position, without those that other tabs need.
 * @param {Subscription} subscription
 * @param {string} position Id of the last event received; empty for new events only.
 * @param {Callbacks} callbacks
 * @returns {Reader}
 */
export function openStream(subscription, position, callbacks) {
  if (replay) return new ReplayReader(replay, subscription, callbacks);
  const url = serviceUrl("/stream");
  const headers = authHeaders();
  if (!hasPeers) {
    const onUnauthorized = () => void requestKey();
    return new SseReader(`${url}?${streamQuery(subscription, position)}`, headers, { ...callbacks, onUnauthorized });
  }
  port ??= startWorker();
  const number = ++lastSession;
  sessions.set(number, callbacks);
  port.postMessage({ open: number, url, headers, subscription, position });
  return {
    close() {
      if (sessions.delete(number)) port?.postMessage({ close: number });
    },
  };
}

function startWorker() {
  const worker = new SharedWorker(new URL("stream_worker.js", import.meta.url), { type: "module" });
  worker.onerror = () => {
    hasPeers = false; // a connection of its own is better than none
    port = null;
    for (const session of sessions.keys()) end(session);
  };
  worker.port.onmessage = ({ data: { session, message, unauthorized } }) => {
    if (message) sessions.get(session)?.onMessage(message);
    else if (unauthorized) requestKey();
    else end(session);
  };
  return worker.port;
}

/** @param {number} session */
function end(session) {
  const callbacks = sessions.get(session);
  sessions.delete(session);
  callbacks?.onEnd();
}
