/** Entry point: holds the selected symbol and interval, and connects the stream with the panels. */

import { announce } from "./announcer.js";
import { explainCandle } from "./candle_explanation.js";
import { CandleView } from "./candle_view.js";
import { Chart } from "./chart.js";
import { choices } from "./chart_choices.js";
import { ChartControls } from "./chart_controls.js";
import { preparePrinting } from "./chart_print.js";
import { bindChartSettings } from "./chart_settings.js";
import { showConnection } from "./connection_status.js";
import { byId } from "./dom.js";
import { dateText, quantityText, timeText } from "./formats.js";
import { Freshness } from "./freshness.js";
import { HeldKey } from "./held_key.js";
import { createIntervalButtons, markInterval } from "./interval_buttons.js";
import { findInterval, INTERVALS } from "./intervals.js";
import { showCandle } from "./legend.js";
import { dismissNotice, showNotice } from "./notices.js";
import { Pace } from "./pace.js";
import { Quote } from "./quote.js";
import { bindReplay } from "./replay_bar.js";
import { retryNow, sleep } from "./retry.js";
import { now, syncFromHeartbeat, trustNextHeartbeat } from "./service_clock.js";
import { bindShortcuts, setTooltip, showShortcuts } from "./shortcuts.js";
import { Snapshots } from "./snapshots.js";
import { Stream } from "./stream.js";
import { SymbolList } from "./symbol_list.js";
import { Tape } from "./tape.js";
import { onThemeChange, otherTheme, toggleTheme } from "./theme.js";
import { onTimeZoneChange } from "./time_zone.js";
import { compareTrades } from "./trade_order.js";
import { onNavigate, readUrl, writeUrl } from "./url_state.js";
import { WatchList } from "./watch_list.js";

/** With more symbols than this, subscribe to the visible ones only. */
const MAX_SYMBOLS_SUBSCRIBED = 60;
/** Debounce of the subscription while the watch list scrolls through many symbols. */
const SUBSCRIBE_DEBOUNCE_MS = 300;
/** Longest wait for the stream before the first reads. What is read after it has opened need not be read twice. */
const MAX_STREAM_WAIT_MS = 1000;
/** Period of reading candles and trades again, in case they were changed without an event. */
const REFRESH_MS = 60_000;
/** Trades of this period are rendered together, which bounds the work at any trade rate. */
const TRADE_BATCH_MS = 40;

/** @typedef {import("./intervals.js").Interval} Interval @typedef {import("./trade_order.js").TradeEvent} TradeEvent */

/** Those that all panels show. */
let symbol = "";
let interval = findInterval(readUrl().interval) ?? INTERVALS[0];
/** Those that the user has chosen; shown already, unless a key is held. */
let chosen = { symbol, interval };
/** @type {CandleView | null} */
let view = null;
let subscribeTimer = 0;
/** @type {TradeEvent[]} Of the selected symbol, not rendered yet. */
const pendingTrades = [];

const heldKey = new HeldKey();
const pace = new Pace();
const freshness = new Freshness(pace);
const tape = new Tape((trades) => {
  observePace(symbol, trades);
  updateFreshness();
});
const chart = new Chart(byId("chart"), {
  onNearOldest: (until) => view?.loadOlder(until),
  onCrosshair: (bar, byKeyboard) => view && showCandle(view.candles, bar ?? view.candles.bars.at(-1), byKeyboard),
  onScroll: (away) => (byId("latest").hidden = !away),
  onChoose: (time) => view && explainCandle(view.candles, time),
});
const snapshots = new Snapshots({ onRead: showSnapshots, onError: showPricesError });
const watchList = new WatchList(snapshots, {
  onSelect: (newSymbol) => select(newSymbol, chosen.interval),
  onVisibleChange: subscribeSoon,
  isStale: (eachSymbol, time) => freshness.isStale(eachSymbol, time),
});
const quote = new Quote(snapshots);
const stream = new Stream({ onEvent: handleEvent, onOpen: handleOpening, onState: showState });
/** @type {(value?: unknown) => void} */
let setStreamOpened;
const streamOpened = new Promise((resolve) => (setStreamOpened = resolve));
const symbolList = new SymbolList(async (symbols) => {
  await Promise.race([streamOpened, sleep(MAX_STREAM_WAIT_MS)]);
  freshness.listings = symbols;
  watchList.listings = symbols;
});

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
  chart.comparison.apply(candle);
  view?.apply(candle);
  if (candle.revised || candle.removed) snapshots.expire(candle.symbol);
}

