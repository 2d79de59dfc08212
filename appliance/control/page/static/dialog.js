/** Dialogs: they keep the keyboard inside, close with Escape, and give the focus back to where it was. */

import { byId, heading, make } from "./dom.js";
import { notify, showProblem } from "./notices.js";

const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex='0']";

/**
 * Open a dialog. Resolves to what `submit` returns, null when it is dismissed. While `submit` raises, what it raises is
 * shown and the dialog stays; it stays too where `submit` returns undefined, for a dialog of two steps. `submit` gets a
 * signal, which is aborted when the dialog is dismissed: from then on the dialog may be open for something else.
 */
export function openDialog(dialog, { submit = () => true, problem = "" } = {}) {
  const opener = document.activeElement;
  const form = dialog.querySelector("form");
  const alert = dialog.querySelector(".alert");
  const stop = new AbortController();
  const { signal } = stop;
  let result = null;
  showProblem(alert, problem ? new Error(problem) : null);

  const finish = (resolve) => {
    stop.abort();
    form.removeAttribute("aria-busy"); // a request may be under way still, and the next dialog does not wait for it
    giveBack(opener);
    resolve(result);
  };
  const onSubmit = async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    form.setAttribute("aria-busy", "true");
    showProblem(alert, null);
    try {
      const given = await submit(signal);
      if (given !== undefined && !signal.aborted) {
        result = given;
        dialog.close();
      }
    } catch (error) {
      if (signal.aborted) notify(error.message, { bad: true });
      else showProblem(alert, error);
    } finally {
      if (!signal.aborted) form.removeAttribute("aria-busy");
    }
  };
  return new Promise((resolve) => {
    form.addEventListener("submit", onSubmit, { signal });
    dialog.addEventListener("keydown", keepInside, { signal });
    dialog.addEventListener("close", () => finish(resolve), { signal });
    dialog.querySelector("[data-dismiss]")?.addEventListener("click", () => dialog.close(), { signal });
    dialog.showModal();
    reachable(dialog)[0]?.focus();
  });
}

/** Ask for a yes. `text` is a sentence or nodes. Resolves to whether `submit`, or just the yes, was had. */
export async function confirm({ title, text, action, danger = false, submit }) {
  const dialog = byId("confirm-dialog");
  const button = dialog.querySelector("[type=submit]");
  dialog.querySelector("h2").textContent = title;
  dialog
    .querySelector(".text")
    .replaceChildren(...[text].flat().map((each) => (each.nodeType ? each : make("p", {}, each))));
  button.textContent = action;
  button.className = danger ? "danger" : "primary";
  return openDialog(dialog, { submit });
}

function keepInside(event) {
  if (event.key !== "Tab") return;
  const all = reachable(event.currentTarget);
  const edge = event.shiftKey ? all[0] : all.at(-1);
  if (document.activeElement !== edge) return;
  event.preventDefault();
  (event.shiftKey ? all.at(-1) : all[0]).focus();
}

const reachable = (dialog) =>
  [...dialog.querySelectorAll(FOCUSABLE)].filter((node) => !node.disabled && node.getClientRects().length);

/** The opener may be gone: its row was rewritten, or its view left. */
function giveBack(opener) {
  const target = opener?.isConnected && opener.getClientRects().length ? opener : heading();
  target?.focus();
}
