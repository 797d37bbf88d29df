/** Symbol, interval and the chart's choices in the query string, so that a view can be shared and bookmarked. */

/** @type {Record<string, string>} Further parameters, without those that have their default. */
let chartParameters = {};

/** @returns {{symbol: string | null, interval: string | null}} */
export function readUrl() {
  const query = new URLSearchParams(location.search);
  return { symbol: query.get("symbol")?.toUpperCase() ?? null, interval: query.get("interval") };
}

/** @param {string} name @returns {string | null} */
export function readChartParameter(name) {
  return new URLSearchParams(location.search).get(name);
}

/** @param {string} symbol @param {string} interval @param {{replace?: boolean}} [options] */
export function writeUrl(symbol, interval, { replace = false } = {}) {
  write({ symbol, interval }, replace);
}

/**
 * Replace the parameters of the chart. The next `writeUrl()` writes them.
 * @param {Record<string, string>} parameters
 * @param {{write?: boolean}} [options] True to write them at once.
 */
export function setChartParameters(parameters, { write: now = true } = {}) {
  chartParameters = parameters;
  const { symbol, interval } = readUrl();
  if (now && symbol && interval) write({ symbol, interval }, true);
}

/** @param {Record<string, string>} selection @param {boolean} replace */
function write(selection, replace) {
  const replay = new URLSearchParams(location.search).get("replay");
  const query = new URLSearchParams({ ...selection, ...chartParameters, ...(replay && { replay }) });
  const url = `${location.pathname}?${query}`;
  if (url === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
}

/** @param {() => void} listener Called on back and forward navigation. */
export function onNavigate(listener) {
  addEventListener("popstate", listener);
}
