/** Reads which of the loaded candles were revised: their trades changed a while after the bucket had ended. */

import { getJson } from "./api_client.js";
import { isoTime } from "./candles.js";
import { replay } from "./replay.js";
import { Reader, sleep } from "./retry.js";
import { now } from "./service_clock.js";

/** A request has at most so many buckets. */
const MAX_BUCKETS = 10_000;
/** Candles that are replaced at once, by one of the next symbol, need no marks. */
const DELAY_MS = 500;
/** As `/candles/revised` has it. */
const GRACE_MS = 30_000;

export class RevisedMarks {
  #candles;
  #signal;
  #onRead;
  #reader;
  /** Time since which the marks have been read. */
  #since = Infinity;

  /**
   * @param {import("./candles.js").Candles} candles
   * @param {AbortSignal} signal Ends everything.
   * @param {object} callbacks
   * @param {() => void} callbacks.onRead
   * @param {(error: Error) => void} callbacks.onError The read is repeated.
   */
  constructor(candles, signal, { onRead, onError }) {
    this.#candles = candles;
    this.#signal = signal;
    this.#onRead = onRead;
    this.#reader = new Reader(() => this.#read(), onError, signal);
  }

  /** Read the marks again, because events were missed. */
  reload() {
    this.#since = Infinity;
  }

  /** Read the marks of candles that were loaded since. */
  extend() {
    if (!this.#candles.areUtcBuckets) return;
    if (replay) return; // the marks of today would tell what was not known then
    if (this.#oldest < this.#since) this.#reader.request();
  }

  /** Apply a candle event of the stream. @param {any} candle */
  apply({ timestamp, revised }) {
    const time = Date.parse(timestamp);
    const { interval, areUtcBuckets, revised: times } = this.#candles;
    if (revised && areUtcBuckets && now() > time + interval.seconds * 1000 + GRACE_MS) times.add(time / 1000);
  }

  get #oldest() {
    return this.#candles.bars[0]?.time ?? Infinity;
  }

  async #read() {
    await sleep(DELAY_MS, this.#signal);
    const { bars, interval, symbol, revised } = this.#candles;
    const newest = bars.at(-1)?.time ?? -Infinity;
    while (this.#oldest < this.#since && !this.#signal.aborted) {
      const end = Math.min(this.#since, newest + interval.seconds);
      const start = Math.max(this.#oldest, end - MAX_BUCKETS * interval.seconds);
      const range = { start: isoTime(start), end: isoTime(end) };
      const { buckets } = await getJson("/candles/revised", { symbol, interval: interval.name, ...range }, this.#signal);
      for (const { timestamp } of buckets) revised.add(Date.parse(timestamp) / 1000);
      this.#since = start;
      this.#onRead();
    }
  }
}
