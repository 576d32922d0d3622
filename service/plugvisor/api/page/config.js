// The editor of a plugin's manifest.

import { ask, pathOf, request } from "./api.js";
import { CodeField } from "./code_field.js";
import { announce, confirm, show, signIn, textOf } from "./dialogs.js";
import { makeDiff } from "./diff.js";
import { h, setText } from "./dom.js";
import { formatTime, t } from "./i18n.js";

const LINE_BREAK = /\r\n?/g;

let isOpen = false;

/**
 * Opens the editor.
 * @param isInstalled whether an update would bring another manifest
 */
export async function openEditor(app, id, isInstalled) {
  if (isOpen || !(await signIn())) return;
  isOpen = true;
  const editor = new Editor(app, id, isInstalled);
  await editor.run();
  isOpen = false;
}

class Editor {
  #app;
  #id;
  #etag;
  /** The text that the service has, as the field would have it: with other line breaks it is no other text. */
  #base = "";
  #hasReturns = false;
  #isWritable = false;
  #isSaving = false;
  #title = h("h2", { tabIndex: -1 });
  #earlier = h("select", { onchange: () => this.#takeEarlier() });
  #field = new CodeField("manifest-problem manifest-hint", () => this.#problem.replaceChildren());
  #problem = h("div", { id: "manifest-problem", role: "alert" });
  #hint = h("p.hint", { id: "manifest-hint" }, t("tabHint"));
  #note = h("div.note", { role: "status" });
  #reload = h("button", { hidden: true, onclick: () => this.#reloadPlugin() }, t("reload"));
  #review = h("div.review", { hidden: true });
  #editing;
  #saved = h("div.toolbar.saved", this.#note, this.#reload);
  #buttons = h("div.buttons");
  #dialog = h("dialog.wide.editor");

