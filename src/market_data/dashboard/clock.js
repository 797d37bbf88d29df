/** The service's time: ages are counted by it, for the clock of this machine may be wrong. */

const ROUGH_MS = 2000;

let offset = 0;
let exact = false;

/** @returns {number} Milliseconds since 1970 by the service's clock, as far as it is known. */
export function now() {
  return Date.now() + offset;
}

/** @param {string} timestamp The service's time at this moment, as its heartbeats tell it. */
export function heard(timestamp) {
  const told = Date.parse(timestamp);
  if (Number.isNaN(told)) return;
  offset = told - Date.now();
  exact = true;
}

/** @param {string | null} date A `Date` header: whole seconds, good for nothing but a clock that is far out. */
export function glimpsed(date) {
  const told = Date.parse(date ?? "");
  if (!exact && Math.abs(told - Date.now()) > ROUGH_MS) offset = told - Date.now();
}
