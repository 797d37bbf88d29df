/** Dark or light: as the system has it, until somebody chooses otherwise. */

const KEY = "market-data.theme";
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

/** @returns {"dark" | "light"} What is shown now. */
export function theme() {
  const chosen = root.dataset.theme;
  return chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";
}

/** Show the other theme. To choose what the system has is to follow the system again. */
export function toggleTheme() {
  const other = theme() === "dark" ? "light" : "dark";
  const follows = other === (system.matches ? "dark" : "light");
  if (follows) delete root.dataset.theme;
  else root.dataset.theme = other;
  try {
    if (follows) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, other);
  } catch {
    // It holds for this page then.
  }
  root.dispatchEvent(new Event("themechange"));
}

/** @param {() => void} changed Called now and whenever the theme changes. */
export function onTheme(changed) {
  root.addEventListener("themechange", changed);
  system.addEventListener("change", changed);
  changed();
}

/**
 * Colours of the style sheet, resolved for the canvas.
 * @param {string[]} names Custom properties, without their dashes.
 * @returns {Record<string, string>}
 */
export function colours(...names) {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const found = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(found);
}
