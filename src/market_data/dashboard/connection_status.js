/** Connection status in the header. The age of the data is shown separately, by freshness.js. */

import { announce } from "./announcer.js";
import { byId, setText } from "./dom.js";
import { ageText, timeText } from "./formats.js";
import { replay } from "./replay.js";
import { elapsed, now } from "./service_clock.js";

const root = document.documentElement;
const label = /** @type {HTMLElement} */ (byId("connection").querySelector(".text"));

/** @param {import("./stream.js").State} state */
export function showConnection({ kind, since, lastMessageAt }) {
  const age = ageText(elapsed() - since);
  const start = timeText(now() - (elapsed() - since));
  const text = {
    connecting: "Connecting…",
    live: replay ? "Replay" : "Live",
    late: `No heartbeat for ${age}`,
    reconnecting: `Reconnecting since ${start} (${age})`,
    unauthorized: "Waiting for an API key",
    paused: "Paused while the tab is hidden",
    ended: "Replay ended",
    offline: lastMessageAt ? `Offline since ${start} (${age})` : "Offline: the service can't be reached",
  }[kind];
  setText(label, text);
  if (root.dataset.connection === kind) return;
  root.dataset.connection = kind;
  const live = replay ? "The replay plays." : "Connected: prices are live.";
  const announcements = { live, connecting: "Connecting.", unauthorized: "", paused: "", ended: "The replay has ended." };
  announce(announcements[/** @type {keyof typeof announcements} */ (kind)] ?? `${text}. Prices are outdated.`, "data");
}
