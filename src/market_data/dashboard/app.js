/** Entry point: holds the selected symbol and interval, and connects the stream with the panels. */

import { announce } from "./announcer.js";
import { delayed, getJson, sleep } from "./api_client.js";
import { CandleView } from "./candle_view.js";
import { Chart } from "./chart.js";
import { showOverlay } from "./chart_overlay.js";
import { showConnection } from "./connection_status.js";
import { byId } from "./dom.js";
import { countText, dateText, timeText } from "./formats.js";
import { Freshness } from "./freshness.js";
import { findInterval, INTERVALS } from "./intervals.js";
import { showCandle } from "./legend.js";
import { dismissNotice, showNotice } from "./notices.js";
import { Quote } from "./quote.js";
import { now, syncFromHeartbeat } from "./service_clock.js";
import { bindShortcuts, showShortcuts } from "./shortcuts.js";
import { Stream } from "./stream.js";
import { Tape } from "./tape.js";
import { onThemeChange, otherTheme, toggleTheme } from "./theme.js";
import { onNavigate, readUrl, writeUrl } from "./url_state.js";
import { WatchList } from "./watch_list.js";

/** With more symbols than this, subscribe to the visible ones only. */
const MAX_SYMBOLS_SUBSCRIBED = 60;
/** Debounce of the subscription while the watch list scrolls through many symbols. */
const SUBSCRIBE_DEBOUNCE_MS = 300;
/** Debounce of the selection: a held arrow key skips symbols without loading their candles. */
const SELECT_DEBOUNCE_MS = 120;
const RETRY_MS = 3000;
/** Trades of this period are rendered together, which bounds the work at any trade rate. */
const TRADE_BATCH_MS = 40;
/** Debounce of reading prices again: an import ends with an event for each of its symbols. */
const PRICES_DELAY_MS = 200;

/** @typedef {import("./intervals.js").Interval} Interval @typedef {import("./trade_order.js").TradeEvent} TradeEvent */

let symbol = "";
let interval = INTERVALS[0];
/** @type {CandleView | null} */
let view = null;
/** @type {number | undefined} Time of the candle under the crosshair. */
let crosshairTime;
let selectTimer = 0;
let subscribeTimer = 0;
let pricesTimer = 0;
let readingSymbols = false;
/** @type {TradeEvent[]} Of the selected symbol, not rendered yet. */
const pendingTrades = [];
/** @type {TradeEvent[] | null} Since the start of the last request of prices, until its response. */
let tradesSinceRequest = null;

const freshness = new Freshness();
const tape = new Tape();
const chart = new Chart(byId("chart"), {
  onNearOldest: () => view?.loadOlder(),
  onCrosshair: (bar, byKeyboard) => {
    crosshairTime = bar?.time;
    showCandle(symbol, interval, bar ?? view?.candles.bars.at(-1), byKeyboard);
  },
  onScroll: (away) => (byId("latest").hidden = !away),
});
const watchList = new WatchList({
  onSelect: (newSymbol) => select(newSymbol, interval),
  onVisibleChange: subscribeSoon,
  isStale: (time) => freshness.isStale(time),
});
const quote = new Quote((ofSymbol, candle) => watchList.dayChanges.setOpen(ofSymbol, candle));
const stream = new Stream({ onEvent: handleEvent, onOpen: handleOpening, onState: showState });
const readPricesSoon = delayed(readPrices, PRICES_DELAY_MS);

/** @param {string} name @param {any} data */
function handleEvent(name, data) {
  if (name === "trade") handleTrade(data);
  else if (name === "candle") handleCandle(data);
  else if (name === "reload") handleReload(data);
  else if (name === "heartbeat") syncFromHeartbeat(data.timestamp);
  else if (name === "gap") readAgain();
}

/** @param {any} candle */
function handleCandle(candle) {
  if (candle.symbol !== symbol) return;
  if (candle.interval === interval.name) view?.apply(candle);
  if (candle.revised || candle.removed) quote.refreshDaySoon();
}

/** Read a symbol again whose history was loaded or deleted in bulk. @param {{symbol: string, start: string}} range */
function handleReload(range) {
  if (!watchList.listing(range.symbol)) readSymbols();
  watchList.dayChanges.expire(range.symbol, range.start);
  readPricesSoon();
  if (range.symbol !== symbol) return;
  view?.reload();
  tape.refresh();
  quote.refreshDaySoon();
}