  constructor(app, id, isInstalled) {
    this.#app = app;
    this.#id = id;
    const title = t("editTitle", app.store.plugins.get(id)?.name ?? id);
    setText(this.#title, title);
    this.#dialog.ariaLabel = title;
    this.#earlier.ariaLabel = t("earlier");
    this.#editing = h("div.editing", this.#field.node, this.#problem, this.#hint,
      isInstalled && h("p.hint", t("updateBringsOwn")));
    this.#dialog.append(h("div.toolbar", this.#title, this.#earlier), this.#editing, this.#review,
      this.#saved, this.#buttons);
    // Escape twice would close it in spite of a listener for `cancel`
    this.#dialog.onkeydown = (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      this.#close();
    };
    this.#dialog.oncancel = (event) => { if (event.target === this.#dialog) { event.preventDefault(); this.#close(); } };
  }

  /** Shows the dialog until it is closed. */
  async run() {
    const stop = new AbortController();
    addEventListener("beforeunload", (event) => this.#isDirty && event.preventDefault(), { signal: stop.signal });
    addEventListener("hashchange", () => this.#isDirty || this.#dialog.close(), { signal: stop.signal });
    this.#showButtons([[t("close"), () => this.#close()]]);
    this.#field.readOnly = true;
    const shown = show(this.#dialog);
    await this.#load();
    await shown;
    stop.abort();
  }

  get #isDirty() {
    return this.#field.value !== this.#base;
  }

  async #load() {
    try {
      const config = await ask(pathOf(this.#id, "config"));
      this.#setBase(await this.#fetchText(), config);
      this.#field.value = this.#base;
      this.#showEditing();
      this.#field.goToStart();
      if (config.problem) this.#showProblem({ detail: config.problem, line: config.line });
    } catch (problem) {
      this.#showProblem(problem);
    }
  }

  async #fetchText(number) {
    const response = await request(pathOf(this.#id, `config/toml${number ? `?earlier=${number}` : ""}`));
    const text = await response.text();
    if (!number) [this.#etag, this.#hasReturns] = [response.headers.get("ETag"), text.includes("\r\n")];
    return text.replace(LINE_BREAK, "\n");
  }

  /** Remembers what the service has. */
  #setBase(text, { etag, writable, reload_needed: isReloadNeeded, earlier }) {
    this.#base = text;
    this.#etag ??= etag;
    this.#isWritable = writable;
    this.#field.readOnly = !writable;
    this.#reload.hidden = !isReloadNeeded;
    this.#note.replaceChildren(!writable ? t("notWritable") : isReloadNeeded ? t("reloadNeeded") : "");
    this.#earlier.replaceChildren(h("option", { value: "" }, t(earlier.length ? "earlier" : "noEarlier")), ...earlier.map(
      ({ number, replaced_at: at, replaced_by: by }) => h("option", { value: number }, t("earlierOne", formatTime(at), by))));
    this.#earlier.disabled = !earlier.length;
  }

  // -- what is shown

  #showButtons(buttons) {
    const hadFocus = this.#buttons.contains(document.activeElement);
    this.#buttons.replaceChildren(...buttons.map(([text, onclick, isPrimary]) =>
      // the second click of a double click would hit the button that comes next
      h(isPrimary ? "button.primary" : "button", { type: "button", onclick: ({ detail }) => detail < 2 && onclick() }, text)));
    if (hadFocus) this.#buttons.lastChild.focus();
  }

  #showEditing() {
    this.#review.hidden = true;
    this.#editing.hidden = this.#earlier.hidden = this.#saved.hidden = false;
    this.#showButtons([[t("close"), () => this.#close()], ...(this.#isWritable ? [[t("review"), () => this.#startReview(), true]] : [])]);
    this.#field.update();
  }

  #showReview(parts, buttons) {
    this.#review.replaceChildren(...parts);
    this.#editing.hidden = this.#earlier.hidden = this.#saved.hidden = true;
    this.#review.hidden = false;
    this.#showButtons(buttons);
    this.#review.querySelector(".diff").focus();
  }

  #backToText() {
    this.#showEditing();
    this.#field.focus();
  }

  #startReview() {
    if (!this.#isDirty) return this.#note.replaceChildren(t("nothingChanged"));
    this.#note.replaceChildren();
    this.#showReview([h("h3", t("reviewTitle")), makeDiff(this.#base, this.#field.value)],
      [[t("backToText"), () => this.#backToText()], [t("save"), () => this.#save(this.#etag), true]]);
  }

  #showProblem(problem) {
    const { line, column, status } = problem;
    const where = line && h("b", t(column ? "atColumn" : "atLine", line, column));
    this.#problem.replaceChildren(h("p.problem", where, where && " ", h("span", status === 0 ? {} : { lang: "en" }, textOf(problem))),
      line ? h("button.link", { onclick: () => this.#field.goTo(line, column) }, t("goToLine", line)) : "");
    this.#field.markInvalid();
    if (line) this.#field.goTo(line, column);
  }

  // -- what is done

  async #save(etag) {
    if (this.#isSaving) return; // a second click would find the text changed by the first
    this.#isSaving = true;
    if (await signIn()) await this.#send(etag);
    this.#isSaving = false;
  }

  async #send(etag) {
    const text = this.#field.value;
    const toml = this.#hasReturns ? text.replaceAll("\n", "\r\n") : text;
    try {
      const written = await ask(pathOf(this.#id, "config/toml"), { method: "PUT", body: { toml }, headers: { "If-Match": etag } });
      this.#etag = written.etag;
      const config = await ask(pathOf(this.#id, "config")).catch(() => ({ earlier: [], writable: true, ...written }));
      this.#setBase(text, { ...config, reload_needed: written.reload_needed });
      this.#backToText();
      this.#note.replaceChildren(h("p", h("b", t("saved")), " ", t(written.reload_needed ? "reloadNeeded" : "noReload")),
        ...written.warnings.map((warning) => h("p", { lang: "en" }, warning)));
      announce(t("saved"));
    } catch (problem) {
      if (problem.code === "precondition_failed") return this.#showConflict();
      this.#backToText();
      this.#showProblem(problem);
    }
  }

  /** Somebody else has changed the text: shows how it differs from this one. */
  async #showConflict() {
    try {
      const config = await ask(pathOf(this.#id, "config"));
      this.#setBase(await this.#fetchText(), config);
    } catch (problem) {
      this.#backToText();
      return this.#showProblem(problem);
    }
    const etag = this.#etag;
    this.#showReview([h("h3.problem", t("conflictTitle")), h("p", t("conflictText")), makeDiff(this.#base, this.#field.value)], [
      [t("backToText"), () => this.#backToText()],
      [t("takeNewer"), () => { this.#field.value = this.#base; this.#backToText(); }],
      [t("overwrite"), () => this.#save(etag)],
    ]);
  }

  async #takeEarlier() {
    const number = this.#earlier.value;
    this.#earlier.value = "";
    if (!number || (this.#isDirty && !(await this.#mayDiscard()))) return;
    try {
      this.#field.value = await this.#fetchText(number);
      this.#note.replaceChildren(t("earlierTaken"));
      this.#field.focus();
    } catch (problem) {
      this.#showProblem(problem);
    }
  }

  #reloadPlugin() {
    this.#reload.hidden = true;
    this.#note.replaceChildren(t("reloading"));
    this.#app.actions.perform("reload", [this.#id]).then(() => {
      const problem = this.#app.actions.failures.get(this.#id);
      this.#reload.hidden = !problem;
      this.#note.replaceChildren(problem ? h("p.problem", { lang: "en" }, textOf(problem)) : t("reloaded"));
    });
  }

  #mayDiscard() {
    return confirm(t("discardTitle"), [h("p", t("discardText"))], t("discard"));
  }

  async #close() {
    if (this.#isDirty && !(await this.#mayDiscard())) return;
    this.#dialog.close();
  }
}
