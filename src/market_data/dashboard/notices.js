/** Lines above the page about what went wrong: one for each subject. */

const place = /** @type {HTMLElement} */ (document.getElementById("notices"));

/** @param {string} subject @param {string} text @param {"problem" | "hint"} [kind] */
export function notice(subject, text, kind = "problem") {
  const shown = find(subject);
  if (shown?.dataset.text === text) return;
  const line = document.createElement("div");
  line.className = `notice ${kind}`;
  line.dataset.subject = subject;
  line.dataset.text = text;
  line.setAttribute("role", kind === "problem" ? "alert" : "status");
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "✕";
  close.addEventListener("click", () => line.remove());
  line.append(words, close);
  if (shown) shown.replaceWith(line);
  else place.append(line);
}

/** @param {string} subject It is all right again. */
export function settle(subject) {
  find(subject)?.remove();
}

/** @param {string} subject @returns {HTMLElement | undefined} */
function find(subject) {
  return /** @type {HTMLElement[]} */ ([...place.children]).find((line) => line.dataset.subject === subject);
}
