/** Choice of the shown watch list, and the dialog in which lists are created, filled, renamed and deleted. */

import { announce } from "./announcer.js";
import { byId, setText } from "./dom.js";

const choice = /** @type {HTMLSelectElement} */ (byId("list"));
const toggleButton = byId("list-toggle");
const dialog = /** @type {HTMLDialogElement} */ (byId("lists-dialog"));
const items = byId("lists");
const form = byId("new-list");
const newName = /** @type {HTMLInputElement} */ (byId("new-list-name"));
const message = byId("lists-message");

/** @typedef {import("./watch_lists.js").List} List */

export class WatchListsPanel {
  #lists;
  #symbol = "";

  /** @param {import("./watch_lists.js").WatchLists} lists */
  constructor(lists) {
    this.#lists = lists;
    choice.addEventListener("change", () => lists.show(choice.value));
    byId("lists-edit").addEventListener("click", () => this.open());
    toggleButton.addEventListener("click", () => {
      if (lists.shown) this.#toggle(lists.shown);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create();
    });
    this.render();
  }

  /** @param {string} symbol The selected one, which the controls add and remove. */
  set symbol(symbol) {
    if (symbol === this.#symbol) return; // keeps a name that is being typed
    this.#symbol = symbol;
    this.render();
  }

  open() {
    this.#showProblem("");
    if (!dialog.open) dialog.showModal();
  }

  /** Show the lists after a change. */
  render() {
    const { all, shown } = this.#lists;
    choice.replaceChildren(new Option("All symbols", ""), ...all.map(({ name }) => new Option(name, name)));
    choice.value = shown?.name ?? "";
    toggleButton.hidden = !shown || !this.#symbol;
    if (shown) {
      const isListed = shown.symbols.includes(this.#symbol);
      setText(toggleButton, `${isListed ? "Remove" : "Add"} ${this.#symbol} ${isListed ? "from" : "to"} ${shown.name}`);
    }
    const focused = items.contains(document.activeElement) ? document.activeElement?.id : "";
    items.replaceChildren(...all.map((list, index) => this.#createItem(list, index)));
    if (focused) (document.getElementById(focused) ?? newName).focus();
  }

  /** @param {List} list @param {number} index */
  #createItem(list, index) {
    const item = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.id = `list-box-${index}`;
    box.type = "checkbox";
    box.checked = list.symbols.includes(this.#symbol);
    box.setAttribute("aria-label", `${list.name} contains ${this.#symbol}`);
    box.addEventListener("change", () => this.#toggle(list));
    label.append(box, ` ${this.#symbol}`);
    const name = document.createElement("input");
    name.id = `list-name-${index}`;
    name.value = list.name;
    name.maxLength = newName.maxLength;
    name.setAttribute("aria-label", `Name of the list ${list.name}`);
    name.setAttribute("aria-describedby", message.id);
    name.addEventListener("change", () => this.#showProblem(this.#lists.rename(list, name.value), name));
    item.append(name, label, this.#createDeleteButton(list, index));
    return item;
  }

  /** A first click asks, because a deleted list can't be restored. @param {List} list @param {number} index */
  #createDeleteButton(list, index) {
    const button = document.createElement("button");
    button.id = `list-delete-${index}`;
    button.type = "button";
    button.textContent = "Delete";
    button.setAttribute("aria-label", `Delete ${list.name}`);
    button.addEventListener("blur", () => {
      button.textContent = "Delete";
      button.setAttribute("aria-label", `Delete ${list.name}`);
    });
    button.addEventListener("click", () => {
      if (button.textContent === "Really?") {
        this.#lists.delete(list);
        message.textContent = `${list.name} deleted.`;
      } else {
        button.textContent = "Really?";
        button.setAttribute("aria-label", `Really? Delete ${list.name}`);
      }
    });
    return button;
  }

  #create() {
    const name = newName.value;
    const problem = this.#lists.create(name, this.#symbol ? [this.#symbol] : []);
    this.#showProblem(problem, newName);
    if (problem) return;
    newName.value = "";
    message.textContent = `${name.trim()} created with ${this.#symbol}.`;
  }

  /** @param {List} list */
  #toggle(list) {
    this.#lists.toggle(list, this.#symbol);
    const isListed = list.symbols.includes(this.#symbol);
    const text = `${this.#symbol} ${isListed ? "added to" : "removed from"} ${list.name}.`;
    if (dialog.open) message.textContent = text; // the rest of the page is inert
    else announce(text);
  }

  /** @param {string} problem @param {HTMLInputElement} [field] */
  #showProblem(problem, field) {
    message.textContent = problem;
    field?.setAttribute("aria-invalid", String(problem !== ""));
    if (problem) field?.focus();
  }
}
