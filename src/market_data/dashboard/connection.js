/** Whether we are connected, in words. Apart from it stands how old the data is: see freshness.js. */

import { announce } from "./announcer.js";
import { now } from "./clock.js";
import { ageText, timeText } from "./formats.js";

const root = document.documentElement;
const place = /** @type {HTMLElement} */ (document.getElementById("connection"));
const text = /** @type {HTMLElement} */ (place.querySelector(".text"));

/** @param {import("./stream.js").State} state */
export function showConnection({ kind, since, heard }) {
  const age = ageText(Date.now() - since);
  // The machine's times, told by the service's clock.
  const at = timeText(since + now() - Date.now());
  const words = {
    connecting: "Connecting…",
    live: "Live",
    late: `No sign of life for ${age}`,
    reconnecting: `Reconnecting since ${at} (${age})`,
    locked: "Waiting for a key",
    offline: heard ? `Offline since ${at} (${age})` : "Offline: the service can't be reached",
  }[kind];
  if (text.textContent !== words) text.textContent = words;
  if (root.dataset.connection === kind) return;
  root.dataset.connection = kind;
  announce({ live: "Connected: prices are live.", connecting: "Connecting.", locked: "" }[kind] ?? `${words}. Prices are old.`);
}
