/** Keeps the rows of a table in step with a list, without touching what is the same: focus and selection stay. */

import { make, put } from "./dom.js";

// Said again in ARIA, because what a style sheet displays as blocks is no table to every browser.
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell", CAPTION: "caption" };

/**
 * `show` has for each column a function from a row to its content: text, a node, or a list of both. `key` tells rows
 * apart. A press on something with `data-do` calls the function of this name in `actions` with the row.
 */
export class Table {
  constructor(id, { key, show, actions = {}, head = null }) {
    this.table = document.getElementById(id);
    this.body = this.table.tBodies[0];
    this.empty = this.table.parentElement.querySelector(".empty");
    this.key = key;
    this.show = show;
    this.columns = [...this.table.querySelectorAll("[data-column]")].map((cell) => ({
      name: cell.dataset.column,
      label: cell.textContent,
      style: cell.className,
      needs: cell.dataset.needs,
      isHead: cell.dataset.column === head,
    }));
    this.rows = new Map();
    for (const node of [this.table, ...this.table.querySelectorAll("*")]) {
      if (ROLES[node.tagName]) node.setAttribute("role", ROLES[node.tagName]);
      else if (node.tagName === "TH") node.setAttribute("role", "columnheader");
    }
    this.body.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-do]");
      const row = pressed && this.rows.get(pressed.closest("tr"));
      if (row) actions[pressed.dataset.do](row, pressed);
    });
  }

  /** Show these rows, in this order. */
  update(items) {
    const before = new Map([...this.rows].map(([node, row]) => [String(this.key(row)), node]));
    this.rows = new Map();
    let place = this.body.firstElementChild;
    for (const item of items) {
      const known = before.get(String(this.key(item)));
      before.delete(String(this.key(item)));
      const node = known ?? this.makeRow();
      this.write(node, item);
      this.rows.set(node, item);
      if (node === place) place = place.nextElementSibling;
      else this.body.insertBefore(node, place);
    }
    for (const node of before.values()) node.remove();
    this.empty.hidden = items.length > 0;
    this.table.hidden = items.length === 0;
  }

  makeRow() {
    const cells = this.columns.map(({ label, style, needs, isHead }) =>
      make(
        isHead ? "th" : "td",
        {
          role: isHead ? "rowheader" : "cell",
          scope: isHead ? "row" : null,
          class: style || null,
          "data-label": label,
          "data-needs": needs,
        },
        make("div"),
      ),
    );
    return make("tr", { role: "row" }, cells);
  }

  write(node, item) {
    this.columns.forEach(({ name }, index) => {
      const content = [this.show[name](item)].flat();
      const cell = node.children[index];
      put(cell.firstElementChild, ...content);
      cell.classList.toggle(
        "bare",
        content.every((each) => each === "" || each === null || each === undefined),
      );
    });
  }
}

/** A button for a cell; `what` is what it does, in the words of a table's actions. */
export const action = (what, label, about) =>
  make("button", { type: "button", "data-do": what, "aria-label": about ? `${label} ${about}` : null }, label);