/** Read a symbol again whose history was loaded or deleted in bulk. @param {{symbol: string, start: string}} range */
function handleReload(range) {
  if (!watchList.listing(range.symbol)) symbolList.read();
  watchList.expire(range.symbol);
  if (range.symbol === choices.compare) chart.comparison.reload();
  if (range.symbol !== symbol) return;
  view?.reload();
  tape.refresh();
}

/** @param {TradeEvent} trade */
function handleTrade(trade) {
  watchList.apply(trade);
  snapshots.apply(trade);
  if (!trade.change) observePace(trade.symbol, [trade]);
  if (!watchList.listing(trade.symbol)) symbolList.read();
  if (trade.symbol !== symbol) return;
  if (!pendingTrades.length) setTimeout(showPendingTrades, TRADE_BATCH_MS);
  pendingTrades.push(trade);
}

function showPendingTrades() {
  tape.apply(pendingTrades.splice(0));
  quote.update(watchList.lastTrade(symbol));
  updateFreshness();
}

/** @param {import("./stream.js").Opening} how */
function handleOpening(how) {
  trustNextHeartbeat();
  setStreamOpened();
  if (how !== "switched") retryNow();
  if (how === "restarted") readAgain();
  else if (how === "switched" && watchList.count > MAX_SYMBOLS_SUBSCRIBED) readSnapshotsAgain(); // of the newly visible symbols
}

/** Read everything shown, because events were missed. */
function readAgain() {
  view?.reload();
  chart.comparison.reload();
  readSnapshotsAgain();
  tape.refresh();
}

/** Read the candles and trades again that may have changed without an event. */
function refresh() {
  if (document.hidden) return;
  view?.refresh();
  chart.comparison.refresh();
  tape.refresh();
}

function readSnapshotsAgain() {
  snapshots.expire();
  watchList.queueRender(); // requests those of the shown symbols
}

/** @param {import("./stream.js").State} state */
function showState(state) {
  showConnection(state);
  freshness.connection = state;
  byId("now").textContent = timeText(now());
  watchList.queueRender();
}

/** Subscribe to the trades of the visible symbols and the candles of the selected interval. */
function subscribe() {
  clearTimeout(subscribeTimer);
  const shown = () => [...new Set([...watchList.shownSymbols, symbol, choices.compare].filter(Boolean))].sort();
  stream.subscribe(watchList.count > MAX_SYMBOLS_SUBSCRIBED ? shown() : null, ["trades", `candles_${interval.name}`]);
}

function subscribeSoon() {
  if (!symbol) return; // showFromUrl() will subscribe
  clearTimeout(subscribeTimer);
  subscribeTimer = setTimeout(subscribe, watchList.count > MAX_SYMBOLS_SUBSCRIBED ? SUBSCRIBE_DEBOUNCE_MS : 0);
}

/** @type {ConstructorParameters<typeof Snapshots>[0]["onRead"]} */
function showSnapshots(symbols, read, events) {
  const before = watchList.lastTrade(symbol);
  watchList.setLastTrades(symbols, read.map(({ latest }) => latest));
  for (const trade of events) watchList.apply(trade); // they may be newer than the response
  for (const { symbol: each, day, previous_day: previousDay } of read)
    pace.estimate(each, (day?.trade_count ?? 0) + (previousDay?.trade_count ?? 0), now());
  const after = watchList.lastTrade(symbol);
  quote.update(after);
  const order = before && after ? compareTrades(after, before) : 0;
  if (before && (!after || order < 0 || (order === 0 && after.price !== before.price))) refresh(); // its event is missing
  updateFreshness();
  dismissNotice("prices");
}

/** @param {Error} error */
function showPricesError(error) {
  showNotice("prices", `Can't read the prices. ${error.message}`);
}

function updateFreshness() {
  const trade = watchList.lastTrade(symbol);
  freshness.update(symbol, trade ? Date.parse(trade.timestamp) : null);
}

/** @param {string} ofSymbol @param {TradeEvent[]} trades */
function observePace(ofSymbol, trades) {
  pace.add(ofSymbol, trades.map(({ timestamp }) => Date.parse(timestamp)));
}