/** @param {TradeEvent} trade */
function handleTrade(trade) {
  watchList.apply(trade);
  tradesSinceRequest?.push(trade);
  if (!watchList.listing(trade.symbol)) readSymbols();
  if (trade.symbol !== symbol) return;
  if (!pendingTrades.length) setTimeout(showPendingTrades, TRADE_BATCH_MS);
  pendingTrades.push(trade);
}

function showPendingTrades() {
  const trades = pendingTrades.splice(0).filter((trade) => trade.symbol === symbol); // the selection may have changed
  tape.apply(trades);
  quote.update(watchList.lastTrade(symbol), trades);
  updateFreshness();
}

/** @param {import("./stream.js").Opening} how */
function handleOpening(how) {
  if (how === "restarted") readAgain();
  else if (how === "switched" && watchList.count > MAX_SYMBOLS_SUBSCRIBED) readPrices(); // of the newly visible symbols
}

/** Read everything shown, because events were missed. */
function readAgain() {
  view?.reload();
  readPrices();
  tape.refresh();
  freshness.readStatus();
  quote.refreshDay();
}

/** @param {import("./stream.js").State} state */
function showState(state) {
  showConnection(state);
  freshness.connection = state;
  byId("now").textContent = timeText(now());
  watchList.queueRender();
}

/** @returns {string[]} Selected and visible symbols. */
function visibleSymbols() {
  return [...new Set([symbol, ...watchList.visibleSymbols])].sort();
}

/** Subscribe to the trades of the visible symbols and the candles of the selected interval. */
function subscribe() {
  clearTimeout(subscribeTimer);
  const symbols = watchList.count > MAX_SYMBOLS_SUBSCRIBED ? visibleSymbols() : null;
  stream.subscribe(symbols, symbol ? ["trades", `candles_${interval.name}`] : ["trades"]);
}

function subscribeSoon() {
  clearTimeout(subscribeTimer);
  subscribeTimer = setTimeout(subscribe, watchList.count > MAX_SYMBOLS_SUBSCRIBED ? SUBSCRIBE_DEBOUNCE_MS : 0);
}

/** Read the latest prices: of all symbols the first time, later of the visible ones if there are many. */
async function readPrices() {
  const symbols = watchList.count > MAX_SYMBOLS_SUBSCRIBED && watchList.lastTrade(symbol) ? visibleSymbols() : null;
  /** @type {TradeEvent[]} */
  const events = [];
  tradesSinceRequest = events;
  try {
    const { prices } = await getJson("/prices/latest", symbols ? { symbols: symbols.join() } : {});
    if (events !== tradesSinceRequest) return; // there is a later request
    watchList.setLastTrades(prices, symbols);
    for (const trade of events) watchList.apply(trade); // they may be newer than the response
    quote.update(watchList.lastTrade(symbol), []);
    updateFreshness();
    dismissNotice("prices");
  } catch (error) {
    showNotice("prices", `Can't read the prices. ${/** @type {Error} */ (error).message}`);
    clearTimeout(pricesTimer);
    // Without a connection, handleOpening() reads them when there is one again.
    if (stream.state.kind === "live") pricesTimer = setTimeout(readPrices, RETRY_MS);
  } finally {
    if (events === tradesSinceRequest) tradesSinceRequest = null;
  }
}

/** Read the symbols; retry until there is at least one. */
async function readSymbols() {
  if (readingSymbols) return;
  readingSymbols = true;
  for (;;) {
    try {
      const { symbols } = await getJson("/symbols");
      dismissNotice("symbols");
      watchList.listings = symbols;
      if (symbols.length) break;
      showOverlay("empty", "No symbols yet. They appear with the first trades.");
      subscribe();
    } catch (error) {
      showNotice("symbols", `Can't read the symbols. ${/** @type {Error} */ (error).message}`);
    }
    await sleep(RETRY_MS);
  }
  readingSymbols = false;
}

function updateFreshness() {
  const trade = watchList.lastTrade(symbol);
  freshness.lastTradeAt = trade ? Date.parse(trade.timestamp) : null;
}

