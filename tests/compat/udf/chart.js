/* The requests of TradingView's adapter at its start, and a chart of their answers. */

/* The adapter reads the text of an answer as JSON, whatever its status and its media type. */
async function request(url) {
  return JSON.parse(await (await fetch(url)).text());
}

async function drawChart(base, symbol, resolution) {
  const config = await request(`${base}/config`);
  if (!config.supports_search && !config.supports_group_request) throw new Error("the adapter refuses this configuration");
  const info = await request(`${base}/symbols?symbol=${encodeURIComponent(symbol)}`);
  const now = Number(await request(`${base}/time`));
  const query = `symbol=${info.ticker}&resolution=${resolution}&from=${now - 3600}&to=${now}&countback=300`;
  const history = await request(`${base}/history?${query}`);
  if (history.s !== "ok") throw new Error(history.errmsg ?? history.s);
  const chart = LightweightCharts.createChart("chart", { autoSize: true });
  const series = chart.addSeries(LightweightCharts.CandlestickSeries, { upColor: "#00aa00", downColor: "#cc0000" });
  series.setData(
    history.t.map((time, at) => ({
      time,
      open: history.o[at],
      high: history.h[at],
      low: history.l[at],
      close: history.c[at],
    })),
  );
  series.applyOptions({ priceFormat: { type: "price", minMove: info.minmov / info.pricescale } });
  chart.timeScale().fitContent();
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const unknown = await request(`${base}/symbols?symbol=NOPE`);
  return { name: info.name, bars: series.data().length, unknown: unknown.errmsg };
}

/* Pixels of all canvases that are clearly green, red, or the wicks between. */
function countColoredPixels() {
  let count = 0;
  for (const canvas of document.querySelectorAll("canvas")) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] > 200 && Math.abs(data[at] - data[at + 1]) > 60) count += 1;
    }
  }
  return count;
}
