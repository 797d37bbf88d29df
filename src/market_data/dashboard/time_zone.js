/** Time zone of all times on the page: UTC, or the zone of the browser. */

import { readStored, store } from "./storage.js";

/** @typedef {"utc" | "local"} Zone */

const MS_PER_MINUTE = 60_000;
const changes = new EventTarget();

/** @type {Zone} */
let zone = readStored("time-zone") === "local" ? "local" : "utc";

/** @returns {Zone} */
export function timeZone() {
  return zone;
}

/** @param {Zone} newZone */
export function setTimeZone(newZone) {
  if (newZone === zone) return;
  zone = newZone;
  store("time-zone", zone === "utc" ? undefined : zone);
  changes.dispatchEvent(new Event("change"));
}

/** @param {() => void} listener Called after every change of the zone, not immediately. */
export function onTimeZoneChange(listener) {
  changes.addEventListener("change", listener);
}

/** @returns {string} Short name: UTC, or "local", because the offset may differ between the times shown. */
export function timeZoneLabel() {
  return zone === "utc" ? "UTC" : "local";
}

/** @returns {string} For titles and screen readers. */
function timeZoneTitle() {
  if (zone === "utc") return "Coordinated Universal Time, used for all times on this page";
  return `Time zone of this browser, ${Intl.DateTimeFormat().resolvedOptions().timeZone}, used for all times on this page`;
}

/** @param {number} ms @returns {Date} Its UTC fields hold the local time of `ms` in the chosen zone. */
export function zonedDate(ms) {
  const date = new Date(ms);
  return zone === "utc" ? date : new Date(ms - date.getTimezoneOffset() * MS_PER_MINUTE);
}

/** @param {number} ms @returns {string} In the chosen zone, without its name: 2026-02-08T10:30:00.000 */
export function zonedIsoText(ms) {
  return zonedDate(ms).toISOString().slice(0, -1);
}

/** @param {string} day Such as 2026-02-08. @returns {number} Its beginning in the chosen zone, in milliseconds since 1970. */
export function dayStart(day) {
  return Date.parse(zone === "utc" ? `${day}T00:00Z` : `${day}T00:00`);
}

/** Name the zone in all elements with the class `time-zone`. */
function showLabels() {
  for (const element of document.querySelectorAll(".time-zone")) {
    element.textContent = timeZoneLabel();
    /** @type {HTMLElement} */ (element).title = timeZoneTitle();
  }
}

onTimeZoneChange(showLabels);
showLabels();
