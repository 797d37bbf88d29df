/** The intervals of candles: name, label, words, length in seconds. */

export const INTERVALS = Object.freeze([
  { name: "1m", label: "1m", words: "1 minute", seconds: 60 },
  { name: "5m", label: "5m", words: "5 minutes", seconds: 300 },
  { name: "15m", label: "15m", words: "15 minutes", seconds: 900 },
  { name: "30m", label: "30m", words: "30 minutes", seconds: 1800 },
  { name: "1h", label: "1h", words: "1 hour", seconds: 3600 },
  { name: "4h", label: "4h", words: "4 hours", seconds: 14400 },
  { name: "1d", label: "1D", words: "1 day", seconds: 86400 },
  { name: "1w", label: "1W", words: "1 week", seconds: 604800 },
]);

/** @param {string | null} name */
export function interval(name) {
  return INTERVALS.find((each) => each.name === name);
}
