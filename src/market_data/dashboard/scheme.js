// Not a module: it runs before the first paint, so that a chosen theme does not flash up in the other one.
"use strict";
try {
  const chosen = localStorage.getItem("market-data.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's theme holds.
}
