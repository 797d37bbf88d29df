/** Symbol and interval in the query string, so that a view can be shared and bookmarked. */

/** @returns {{symbol: string | null, interval: string | null}} */
export function readUrl() {
  const query = new URLSearchParams(location.search);
  return { symbol: query.get("symbol")?.toUpperCase() ?? null, interval: query.get("interval") };
}

/** @param {string} symbol @param {string} interval @param {{replace?: boolean}} [options] */
export function writeUrl(symbol, interval, { replace = false } = {}) {
  const url = `${location.pathname}?${new URLSearchParams({ symbol, interval })}`;
  if (url === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
}

/** @param {() => void} listener Called on back and forward navigation. */
export function onNavigate(listener) {
  addEventListener("popstate", listener);
}
