/** Subscriptions to `/stream`, and the order of its events. */

/**
 * @typedef {{symbols: string[] | null, channels: string[]}} Subscription Null for all symbols.
 * @typedef {import("./sse_reader.js").Message} Message
 */

/** Longer queries subscribe to all symbols: servers and proxies limit the length of URLs. */
const MAX_QUERY_LENGTH = 4000;

/** @param {Subscription[]} subscriptions @returns {Subscription} One that contains all of them. */
export function union(subscriptions) {
  const isLimited = subscriptions.every(({ symbols }) => symbols);
  const symbols = new Set(subscriptions.flatMap((each) => each.symbols ?? []));
  const channels = new Set(subscriptions.flatMap((each) => each.channels));
  return { symbols: isLimited ? [...symbols].sort() : null, channels: [...channels].sort() };
}

/** @param {Subscription} subscription @param {Subscription} part @returns {boolean} */
export function contains({ symbols, channels }, part) {
  const hasSymbols = !symbols || (part.symbols?.every((symbol) => symbols.includes(symbol)) ?? false);
  return hasSymbols && part.channels.every((channel) => channels.includes(channel));
}

/** @param {Subscription} subscription @param {Message} message @returns {boolean} True if the service would send it. */
export function includes({ symbols, channels }, { name, data }) {
  if (!["trade", "candle", "reload"].includes(name)) return true;
  const { symbol, interval } = JSON.parse(data);
  if (symbols && !symbols.includes(symbol)) return false;
  return name === "reload" || channels.includes(name === "trade" ? "trades" : `candles_${interval}`);
}

/** @param {Subscription} subscription @param {string} after Id of an event; empty for new events only. @returns {string} */
export function streamQuery({ symbols, channels }, after) {
  const query = new URLSearchParams(symbols ? { symbols: symbols.join(",") } : {});
  if (query.toString().length > MAX_QUERY_LENGTH) query.delete("symbols");
  query.set("channels", channels.join(","));
  if (after) query.set("last_event_id", after);
  return query.toString();
}

/**
 * Compare the ids of two events: three numbers, which follow the order of commits.
 * @param {string} a
 * @param {string} b
 * @returns {number} Negative if the first one is earlier. An empty id is earlier than any.
 */
export function compareIds(a, b) {
  const [first, second] = [a, b].map((id) => (id ? id.split("-").map(Number) : []));
  for (let index = 0; index < 3; index++) {
    const difference = (first[index] ?? -1) - (second[index] ?? -1);
    if (difference) return difference;
  }
  return 0;
}
