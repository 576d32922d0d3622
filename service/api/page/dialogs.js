// What asks and tells: the sign-in, a confirmation, short notices, and what screen readers are told.

import { ask, Problem } from "./api.js";
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

/** Makes sure that there is an admin code: asks for it if need be. False where the person would rather not. */
export async function signIn() {
  if (getCode()) return true;
  const input = h("input", { id: "code", type: "password", autocomplete: "off", required: true, spellcheck: false });
  const problem = h("p", { className: "problem", role: "alert" });
  const submit = h("button", { className: "primary", type: "submit" }, t("signIn"));
  const form = h("form", { method: "dialog" },
    h("h2", { id: "dialog-title" }, t("signIn")),
    h("p", {}, t("signInText")),
    h("label", { htmlFor: "code" }, t("adminCode")), input, problem,
    h("div", { className: "buttons" },
      h("button", { type: "button", onclick: () => dialog.close("") }, t("cancel")), submit));
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const code = input.value.trim();
    try {
      await checkCode(code);
      dialog.close("in");
      announce(t("signedIn"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setText(problem, wordOf(error));
      input.select();
    }
    submit.disabled = false;
  });
  return (await show(dialog)) === "in";
}

/** Keeps a code that the service accepts; throws `Problem` and forgets one that it does not. */
async function checkCode(code) {
  await ask("server/info", { headers: { Authorization: `Bearer ${code}` } });
  setCode(code);
}

/** A problem in the page's own language where it is one of the page's own business, else as the service words it. */
export function wordOf(problem) {
  if (problem.code === "network") return t("lostTitle");
  if (problem.code === "unauthorized") return t("wrongCode");
  if (problem.code === "too_many_attempts") return t("tooMany", problem.retryAfter);
  return problem.detail;
}

/** Asks one question; resolves to whether the answer is yes. */
export async function confirm(title, text, yes) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      h("div", { className: "buttons" },
        h("button", { value: "", formNoValidate: true }, t("cancel")),
        h("button", { value: "yes", className: "primary", autofocus: true }, yes))));
  return (await show(dialog)) === "yes";
}

/** Tells something in passing. */
export function toast(text, isProblem = false) {
  const node = h("p", { className: isProblem ? "toast problem" : "toast" }, text);
  document.getElementById("toasts").append(node);
  announce(text);
  setTimeout(() => node.remove(), TOAST_MS);
}

/** Says something to screen readers, politely. */
export function announce(text) {
  document.getElementById("spoken").append(h("p", {}, text));
  const { children } = document.getElementById("spoken");
  if (children.length > 5) children[0].remove();
}
