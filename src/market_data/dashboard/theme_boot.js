// A classic script, not a module, because it must set the chosen theme and colours before the first paint.
"use strict";
try {
  const theme = localStorage.getItem("market-data.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  const trendColours = localStorage.getItem("market-data.trend-colours");
  if (trendColours) document.documentElement.dataset.trendColours = JSON.parse(trendColours);
} catch {
  // Storage is blocked: use the system's theme and the default colours.
}