/** Show the symbol and interval of the URL, or the defaults in place of unknown ones. */
function showFromUrl() {
  const requested = readUrl();
  const knownSymbol = requested.symbol && watchList.listing(requested.symbol)?.symbol;
  const knownInterval = findInterval(requested.interval);
  const newSymbol = knownSymbol || watchList.defaultSymbol;
  const newInterval = knownInterval ?? INTERVALS[0];
  const problems = [];
  if (requested.symbol && !knownSymbol) problems.push(`Unknown symbol ${requested.symbol}: showing ${newSymbol}.`);
  if (requested.interval && !knownInterval)
    problems.push(`Unknown interval ${requested.interval}: showing ${newInterval.title}.`);
  if (problems.length) showNotice("url", problems.join(" "), "info");
  else dismissNotice("url");
  show(newSymbol, newInterval);
  writeUrl(symbol, interval.name, { replace: true });
}

/**
 * Handle a choice of the user: mark it at once, load it after the debounce.
 * @param {string} newSymbol
 * @param {Interval} newInterval
 */
function select(newSymbol, newInterval) {
  if (newSymbol === symbol && newInterval === interval) return;
  dismissNotice("url");
  mark(newSymbol, newInterval);
  clearTimeout(selectTimer);
  selectTimer = setTimeout(() => {
    show(newSymbol, newInterval);
    writeUrl(newSymbol, newInterval.name);
    announce(`${quote.summary}. Candles of ${newInterval.title}.`);
  }, SELECT_DEBOUNCE_MS);
}

/** Mark the selection and show its quote. @param {string} newSymbol @param {Interval} newInterval */
function mark(newSymbol, newInterval) {
  if (newSymbol !== symbol) {
    symbol = newSymbol;
    quote.select(watchList.listing(newSymbol) ?? { symbol: newSymbol, name: "" }, watchList.lastTrade(newSymbol));
    updateFreshness();
  }
  interval = newInterval;
  watchList.select(newSymbol);
  for (const button of byId("intervals").children)
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.interval === newInterval.name));
}

/** Mark the selection and load its candles and trades. @param {string} newSymbol @param {Interval} newInterval */
function show(newSymbol, newInterval) {
  const symbolChanged = newSymbol !== view?.candles.symbol;
  mark(newSymbol, newInterval);
  if (!symbolChanged && view?.candles.interval === newInterval) return;
  view?.close();
  view = new CandleView(chart, newSymbol, newInterval, showHistory);
  showCandle(newSymbol, newInterval, undefined);
  subscribe(); // before the requests: the new connection continues after the last event until now
  view.load();
  if (symbolChanged) tape.select(newSymbol);
}

/** Show the extent of the loaded candles in the footer, and a candle in the legend. */
function showHistory() {
  const { candles } = /** @type {CandleView} */ (view);
  const { bars, complete } = candles;
  showCandle(symbol, interval, crosshairTime === undefined ? bars.at(-1) : bars[candles.indexAt(crosshairTime)]);
  const since = bars.length ? ` since ${dateText(bars[0].time * 1000)}${complete ? " (complete)" : ""}` : "";
  const count = `${countText(bars.length)} ${bars.length === 1 ? "candle" : "candles"}`;
  byId("history").textContent = `${count} of ${interval.title}${since}`;
}

function createIntervalButtons() {
  INTERVALS.forEach((each, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.interval = each.name;
    button.setAttribute("aria-label", each.title);
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-keyshortcuts", String(index + 1));
    button.title = `${each.title} (${index + 1})`;
    button.textContent = each.label;
    button.addEventListener("click", () => select(symbol, each));
    byId("intervals").append(button);
  });
}

function bindControls() {
  byId("latest").addEventListener("click", () => chart.showLatest());
  byId("theme").addEventListener("click", toggleTheme);
  byId("help").addEventListener("click", showShortcuts);
  onThemeChange(() => {
    const label = `Use the ${otherTheme()} theme`;
    byId("theme").setAttribute("aria-label", label);
    byId("theme").title = `${label} (t)`;
  });
  bindShortcuts({
    selectInterval: (index) => select(symbol, INTERVALS[index]),
    stepInterval: (by) => select(symbol, INTERVALS[INTERVALS.indexOf(interval) + by] ?? interval),
    focusSearch: WatchList.focusSearch,
    toggleTheme,
    announcePrice: () => announce(quote.summary),
  });
}

createIntervalButtons();
bindControls();
// Not awaited at the top level, which would delay the load event until the service has responded.
Promise.all([readSymbols(), readPrices()]).then(() => {
  onNavigate(showFromUrl);
  showFromUrl();
});
