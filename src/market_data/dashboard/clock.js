/** The service's time: ages are counted by it, for the clock of this machine may be wrong. */

const ROUGH_MS = 2000;

let offset = 0;
let exact = false;
/** @type {number | null} */
let doubted = null;

/** @returns {number} Milliseconds since 1970 by the service's clock, as far as it is known. */
export function now() {
  return Date.now() + offset;
}

/**
 * One that comes late, as after this machine has slept, would make everything look younger than it is: it counts only when
 * the next one confirms it.
 * @param {string} timestamp The service's time at this moment, as its heartbeats tell it.
 */
export function heard(timestamp) {
  const found = Date.parse(timestamp) - Date.now();
  if (Number.isNaN(found)) return;
  const confirmed = doubted !== null && Math.abs(found - doubted) < ROUGH_MS;
  if (exact && found < offset - ROUGH_MS && !confirmed) {
    doubted = found;
    return;
  }
  doubted = null;
  offset = found;
  exact = true;
}

/** @param {string | null} date A `Date` header: whole seconds, good for nothing but a clock that is far out. */
export function glimpsed(date) {
  const told = Date.parse(date ?? "");
  if (!exact && Math.abs(told - Date.now()) > ROUGH_MS) offset = told - Date.now();
}