/** Show the symbol and interval of the URL, or the defaults in place of unknown ones. */
function showFromUrl() {
  const rangeChanged = choices.readRangeOfUrl();
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
  heldKey.cancel();
  show(newSymbol, newInterval);
  if (rangeChanged) chart.applyRange(); // the selection may be the same
  writeUrl(symbol, interval.name, { replace: true });
}

/** Handle a choice of the user. @param {string} newSymbol @param {Interval} newInterval */
function select(newSymbol, newInterval) {
  if (newSymbol === chosen.symbol && newInterval === chosen.interval) return;
  dismissNotice("url");
  mark(newSymbol, newInterval);
  heldKey.coalesce(() => {
    show(newSymbol, newInterval);
    writeUrl(newSymbol, newInterval.name);
    announce(`${quote.summary}. Candles of ${newInterval.title}.`);
  });
}

/** Mark a choice in the watch list and among the intervals. @param {string} newSymbol @param {Interval} newInterval */
function mark(newSymbol, newInterval) {
  chosen = { symbol: newSymbol, interval: newInterval };
  watchList.select(newSymbol);
  markInterval(newInterval);
}

/** Show a symbol and interval in all panels at once, and load them. @param {string} newSymbol @param {Interval} newInterval */
function show(newSymbol, newInterval) {
  mark(newSymbol, newInterval);
  const symbolChanged = newSymbol !== symbol;
  if (!symbolChanged && newInterval === interval && view && !view.isOutdated) return;
  [symbol, interval] = [newSymbol, newInterval];
  view?.close();
  view = new CandleView(chart, watchList.listing(symbol) ?? { symbol }, interval, showHistory);
  showCandle(view.candles, undefined);
  byId("history").textContent = "\u00a0";
  subscribe(); // before the requests: the new connection continues after the last event until now
  view.load();
  if (!symbolChanged) return;
  quote.select(watchList.listing(symbol) ?? { symbol, name: "" }, watchList.lastTrade(symbol));
  tape.select(symbol);
  updateFreshness();
}

/** Show the extent of the loaded candles in the footer, and a candle in the legend. */
function showHistory() {
  if (!view) return;
  const { candles } = view;
  const { bars, complete } = candles;
  showCandle(candles, chart.crosshairBar ?? bars.at(-1));
  const since = bars.length ? ` since ${dateText(bars[0].time * 1000)}${complete ? " (complete)" : ""}` : "";
  byId("history").textContent = `${quantityText(bars.length, "candle")} of ${interval.title}${since}`;
}

function bindControls() {
  new ChartControls(chart, {
    selection: () => ({ symbol, interval }),
    selectInterval: (newInterval) => select(chosen.symbol, newInterval),
  });
  bindChartSettings(() => watchList.listings);
  onTimeZoneChange(() => {
    quote.update(watchList.lastTrade(symbol));
    tape.refresh();
    showHistory();
  });
  preparePrinting(chart);
  bindReplay(stream);
  choices.addEventListener("change", () => (view?.isOutdated ? show(symbol, interval) : subscribe()));
  byId("latest").addEventListener("click", () => chart.showLatest());
  byId("theme").addEventListener("click", toggleTheme);
  byId("help").addEventListener("click", showShortcuts);
  onThemeChange(() => {
    const label = `Use the ${otherTheme()} theme`;
    byId("theme").setAttribute("aria-label", label);
    setTooltip(byId("theme"), label);
  });
  bindShortcuts({
    selectInterval: (index) => select(chosen.symbol, INTERVALS[index]),
    stepInterval: (by) =>
      select(chosen.symbol, INTERVALS[INTERVALS.indexOf(chosen.interval) + by] ?? chosen.interval),
    focusSearch: () => watchList.focusSearch(),
    toggleTheme,
    announcePrice: () => announce(quote.summary),
    toggleTape: () => tape.togglePause(),
    showWatchLists: () => watchList.showLists(),
  });
}

createIntervalButtons((newInterval) => select(chosen.symbol, newInterval));
bindControls();
subscribe(); // to all symbols, until it is known how many there are
setInterval(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", refresh);
// Not awaited at the top level, which would delay the load event until the service has responded.
symbolList.read().then(async () => {
  if (!watchList.listing(readUrl().symbol ?? "")) await snapshots.idle(); // the default symbol is one that has a price
  onNavigate(showFromUrl);
  showFromUrl();
});
