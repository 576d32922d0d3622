// What asks and tells: the sign-in, a confirmation, short notices, and what screen readers are told.

import { ask } from "./api.js";
import { h, setText } from "./dom.js";
import { t } from "./i18n.js";
import { getCode, setCode } from "./session.js";

const TOAST_MS = 6000;

/** Shows a modal dialog until it is closed, and gives back the focus. Resolves to its `returnValue`. */
function show(dialog) {
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

/** Makes a dialog; `parts` stand between its title and its buttons. */
function makeDialog(title, parts, yes) {
  return h("dialog", { ariaLabel: title }, h("form", { method: "dialog" }, h("h2", title), parts,
    h("div.buttons",
      h("button", { type: "button", onclick: ({ target }) => target.closest("dialog").close() }, t("cancel")),
      h("button.primary", { value: "yes", autofocus: true }, yes))));
}

/** Makes sure that there is an admin code: asks for it if need be. False where the person would rather not. */
export async function signIn() {
  if (getCode()) return true;
  const input = h("input", { type: "password", autocomplete: "off", required: true, autofocus: true });
  const problem = h("p.problem", { role: "alert" });
  const dialog = makeDialog(t("signIn"), [h("p", t("signInText")), h("label", t("adminCode"), input), problem], t("signIn"));
  dialog.onsubmit = async (event) => {
    event.preventDefault();
    try {
      const code = input.value.trim();
      await ask("server/info", { headers: { Authorization: `Bearer ${code}` } });
      setCode(code);
      dialog.close("yes");
    } catch (error) {
      setText(problem, wordOf(error));
      input.select();
    }
  };
  return (await show(dialog)) === "yes";
}

/** A problem in the page's own language where it is one of the page's own business, else as the service words it. */
export function wordOf(problem) {
  if (problem.code === "network") return t("lostTitle");
  if (problem.code === "unauthorized") return t("wrongCode");
  if (problem.code === "too_many_attempts") return t("tooMany", problem.retryAfter);
  return problem.detail;
}

/** Asks one question; resolves to whether the answer is yes. */
export const confirm = async (title, text, yes) => (await show(makeDialog(title, [h("p", text)], yes))) === "yes";

/** Tells something in passing. */
export function toast(text, isProblem = false) {
  const node = h(isProblem ? "p.toast.problem" : "p.toast", text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), TOAST_MS);
}

/** Says something to screen readers, politely. */
export function announce(text) {
  const spoken = document.getElementById("spoken");
  spoken.append(h("p", text));
  if (spoken.children.length > 9) spoken.firstChild.remove();
}
