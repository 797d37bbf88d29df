/**
 * The service's time, estimated from its messages, and a clock for ages. The local wall clock may be wrong, and may be set at
 * any moment.
 */

const TOLERANCE_MS = 2000;

/** Sum of the times for which `performance.now()` stood still, as it does in some browsers while the machine sleeps. */
let asleep = 0;
let lead = wallLead();
/** Service's time minus `elapsed()`; in a replay, minus the part of it that has passed in virtual time. */
let offset = lead;
/** Virtual time that passes in each unit of time of a replay; 1 on a live page. */
let rate = 1;
let isReplay = false;
/** True after the first heartbeat: heartbeats are more precise than Date headers. */
let synced = false;
/** @type {number | null} Offset of a heartbeat that may have been delayed. */
let unconfirmedOffset = null;

function wallLead() {
  return Date.now() - performance.now();
}

/**
 * Milliseconds that never go back. A wall clock that is set back does not count; one that is set forward looks like a sleep,
 * which makes ages too high, not too low, until the next heartbeat.
 * @returns {number}
 */
export function elapsed() {
  const newLead = wallLead();
  if (newLead - lead > TOLERANCE_MS) asleep += newLead - lead;
  lead = newLead;
  return performance.now() + asleep;
}

/** @returns {number} Milliseconds since 1970: the service's time, or the virtual time of a replay. */
export function now() {
  return elapsed() * rate + offset;
}

/** Set the clock to a virtual time, and let it pass at a speed. @param {number} time @param {number} speed 0 to hold it. */
export function followReplay(time, speed) {
  isReplay = true;
  rate = speed;
  offset = time - elapsed() * rate;
}

/**
 * Set the clock from a heartbeat. A heartbeat that is delivered late, for example after this machine slept, would make data
 * look younger than it is: a large step back needs a second heartbeat that confirms it.
 * @param {string} timestamp
 */
export function syncFromHeartbeat(timestamp) {
  if (isReplay) return;
  const newOffset = Date.parse(timestamp) - elapsed();
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

/** Let the next heartbeat set the clock in any direction: it is the first one of a connection. */
export function trustNextHeartbeat() {
  synced = false;
}

/**
 * Correct a local clock that is far off, until the first heartbeat.
 * @param {string | null} date A `Date` header, which has a resolution of one second.
 */
export function syncFromDateHeader(date) {
  const newOffset = Date.parse(date ?? "") - elapsed();
  if (!isReplay && !synced && Math.abs(newOffset - offset) > TOLERANCE_MS) offset = newOffset;
}
