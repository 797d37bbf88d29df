/** Candles as points of the chart's series. */

/** @typedef {import("./candles.js").Bar} Bar @typedef {"candles" | "line" | "area"} Style */
/** @typedef {Pick<import("./candles.js").Candles, "interval" | "hours" | "trading">} Buckets */

/** Longest gap drawn without candles. A closed market or a symbol that trades rarely would leave the chart empty. */
const MAX_GAP_SECONDS = 3600;
/** A volume above this multiple of the 95th percentile is cut off, so that it does not flatten the others. */
const MAX_VOLUME_RATIO = 3;
const MAX_SAMPLES = 500;

/**
 * @param {number} previous Time of a candle. @param {number} next Time of the following one. @param {number} length Of the
 * buckets, in seconds.
 * @returns {{time: number}[]} Points without a candle in between, which leave a gap.
 */
export function gap(previous, next, length) {
  const end = Math.min(next, previous + length + MAX_GAP_SECONDS);
  const points = [];
  for (let time = previous + length; time + length <= end; time += length) points.push({ time });
  return points;
}

/** As `gap()`, but closed time leaves none. @param {number} previous @param {number} next @param {Buckets} buckets */
export function openGap(previous, next, { interval, hours, trading }) {
  const length = interval.seconds;
  if (!hours?.known) return gap(previous, next, length);
  const max = Math.floor(MAX_GAP_SECONDS / length);
  return hours.starts(previous, next, length, max, trading.session).map((time) => ({ time }));
}

/**
 * @param {Buckets & {bars: readonly Bar[]}} candles
 * @param {(bar: Bar) => object} toPoint
 */
export function withGaps(candles, toPoint) {
  const { bars, interval } = candles;
  const points = [];
  for (let index = 0; index < bars.length; index++) {
    if (index && bars[index].time > bars[index - 1].time + interval.seconds)
      points.push(...openGap(bars[index - 1].time, bars[index].time, candles));
    points.push(toPoint(bars[index]));
  }
  return points;
}

/**
 * A candle whose close equals its open, such as one of a single trade, is neither rising nor falling.
 * @param {Bar} bar
 * @returns {"up" | "down" | "flat"}
 */
export function trend({ open, close }) {
  return close > open ? "up" : close < open ? "down" : "flat";
}

/** @param {Style} style @param {Record<string, string>} colours @returns {(bar: Bar) => object} */
export function pointOf(style, colours) {
  if (style !== "candles") return ({ time, close }) => ({ time, value: close });
  const { flat } = colours;
  return (bar) => {
    const { time, open, high, low, close } = bar;
    const point = { time, open, high, low, close };
    return trend(bar) === "flat" ? { ...point, color: flat, borderColor: flat, wickColor: flat } : point;
  };
}

/** @param {readonly Bar[]} bars Those that are visible. @returns {number} Top of the volume axis. */
export function maxVolume(bars) {
  const stride = Math.ceil(bars.length / MAX_SAMPLES);
  const samples = bars.filter((_, index) => index % stride === 0).map(({ volume }) => volume);
  samples.sort((a, b) => a - b);
  const limit = MAX_VOLUME_RATIO * (samples[Math.floor(0.95 * (samples.length - 1))] ?? 0);
  let max = 0;
  for (const { volume } of bars) if (volume > max) max = volume;
  return limit > 0 ? Math.min(max, limit) : max;
}
