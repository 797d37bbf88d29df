// A classic script, not a module, because it must set the chosen theme before the first paint.
"use strict";
try {
  const theme = localStorage.getItem("market-data.theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: use the system's theme.
}
