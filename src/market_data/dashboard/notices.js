/** Notices above the panels: at most one a subject, such as "prices". */

import { byId } from "./dom.js";

const container = byId("notices");

/** @param {string} subject @param {string} text @param {"problem" | "info"} [kind] */
export function showNotice(subject, text, kind = "problem") {
  const current = findNotice(subject);
  if (current?.dataset.text === text) return; // a second alert would be spoken again
  const notice = document.createElement("div");
  notice.className = `notice ${kind}`;
  notice.dataset.subject = subject;
  notice.dataset.text = text;
  notice.setAttribute("role", kind === "problem" ? "alert" : "status");
  const message = document.createElement("p");
  message.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "✕";
  close.addEventListener("click", () => {
    notice.remove();
    // Not the body, from which the Tab key would begin at the top.
    (container.querySelector("button") ?? byId("chart")).focus();
  });
  notice.append(message, close);
  if (current) current.replaceWith(notice);
  else container.append(notice);
}

/** @param {string} subject */
export function dismissNotice(subject) {
  findNotice(subject)?.remove();
}

/** @param {string} subject @returns {HTMLElement | undefined} */
function findNotice(subject) {
  return /** @type {HTMLElement[]} */ ([...container.children]).find((notice) => notice.dataset.subject === subject);
}
