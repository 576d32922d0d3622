// The operations that are under way, with their phases, logs and outcomes; above every view.

import { plainText } from "./ansi.js";
import { ask } from "./api.js";
import { announce, textOf, toast } from "./dialogs.js";
import { arrange, h, icon, setText } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { linkTo } from "./needs.js";

const MOST_SHOWN = 8;
const LOG_MS = 500;
const POLL_MS = 5000;
/** How long the success of somebody else's operation is shown. */
const SUCCESS_MS = 10_000;
const PHASES = ["received", "verified", "environment", "swap", "start"];
const LAST_CANCELLABLE = "environment";
/** The verbs whose operations have all phases, and can be cancelled. */
const BUILDING = ["install", "update"];
const SYMBOLS = { running: "starting", succeeded: "healthy", failed: "unhealthy", cancelled: "stopped", interrupted: "error" };
const TONES = { running: "starting", succeeded: "healthy", failed: "unhealthy", interrupted: "unhealthy" };

/** Tells its listeners of `change`, with the operation, when one begins, advances or ends. */
export class Operations extends EventTarget {
  #app;
  #cards = new Map();
  #isShown = false;
  #language;
  node = h("section.operations", { hidden: true });

  constructor(app) {
    super();
    this.#app = app;
    const { store } = app;
    store.addEventListener("operation", ({ detail }) => this.#isShown && this.take(detail));
    store.addEventListener("connection", () => store.isLive && this.#load());
    setInterval(() => this.#poll(), POLL_MS);
    document.getElementById("banner").after(this.node);
  }

  /** Shows the operations, those too that were begun before the page was loaded, or hides them. */
  show(isShown) {
    if (this.#language !== t("operations")) {
      this.node.ariaLabel = this.#language = t("operations");
      for (const card of this.#cards.values()) card.update();
    }
    if (this.#isShown === isShown) return;
    this.#isShown = isShown;
    if (isShown) return this.#load();
    this.#cards.clear();
    this.#arrange();
  }

  /** Whether an operation of a plugin is under way. */
  isBusy(pluginId) {
    return [...this.#cards.values()].some(({ operation }) => operation.plugin_id === pluginId && operation.state === "running");
  }

  /**
   * Shows what is known of an operation now.
   * @param own if it was begun here: `label`, the name of the package, and `replace()`, to send it again as an update
   */
  take(operation, own) {
    let card = this.#cards.get(operation.id);
    if (!card && operation.state !== "running" && !own) return;
    if (!card) {
      card = new Card(this.#app.store, () => this.#remove(operation.id));
      this.#cards.set(operation.id, card);
    }
    if (own) card.own = own;
    const hadEnded = card.hasEnded;
    card.take(operation);
    if (own) card.update(); // an event may have come before the answer that says whose it is
    if (own && !card.hasEnded) announce(card.title);
    if (card.hasEnded && !hadEnded) {
      announce(card.title);
      if (!card.own && operation.state === "succeeded") setTimeout(() => this.#remove(operation.id), SUCCESS_MS);
    }
    this.#arrange();
    this.dispatchEvent(new CustomEvent("change", { detail: card.operation }));
  }

  #remove(id) {
    const card = this.#cards.get(id);
    if (!card) return;
    const hadFocus = card.node.contains(document.activeElement);
    this.#cards.delete(id);
    this.#arrange();
    if (hadFocus) (this.node.querySelector("button") ?? document.querySelector("#view h1[tabindex], #view input"))?.focus();
  }

  #arrange() {
    const ended = [...this.#cards].filter(([, card]) => card.hasEnded);
    for (const [id] of ended.slice(0, Math.max(0, this.#cards.size - MOST_SHOWN))) this.#cards.delete(id);
    arrange(this.node, [...this.#cards.values()].map(({ node }) => node).reverse());
    this.node.hidden = !this.#cards.size;
  }

  async #load() {
    if (!this.#isShown) return;
    const { operations = [] } = await ask("operations").catch(() => ({}));
    if (!this.#isShown) return;
    for (const operation of operations.reverse()) if (operation.state === "running" || this.#cards.has(operation.id)) this.take(operation);
  }

  /** Asks for those that go on: an event may have been missed. */
  #poll() {
    if (!document.hidden && this.#app.store.isLive && [...this.#cards.values()].some((card) => !card.hasEnded)) this.#load();
  }
}

/** One operation. */
class Card {
  operation;
  own;
  #store;
  #log = [];
  #logLines = 0;
  #logTimer;
  /** The state that the last whole answer had; an event has less. */
  #knownState;
  #shown;
  #isOpen;
  #title = h("b");
  #where = h("span.hint");
  #bar = h("progress", { max: 100 });
  #phases = h("ol.phases");
  #outcome = h("div.outcome");
  #lines = h("pre.lines", { tabIndex: 0, role: "group" });
  #details = h("button.link", { onclick: () => { this.#isOpen = !this.#open; this.update(); } });
  #cancel = h("button", { onclick: () => this.#abort() });
  #dismiss = h("button");
  node = h("article.operation",
    h("div.toolbar", h("p.label", icon("starting"), this.#title), this.#where, this.#details, this.#cancel, this.#dismiss),
    this.#bar, this.#phases, this.#outcome, this.#lines);

  constructor(store, onDismiss) {
    this.#store = store;
    this.#dismiss.onclick = onDismiss;
  }

  get hasEnded() {
    return Boolean(this.operation) && this.operation.state !== "running";
  }

  get title() {
    const { state, verb, plugin_id } = this.operation;
    const name = this.#store.plugins.get(plugin_id)?.name ?? plugin_id ?? this.own?.label ?? t("aPlugin");
    return t(state === "running" || state === "succeeded" || state === "failed" ? `${state}_${verb}` : state, name, t(verb));
  }

  /** Whether the log is shown: while one's own operation goes on, else on demand. */
  get #open() {
    return this.#isOpen ?? Boolean(this.own && !this.hasEnded);
  }

  take(operation) {
    const { state, lines } = this.operation ?? operation;
    // an answer may be older than an event that has come meanwhile
    if ((state !== "running" && operation.state === "running") || operation.lines < lines) return;
    this.operation = { ...this.operation, ...operation };
    if ("by" in operation) this.#knownState = operation.state;
    if (operation.log) [this.#log, this.#logLines] = [operation.log, operation.lines];
    this.update();
  }

  /** Shows the operation as it is, in the current language. */
  update() {
    const { state, phase, percent, verb, version, previous_version, unchanged, by, lines } = this.operation;
    const symbol = SYMBOLS[state];
    this.node.dataset.status = TONES[state] ?? "";
    const [label] = this.node.firstChild.children;
    if (!label.firstChild.classList.contains(symbol)) label.firstChild.replaceWith(icon(symbol));
    setText(this.#title, this.title);
    const versions = [previous_version !== version && previous_version, version].filter(Boolean).join(" → ");
    const where = [versions, state === "running" && `${formatNumber(percent)}\u00a0%`, unchanged && t("unchanged"), !this.own && by && t("by", by)];
    setText(this.#where, where.filter(Boolean).join(" · "));
    this.#bar.hidden = this.#phases.hidden = this.hasEnded;
    this.#bar.value = percent;
    this.#bar.ariaLabel = this.title;
    setText(this.#details, t(this.#open ? "hideLog" : "showLog"));
    this.#details.ariaExpanded = this.#open;
    this.#details.hidden = !lines;
    setText(this.#cancel, t("cancel"));
    this.#cancel.ariaLabel = `${t("cancel")}: ${this.title}`;
    const hadFocus = document.activeElement === this.#cancel;
    this.#cancel.hidden = this.hasEnded || !BUILDING.includes(verb) || PHASES.indexOf(phase) > PHASES.indexOf(LAST_CANCELLABLE);
    setText(this.#dismiss, t("dismiss"));
    this.#dismiss.ariaLabel = `${t("dismiss")}: ${this.title}`;
    this.#dismiss.hidden = !this.hasEnded;
    if (hadFocus && this.hasEnded) this.#dismiss.focus();
    this.#showPhases();
    this.#showLog();
  }

  /** Shows the phases, or how it has ended; anew only if they have changed, for the sake of the focus in it. */
  #showPhases() {
    const { phase, verb, problem, plugin_id, state } = this.operation;
    const isNew = state === "succeeded" && verb === "install" && this.#store.plugins.has(plugin_id);
    const shown = JSON.stringify([phase, problem, state, isNew, Boolean(this.own), t("dismiss")]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#phases.replaceChildren(...(BUILDING.includes(verb) ? PHASES : [phase]).map((name) =>
      h("li", { ariaCurrent: name === phase ? "step" : null }, t(`phase_${name}`))));
    this.#outcome.replaceChildren(...(problem ? describeProblem(problem) : []), ...[
      isNew && h("p", linkTo(this.#store, plugin_id)),
      problem?.code === "already_installed" && this.own?.replace && h("button", { onclick: () => this.own.replace() }, t("updateInstead")),
    ].filter(Boolean));
  }

  #showLog() {
    const { lines, state } = this.operation;
    if ((this.#knownState !== state || (this.#open && this.#logLines < lines)) && !this.#logTimer) this.#load();
    this.#lines.hidden = !this.#open || !this.#log.length;
    if (this.#lines.hidden) return;
    this.#lines.ariaLabel = `${t("log")}: ${this.title}`;
    const isAtEnd = this.#lines.scrollHeight - this.#lines.scrollTop - this.#lines.clientHeight < 30;
    setText(this.#lines, this.#log.map(plainText).join("\n"));
    if (isAtEnd) this.#lines.scrollTop = this.#lines.scrollHeight;
  }

  /** Fetches the log, and all that an event does not tell; at most twice a second. */
  async #load() {
    const again = (wait) => setTimeout(() => { this.#logTimer = undefined; if (this.node.isConnected) this.#showLog(); }, wait);
    this.#logTimer = again(LOG_MS);
    try {
      this.take(await ask(this.#path));
    } catch ({ status }) {
      clearTimeout(this.#logTimer);
      this.#logTimer = again(POLL_MS);
      if (status === 404) this.take({ ...this.operation, state: "interrupted" });
    }
  }

  get #path() {
    return `operations/${encodeURIComponent(this.operation.id)}`;
  }

  async #abort() {
    if (this.#cancel.ariaDisabled === "true") return;
    this.#cancel.ariaDisabled = "true";
    try {
      this.take(await ask(this.#path, { method: "DELETE" }));
    } catch (problem) {
      toast(textOf(problem), true);
    }
    this.#cancel.ariaDisabled = "false";
  }
}

/** Returns paragraphs that say why something has failed. */
export const describeProblem = (problem) => [
  h("p.problem", problem.status === 0 ? {} : { lang: "en" }, textOf(problem)),
  problem.entry && h("p", t("entryName"), " ", h("span.name", { lang: "en" }, problem.entry)),
  problem.rolled_back !== undefined && h("p", h("b", t(problem.rolled_back ? "rolledBack" : "notRolledBack"))),
  problem.log?.length && h("details", { open: true }, h("summary", t("lastLines")),
    h("pre.lines", { tabIndex: 0, role: "group", ariaLabel: t("lastLines") }, problem.log.map(plainText).join("\n"))),
].filter(Boolean);
