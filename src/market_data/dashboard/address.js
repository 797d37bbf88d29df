/** Symbol and interval in the page's address: it can be shared, and back and forward work. */

/** @returns {{symbol: string | null, interval: string | null}} */
export function asked() {
  const query = new URLSearchParams(location.search);
  return { symbol: query.get("symbol")?.toUpperCase() ?? null, interval: query.get("interval") };
}

/** @param {string} symbol @param {string} interval @param {{replace?: boolean}} [how] */
export function tell(symbol, interval, { replace = false } = {}) {
  const url = `${location.pathname}?${new URLSearchParams({ symbol, interval })}`;
  if (url === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
}

/** @param {() => void} moved Called on back and forward. */
export function onMove(moved) {
  addEventListener("popstate", moved);
}
