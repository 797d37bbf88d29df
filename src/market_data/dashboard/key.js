/**
 * The key of whoever looks at the page, where the service wants one.
 *
 * It is kept for as long as the tab is there, and nowhere else. With another key the page is loaded anew: whatever was asked
 * for in vain is simply asked for again.
 */

const NAME = "market-data-key";
const FORM = /^md_[0-9a-f]{8}_[\w-]{43}$/;

const at = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const dialog = /** @type {HTMLDialogElement} */ (at("login"));
const field = /** @type {HTMLInputElement} */ (at("key"));
const button = /** @type {HTMLButtonElement} */ (at("enter"));

/** What is sent along with each request. @param {string | null} [key] @returns {Record<string, string>} */
export function credentials(key = sessionStorage.getItem(NAME)) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Whether nothing can be read until somebody has given a key. */
export const locked = () => dialog.open;

/** Ask for a key, for the service has refused what it was given. @returns {Promise<never>} The page is loaded anew. */
export function unlock() {
  if (!locked()) ask();
  return new Promise(() => {});
}

async function ask() {
  const had = sessionStorage.getItem(NAME) !== null;
  sessionStorage.removeItem(NAME);
  dialog.showModal();
  // A key that does not hold is refused even where none is needed.
  if (had && (await refusal(null)) === "") location.reload();
  else if (had) complain("Your key is not valid any more.");
}

/** Why the service refuses a key; nothing where it does not. @param {string | null} key */
async function refusal(key) {
  try {
    const answer = await fetch("/symbols", { headers: { Accept: "application/json", ...credentials(key ?? "") } });
    if (answer.ok) return "";
    return answer.status === 401 ? "The service does not know this key, or it is not valid any more." : await detail(answer);
  } catch {
    return "The service can't be reached.";
  }
}

/** @param {Response} answer */
async function detail(answer) {
  const body = await answer.json().catch(() => ({}));
  return body.detail ?? `The service answered ${answer.status}.`;
}

/** @param {string} text */
function complain(text) {
  at("key-problem").textContent = text;
  field.setAttribute("aria-invalid", String(text !== ""));
}

async function enter() {
  const key = field.value.trim();
  let problem = "This is no key: one begins with md_ and has 55 characters.";
  if (FORM.test(key)) {
    button.disabled = true;
    problem = await refusal(key);
    button.disabled = false;
  }
  complain(problem);
  if (problem) {
    field.select();
    field.focus();
    return;
  }
  sessionStorage.setItem(NAME, key);
  location.reload();
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  enter();
});
// There is nothing behind it to go back to.
dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("close", () => dialog.showModal());
