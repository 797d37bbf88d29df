/** The service's time, estimated from its messages. Ages are computed from it because the local clock may be wrong. */

const TOLERANCE_MS = 2000;

let offset = 0;
/** True after the first heartbeat: heartbeats are more precise than Date headers. */
let synced = false;
/** @type {number | null} Offset of a heartbeat that may have been delayed. */
let unconfirmedOffset = null;

/** @returns {number} Milliseconds since 1970. */
export function now() {
  return Date.now() + offset;
}

/**
 * Set the clock from a heartbeat. A heartbeat that is delivered late, for example after this machine slept, would make data
 * look younger than it is: a large step back needs a second heartbeat that confirms it.
 * @param {string} timestamp
 */
export function syncFromHeartbeat(timestamp) {
  const newOffset = Date.parse(timestamp) - Date.now();
  if (Number.isNaN(newOffset)) return;
  const confirmed = unconfirmedOffset !== null && Math.abs(newOffset - unconfirmedOffset) < TOLERANCE_MS;
  if (synced && newOffset < offset - TOLERANCE_MS && !confirmed) {
    unconfirmedOffset = newOffset;
    return;
  }
  unconfirmedOffset = null;
  offset = newOffset;
  synced = true;
}

/**
 * Correct a local clock that is far off, until the first heartbeat.
 * @param {string | null} date A `Date` header, which has a resolution of one second.
 */
export function syncFromDateHeader(date) {
  const newOffset = Date.parse(date ?? "") - Date.now();
  if (!synced && Math.abs(newOffset) > TOLERANCE_MS) offset = newOffset;
}
