/** The dashboard: what is shown, and who is told of what happens. */

import { asked, onMove, tell } from "./address.js";
import { announce } from "./announcer.js";
import { Chart } from "./chart.js";
import { heard, now } from "./clock.js";
import { showConnection } from "./connection.js";
import { countText, dateText, timeText } from "./formats.js";
import { Freshness } from "./freshness.js";
import { interval as named, INTERVALS } from "./intervals.js";
import { showCandle } from "./legend.js";
import { notice, settle } from "./notices.js";
import { Quote } from "./quote.js";
import { ask, pause } from "./service.js";
import { listen, showShortcuts } from "./shortcuts.js";
import { Stream } from "./stream.js";
import { Tape } from "./tape.js";
import { onTheme, theme, toggleTheme } from "./theme.js";
import { cast, View } from "./view.js";
import { WatchList } from "./watchlist.js";

/** With more symbols than this, only those in view are listened to. */
const FEW = 60;
/** Who holds an arrow key passes symbols by without loading them. */
const SETTLE_MS = 120;
const RETRY_MS = 3000;
/** Trades are shown together, however many there are a second. */
const TOGETHER_MS = 40;
/** The stream does not tell of imports. */
const READ_AGAIN_MS = 60_000;

const at = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

let symbol = "";
let interval = INTERVALS[0];
/** @type {View | null} */
let view = null;
/** @type {number | undefined} Time of the candle under the crosshair. */
let pointed;
let settling = 0;
let subscribing = 0;
let rereading = 0;
let listing = false;
/** @type {any[]} Trades that are not shown yet. */
const untold = [];
/** Whether there has been a connection before the one that is opened. */
let lost = false;

const freshness = new Freshness();
const tape = new Tape();
const chart = new Chart(at("chart"), {
  nearStart: () => view?.loadOlder(),
  pointed: (bar, byKeyboard) => {
    pointed = bar?.time;
    showCandle(symbol, interval, bar ?? view?.candles.bars.at(-1), byKeyboard);
  },
  scrolled: (away) => (at("latest").hidden = !away),
});
const watchList = new WatchList({
  chosen: (chosen) => choose(chosen, interval),
  seen: subscribe,
  isOld: (time) => freshness.isOld(time),
});
const quote = new Quote((of, open) => watchList.changes.learn(of, open));
const stream = new Stream({ event: take, opened: catchUp, state: showState });

/** What the stream tells. @param {string} name @param {any} data */
function take(name, data) {
  if (name === "trade") trade(data);
  else if (name === "candle") candle(data);
  else if (name === "heartbeat") heard(data.timestamp);
  else if (name === "gap") {
    view?.reload();
    readPrices();
  }
}

/** @param {any} told */
function trade(told) {
  watchList.trade(told);
  if (!watchList.listing(told.symbol)) readListings();
  if (told.symbol !== symbol) return;
  if (!untold.length) setTimeout(showTrades, TOGETHER_MS);
  untold.push(told);
}

/** Show what has been traded of the symbol since the last time. */
function showTrades() {
  const trades = untold.splice(0).filter((each) => each.symbol === symbol);
  tape.add(trades);
  quote.add(trades);
  showAge();
}

/** @param {any} told */
function candle(told) {
  if (told.symbol === symbol && told.interval === interval.name) view?.put(told);
}

/** There is a connection, and what was missed before it is to be read. @param {import("./stream.js").Opening} how */
function catchUp(how) {
  if (how === "anew" && lost) view?.reload();
  else view?.sync();
  if (how === "switched") {
    if (watchList.count > FEW) readPrices(); // of those that have come into view
    return;
  }
  readPrices();
  tape.read();
  freshness.ask();
  quote.readDay();
}

/** @param {import("./stream.js").State} state */
function showState(state) {
  if (state.kind !== "live") lost = state.heard > 0;
  showConnection(state);
  freshness.connection = state;
  at("now").textContent = timeText(now());
  watchList.refresh();
}

/** @returns {string[]} The symbols that somebody may be looking at. */
function inView() {
  return [...new Set([symbol, ...watchList.seen])].sort();
}

/** Listen to what is shown. */
function subscribe() {
  clearTimeout(subscribing);
  const wait = watchList.count > FEW ? 300 : 0;
  subscribing = setTimeout(() => {
    stream.subscribe(watchList.count > FEW ? inView() : null, symbol ? ["trades", `candles_${interval.name}`] : ["trades"]);
  }, wait);
}

/** The newest price of each symbol; of those in view only, where there are many and all have been read before. */
async function readPrices() {
  const known = watchList.count > FEW && watchList.newest(symbol);
  try {
    const { prices } = await ask("/prices/latest", known ? { symbols: inView().join() } : {});
    for (const price of prices) if (watchList.trade(price) && price.symbol === symbol) quote.add([price]);
    showAge();
    settle("prices");
  } catch (error) {
    notice("prices", `Can't read the prices. ${/** @type {Error} */ (error).message}`);
    // Without a connection they are read when there is one again.
    clearTimeout(rereading);
    if (stream.state.kind === "live") rereading = setTimeout(readPrices, RETRY_MS);
  }
}

