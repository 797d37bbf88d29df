/** Technical indicators, computed from loaded candles. Each returns one value per candle, null where it is undefined. */

/** @typedef {import("./candles.js").Bar} Bar @typedef {(number | null)[]} Values */

const SECONDS_PER_DAY = 86_400;

/** Mean of the last `length` closes. @param {readonly Bar[]} bars @param {number} length @returns {Values} */
export function simpleMovingAverage(bars, length) {
  /** @type {Values} */
  const values = new Array(bars.length).fill(null);
  for (let index = length - 1; index < bars.length; index++) {
    let sum = 0; // not a running sum, whose rounding errors would add up
    for (let each = index - length + 1; each <= index; each++) sum += bars[each].close;
    values[index] = sum / length;
  }
  return values;
}

/**
 * Exponential moving average of the closes with the weight 2 / (length + 1); starts with the simple average.
 * @param {readonly Bar[]} bars @param {number} length @returns {Values}
 */
export function exponentialMovingAverage(bars, length) {
  /** @type {Values} */
  const values = new Array(bars.length).fill(null);
  if (bars.length < length) return values;
  let average = bars.slice(0, length).reduce((sum, { close }) => sum + close, 0) / length;
  values[length - 1] = average;
  for (let index = length; index < bars.length; index++) {
    average += (2 / (length + 1)) * (bars[index].close - average);
    values[index] = average;
  }
  return values;
}

/**
 * @param {number} time @param {number} length Of the candles, in seconds.
 * @returns {number} Start of the UTC day; for candles of a day and more, of the year.
 */
export function sessionStart(time, length) {
  if (length < SECONDS_PER_DAY) return time - (time % SECONDS_PER_DAY);
  return Date.UTC(new Date(time * 1000).getUTCFullYear(), 0, 1) / 1000;
}

/**
 * Volume-weighted average price since the start of the session.
 * @param {readonly Bar[]} bars
 * @param {number} length Of the candles, in seconds.
 * @param {boolean} complete False if there may be older candles: the average of the first session is then unknown.
 * @param {(time: number) => number} [startOf] Start of the session of a time.
 * @returns {Values}
 */
export function volumeWeightedAverage(bars, length, complete, startOf = (time) => sessionStart(time, length)) {
  let current = bars.length && !complete ? startOf(bars[0].time) : NaN;
  let known = false;
  let [turnover, volume] = [0, 0];
  return bars.map((bar) => {
    const start = startOf(bar.time);
    if (start !== current) {
      known = true;
      [current, turnover, volume] = [start, 0, 0];
    }
    if (bar.vwap !== null) {
      turnover += bar.vwap * bar.volume;
      volume += bar.volume;
    }
    return known && volume > 0 ? turnover / volume : null;
  });
}

/**
 * Relative strength index with Wilder's smoothing; 50 while the price does not move.
 * @param {readonly Bar[]} bars @param {number} length @returns {Values}
 */
export function relativeStrengthIndex(bars, length) {
  /** @type {Values} */
  const values = new Array(bars.length).fill(null);
  let [gain, loss] = [0, 0];
  for (let index = 1; index < bars.length; index++) {
    const change = bars[index].close - bars[index - 1].close;
    const weight = index <= length ? index : length; // the mean of the first changes, then Wilder's average
    gain += (Math.max(change, 0) - gain) / weight;
    loss += (Math.max(-change, 0) - loss) / weight;
    if (index >= length) values[index] = gain + loss > 0 ? (100 * gain) / (gain + loss) : 50;
  }
  return values;
}
