/** Dark and light theme: the system's, until the user toggles it. */

const STORAGE_KEY = "market-data.theme";
const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");

/** @returns {"dark" | "light"} */
function systemTheme() {
  return systemDark.matches ? "dark" : "light";
}

/** @returns {"dark" | "light"} */
function currentTheme() {
  const chosen = root.dataset.theme;
  return chosen === "dark" || chosen === "light" ? chosen : systemTheme();
}

/** @returns {"dark" | "light"} */
export function otherTheme() {
  return currentTheme() === "dark" ? "light" : "dark";
}

/** Switch the theme. Switching back to the system's theme removes the override. */
export function toggleTheme() {
  const theme = otherTheme();
  const followsSystem = theme === systemTheme();
  if (followsSystem) delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (followsSystem) localStorage.removeItem(STORAGE_KEY);
    else localStorage.setItem(STORAGE_KEY, theme);
  } catch {
    // Storage is blocked: the choice lasts until the page is closed.
  }
  root.dispatchEvent(new Event("themechange"));
}

/** @param {() => void} listener Called immediately and after every theme change. */
export function onThemeChange(listener) {
  root.addEventListener("themechange", listener);
  systemDark.addEventListener("change", listener);
  listener();
}

/**
 * Resolve colours of the style sheet for the canvas, which does not know custom properties.
 * @param {string[]} names Custom properties, without the leading dashes.
 * @returns {Record<string, string>}
 */
export function colours(...names) {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const resolved = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(resolved);
}
