// The sign-in and confirmation dialogs, notices, and announcements to screen readers.

import { ask } from "./api.js";
import { h, setText } from "./dom.js";
import { t } from "./i18n.js";
import { getCode, setCode } from "./session.js";

const TOAST_MS = 6000;

/** Shows a modal dialog until it is closed, then restores the focus; resolves to its `returnValue`. */
export function show(dialog) {
  const focused = document.activeElement;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (focused?.isConnected) focused.focus();
      resolve(dialog.returnValue);
    });
  });
}

/** Makes a dialog with `parts` between its title and its buttons. */
function makeDialog(title, parts, yes) {
  return h("dialog", { ariaLabel: title }, h("form", { method: "dialog" }, h("h2", title), parts,
    h("div.buttons",
      h("button", { type: "button", onclick: ({ target }) => target.closest("dialog").close() }, t("cancel")),
      h("button.primary", { value: "yes", autofocus: true }, yes))));
}

let asking;

/** Asks for a token or the admin code if there is none; resolves to false if the dialog is cancelled. */
export const signIn = async () => Boolean(getCode()) || (asking ??= askForCode().finally(() => { asking = undefined; }));

async function askForCode() {
  const input = h("input", { type: "password", autocomplete: "off", required: true, autofocus: true });
  const problem = h("p.problem", { role: "alert" });
  const dialog = makeDialog(t("signIn"), [h("p", t("signInText")), h("label", t("adminCode"), input), problem], t("signIn"));
  const button = dialog.querySelector("button.primary");
  const stop = new AbortController();
  dialog.onclose = () => stop.abort();
  dialog.onsubmit = async (event) => {
    event.preventDefault();
    // the service delays its response to a wrong code
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    setText(problem, "");
    try {
      const code = input.value.trim();
      await ask("whoami", { headers: { Authorization: `Bearer ${code}` }, signal: stop.signal });
      setCode(code);
      dialog.close("yes");
    } catch (error) {
      if (stop.signal.aborted) return; // cancelled
      setText(problem, textOf(error));
      input.select();
    }
    button.ariaDisabled = "false";
  };
  return (await show(dialog)) === "yes";
}

/** Returns the text for a problem: a translated one for the codes below, else the service's `detail`. */
export function textOf(problem) {
  if (problem.code === "network") return t("lostTitle");
  if (problem.code === "unauthorized") return t("wrongCode");
  if (problem.code === "too_many_attempts") return t("tooMany", problem.retryAfter);
  if (problem.code === "forbidden") return problem.role ? t("needsRole", t(`role_${problem.role}`)) : t("notYours");
  return problem.detail;
}

/** Asks for confirmation; resolves to a boolean. */
export const confirm = async (title, parts, yes) => (await show(makeDialog(title, parts, yes))) === "yes";

/** Shows a card in a wide dialog, which a link in it closes. */
export const showWide = (card) =>
  show(h("dialog.wide", { ariaLabel: card.firstChild.textContent, onclick: ({ target, currentTarget }) => target.closest("a") && currentTarget.close() },
    h("form.buttons", { method: "dialog" }, h("button", t("close"))), card));

/** Shows a notice for a few seconds. */
export function toast(text, isProblem = false) {
  const node = h(isProblem ? "p.toast.problem" : "p.toast", text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), TOAST_MS);
}

/** Announces a text to screen readers without interrupting them. */
export function announce(text) {
  const spoken = document.getElementById("spoken");
  spoken.append(h("p", text));
  if (spoken.children.length > 9) spoken.firstChild.remove();
}
