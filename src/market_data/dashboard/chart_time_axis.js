/** Time axis of the chart in the chosen time zone: days, months and round hours begin in that zone, not in UTC. */

import { defaultHorzScaleBehavior, TickMarkType } from "./lightweight-charts.standalone.production.mjs";
import { zonedDate, zonedIsoText } from "./time_zone.js";

const SECONDS_PER_DAY = 86_400;
/** Weights of the library: ticks with higher ones replace others if there is too little space. */
const [YEAR, MONTH, DAY, SMALLEST] = [70, 60, 50, 0];
/** Round times with their weights, longest first: seconds of their interval. */
const ROUND_TIMES = [
  [43_200, 33],
  [21_600, 32],
  [10_800, 31],
  [3600, 30],
  [1800, 22],
  [300, 21],
  [60, 20],
  [1, 10],
];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** @param {Date} date @param {Date} previous Both from `zonedDate()`. @returns {number} */
function weight(date, previous) {
  if (date.getUTCFullYear() !== previous.getUTCFullYear()) return YEAR;
  if (date.getUTCMonth() !== previous.getUTCMonth()) return MONTH;
  if (date.getUTCDate() !== previous.getUTCDate()) return DAY;
  const [seconds, secondsBefore] = [date.getTime() / 1000, previous.getTime() / 1000];
  const round = ROUND_TIMES.find(([length]) => Math.floor(seconds / length) !== Math.floor(secondsBefore / length));
  return round?.[1] ?? SMALLEST;
}

/** @param {() => number} intervalSeconds Length of the candles shown. */
export function createTimeAxis(intervalSeconds) {
  /** Candles of a day and more are days of UTC. @param {number} seconds */
  const toDate = (seconds) =>
    intervalSeconds() < SECONDS_PER_DAY ? zonedDate(seconds * 1000) : new Date(seconds * 1000);
  class TimeAxis extends defaultHorzScaleBehavior() {
    /** @param {any[]} points Of the axis, whose weights are unknown from `first` on. @param {number} first */
    fillWeightsForPoints(points, first) {
      if (!points.length) return;
      const times = points.map((point) => this.key(point.time));
      const meanStep = (times[times.length - 1] - times[0]) / Math.max(1, times.length - 1);
      let previous = toDate(first > 0 ? times[first - 1] : times[0] - meanStep);
      for (let index = first; index < points.length; index++) {
        const date = toDate(times[index]);
        points[index].timeWeight = weight(date, previous);
        previous = date;
      }
    }

    /** Called before the marks are drawn. @param {any[]} marks */
    maxTickMarkWeight(marks) {
      for (const mark of marks) mark.needAlignCoordinate = true; // moves a label that the edge would clip
      return super.maxTickMarkWeight(marks);
    }
  }
  return new TimeAxis();
}

/** @param {number} seconds @param {number} type @param {boolean} wholeDays @returns {string} Label of a tick. */
export function tickText(seconds, type, wholeDays) {
  const iso = wholeDays ? new Date(seconds * 1000).toISOString() : zonedIsoText(seconds * 1000);
  if (type === TickMarkType.Year) return iso.slice(0, 4);
  if (type === TickMarkType.Month) return MONTHS[Number(iso.slice(5, 7)) - 1];
  if (type === TickMarkType.DayOfMonth) return `${Number(iso.slice(8, 10))} ${MONTHS[Number(iso.slice(5, 7)) - 1]}`;
  return iso.slice(11, 16);
}