/** The symbols. While there are none, or no answer, ask again. */
async function readListings() {
  if (listing) return;
  listing = true;
  for (;;) {
    try {
      const { symbols } = await ask("/symbols");
      settle("symbols");
      watchList.listings = symbols;
      if (symbols.length) break;
      cast("empty", "No symbols yet. They appear with the first trades.");
      subscribe();
    } catch (error) {
      notice("symbols", `Can't read the symbols. ${/** @type {Error} */ (error).message}`);
    }
    await pause(RETRY_MS);
  }
  listing = false;
}

function showAge() {
  const newest = watchList.newest(symbol);
  freshness.trade = newest ? Date.parse(newest.timestamp) : null;
}

/** Show what the address asks for, as far as there is such a thing. */
function follow() {
  const wanted = asked();
  const first = watchList.first;
  const known = wanted.symbol !== null && watchList.listing(wanted.symbol);
  const chosen = known ? /** @type {string} */ (wanted.symbol) : first;
  const length = named(wanted.interval) ?? INTERVALS[0];
  const unknown = [];
  if (wanted.symbol && !known) unknown.push(`There is no symbol ${wanted.symbol}; this is ${chosen}.`);
  if (wanted.interval && length.name !== wanted.interval)
    unknown.push(`There is no interval ${wanted.interval}; this is ${length.words}.`);
  if (unknown.length) notice("address", unknown.join(" "), "hint");
  else settle("address");
  show(chosen, length);
  tell(symbol, interval.name, { replace: true });
}

/** Somebody has chosen. @param {string} chosen @param {typeof interval} length */
function choose(chosen, length) {
  if (chosen === symbol && length === interval) return;
  settle("address");
  mark(chosen, length);
  clearTimeout(settling);
  settling = setTimeout(() => {
    show(chosen, length);
    tell(chosen, length.name);
    announce(`${quote.sentence}. Candles of ${length.words}.`);
  }, SETTLE_MS);
}

/** Mark what is chosen. @param {string} chosen @param {typeof interval} length */
function mark(chosen, length) {
  if (chosen !== symbol) {
    symbol = chosen;
    const title = watchList.listing(chosen) ?? { symbol: chosen, name: "" };
    quote.open(title, watchList.newest(chosen));
    showAge();
  }
  interval = length;
  watchList.select(chosen);
  for (const button of at("intervals").children)
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.interval === length.name));
}

/** @param {string} chosen @param {typeof interval} length */
function show(chosen, length) {
  const other = chosen !== view?.candles.symbol;
  mark(chosen, length);
  if (!other && view?.candles.interval === length) return;
  view?.leave();
  view = new View(chart, chosen, length, () => showHistory());
  showCandle(chosen, length, undefined);
  view.load();
  if (other) tape.open(chosen);
  subscribe();
}

/** What is loaded, and the newest candle. */
function showHistory() {
  const { candles } = /** @type {View} */ (view);
  const { bars, complete } = candles;
  showCandle(symbol, interval, pointed === undefined ? bars.at(-1) : bars[candles.index(pointed)]);
  const since = bars.length ? ` since ${dateText(bars[0].time * 1000)}${complete ? ", all there are" : ""}` : "";
  const candlesText = `${countText(bars.length)} ${bars.length === 1 ? "candle" : "candles"}`;
  at("history").textContent = `${candlesText} of ${interval.words}${since}`;
}

function makeIntervals() {
  INTERVALS.forEach((each, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.interval = each.name;
    button.setAttribute("aria-label", each.words);
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-keyshortcuts", String(index + 1));
    button.title = `${each.words} (${index + 1})`;
    button.textContent = each.label;
    button.addEventListener("click", () => choose(symbol, each));
    at("intervals").append(button);
  });
}

function makeControls() {
  at("latest").addEventListener("click", () => chart.showLatest());
  at("theme").addEventListener("click", toggleTheme);
  at("help").addEventListener("click", showShortcuts);
  onTheme(() => {
    const other = theme() === "dark" ? "light" : "dark";
    at("theme").setAttribute("aria-label", `Use the ${other} theme`);
    at("theme").title = `Use the ${other} theme (t)`;
  });
  listen({
    interval: (index) => choose(symbol, INTERVALS[index]),
    step: (by) => choose(symbol, INTERVALS[INTERVALS.indexOf(interval) + by] ?? interval),
    find: () => WatchList.focusSearch(),
    theme: toggleTheme,
    speak: () => announce(quote.sentence),
  });
}

makeIntervals();
makeControls();
setInterval(() => {
  if (document.hidden || stream.state.kind !== "live") return;
  readPrices();
  view?.sync();
}, READ_AGAIN_MS);
// Not awaited: the page counts as loaded before the service has answered.
Promise.all([readListings(), readPrices()]).then(() => {
  onMove(follow);
  follow();
});
