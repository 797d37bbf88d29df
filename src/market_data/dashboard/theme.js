/** Dark and light theme: the system's, until the user toggles it. */

const STORAGE_KEY = "market-data.theme";
const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const forcedColours = matchMedia("(forced-colors: active)");

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
  forcedColours.addEventListener("change", listener);
  listener();
}

const pixel = /** @type {OffscreenCanvasRenderingContext2D} */ (
  new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true })
);

/** @param {string} colour In any notation of CSS. */
function toRgb(colour) {
  pixel.clearRect(0, 0, 1, 1);
  pixel.fillStyle = colour;
  pixel.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
  return `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`;
}

/**
 * Resolve colours of the style sheet for the canvas, which does not know custom properties.
 * @param {string[]} names Custom properties, without the leading dashes.
 * @param {"dark" | "light"} [theme] Instead of the current one.
 * @returns {Record<string, string>} As `rgba()`: the chart library parses no other notation of mixed colours.
 */
export function colours(names, theme) {
  const probe = document.createElement("span");
  probe.hidden = true;
  // With forced colours, the browser would replace each colour by that of text.
  probe.style.setProperty("forced-color-adjust", "none");
  if (theme) probe.style.colorScheme = theme;
  document.body.append(probe);
  const resolved = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, toRgb(getComputedStyle(probe).color)];
  });
  probe.remove();
  return Object.fromEntries(resolved);
}
