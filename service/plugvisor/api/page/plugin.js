// The view of one plugin: usage, journal, log, process, program and manifest.

import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { Checks } from "./checks.js";
import { signIn } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { makeGraphOf } from "./graph.js";
import { formatMemory, formatNumber, formatPercent, t } from "./i18n.js";
import { Intent } from "./intent.js";
import { kindOf } from "./item.js";
import { Entries } from "./journal.js";
import { LogView } from "./log.js";
import { Needs } from "./needs.js";
import { getCode, onSession } from "./session.js";
import { ActionButtons, StatusLabel, Trouble } from "./status.js";

/** The module of the cards beside the log, once a plugin has been opened. */
let facts;
const POLL_SECONDS = 5;
const NEWEST_ENTRIES = 5;
const VERBS = [["stop", "start"], ["reload"], ["enable", "disable"]];
/** Field of a usage sample → its limit, in the sample's unit. */
const LIMITS = {
  cpu_percent: ["cpus", (cpus) => cpus * 100],
  memory_mb: ["memory", (bytes) => bytes / 2 ** 20],
  num_threads: ["processes", (count) => count],
};

export class PluginView {
  #store;
  #id;
  #actions;
  #log;
  #journal;
  #loaded;
  #charts;
  #answer;
  #asked;
  #checked;
  #checks;
  #graph;
  #seconds = 0;
  #cards;
  #stop = new AbortController();
  #facts = h("div.facts");
  #rest = h("div.rest");
  #version = h("span.version");
  #description = h("p.description");
  #denied = h("p.hint", { hidden: true }, t("notYours"));
  title = h("h1", { tabIndex: -1 });

  constructor({ store, actions }, id) {
    this.#store = store;
    this.#actions = actions;
    this.#id = id;
    this.#checks = new Checks(id);
    this.#graph = makeGraphOf(store, id);
    this.parts = [
      new StatusLabel(store), new ActionButtons(actions, VERBS), new Trouble({ actions, store }, false), new Needs(store, true),
      new Intent(actions),
    ];
    const [status, buttons, trouble, needs, intent] = this.parts.map((part) => part.node);
    this.whole = h("div", { hidden: true },
      h("div.head", h("div.about", h("div.title", this.title, this.#version), this.#description), status, buttons, this.#denied),
      intent, needs, trouble, h("div.halves", this.#rest, h("div.side", this.#checks.node, this.#facts)));
    this.gone = h("div.empty", { hidden: true }, h("h1", { tabIndex: -1 }, t("goneTitle", id)), h("p", t("goneText")));
    this.node = h("article.plugin", h("a.back", { href: "#/" }, icon("back"), t("back")), this.whole, this.gone);
    const { signal } = this.#stop;
    const onChange = ({ detail }) => (!detail?.ids || detail.ids.includes(id)) && this.#update();
    for (const kind of ["plugins", "connection"]) store.addEventListener(kind, onChange, { signal });
    actions.addEventListener("change", onChange, { signal });
    store.addEventListener("plugins", this.#graph.update, { signal });
    store.addEventListener("metrics", () => this.#drawCharts(), { signal });
    const ticking = setInterval(() => this.#tick(), 1000);
    const forget = onSession(() => this.#showSession());
    signal.onabort = () => { clearInterval(ticking); forget(); };
    this.#showSession();
  }

  /** Ends all subscriptions. */
  close() {
    this.#stop.abort();
    this.#closeStreams();
  }

  #tick() {
    this.#seconds += 1;
    if (!this.#item) return;
    this.parts[0].tick();
    if (!this.#store.isLive || document.hidden) return;
    const isDue = this.#seconds % POLL_SECONDS === 0;
    if (isDue && this.#item.health) this.#checks.load();
    if (isDue || this.#loaded !== this.#item) this.#journal?.load();
    this.#loaded = this.#item;
  }

  get #item() {
    return this.#store.plugins.get(this.#id);
  }

  #closeStreams() {
    this.#log?.close();
    this.#journal?.close();
  }

  /** Shows usage, journal and log if signed in, else a sign-in button. */
  #showSession() {
    this.#closeStreams();
    this.#log = this.#charts = this.#answer = this.#asked = undefined;
    if (getCode()) {
      this.#charts = {
        cpu_percent: new Chart(t("cpu"), formatPercent),
        memory_mb: new Chart(t("memory"), formatMemory),
        num_threads: new Chart(t("threads"), formatNumber),
      };
      const charts = Object.values(this.#charts).map((chart) => chart.node);
      this.#journal = new Entries(this.#store, { plugin_id: this.#id }, NEWEST_ENTRIES);
      this.#journal.load();
      this.#log = new LogView(this.#id);
      const title = h("h2", h("a.link", { href: `#/journal?plugin_id=${encodeURIComponent(this.#id)}` }, t("journal")));
      this.#rest.replaceChildren(h("section.card", h("h2", t("figures")), h("div.charts", charts)), this.#graph.node,
        h("section.card", title, this.#journal.node), this.#log.node);
      ask(`plugin/metrics/${encodeURIComponent(this.#id)}/history?limit=150`).then(({ history }) => this.#drawCharts(history), () => this.#drawCharts());
    } else {
      this.#rest.replaceChildren(this.#graph.node, h("section.card.empty", h("p", t("signInForFigures")), h("button.primary", { onclick: signIn }, t("signIn"))));
    }
    this.#update();
  }

  #drawCharts(metrics = [this.#store.metrics.get(this.#id)]) {
    const { limits = {} } = this.#item ?? {};
    for (const [field, chart] of Object.entries(this.#charts ?? {})) {
      const [name, convert] = LIMITS[field];
      chart.limit = limits[name] && convert(limits[name]);
      chart.enforcer = limits[name] && t(["unenforced", "watched"].find((key) => limits[key]?.includes(name)) ?? limits.enforced_by);
      if (!metrics[0]) continue;
      chart.add(metrics.map((metric) => [Date.parse(metric.timestamp), metric[field]]));
    }
  }

  #update() {
    const item = this.#item;
    this.whole.hidden = !item;
    this.gone.hidden = Boolean(item) || !this.#store.connection.at;
    if (!item) return;
    setText(this.title, item.name);
    setText(this.#version, item.version);
    setText(this.#description, item.description);
    this.node.dataset.status = kindOf(item);
    this.#denied.hidden = this.#actions.mayChange(this.#id);
    for (const part of this.parts) part.update(item);
    this.#showFacts();
    this.#graph.update();
    this.#drawCharts();
    if (this.#checked !== item && (item.health || this.#checked?.health)) this.#checks.load();
    this.#checked = item;
    if (this.#asked === item || !getCode()) return;
    this.#asked = item;
    this.#store.manifestOf(this.#id).then((answer) => {
      this.#answer = answer;
      this.#showFacts();
    });
  }

  async #showFacts() {
    // without it until something changes
    facts ??= await import("./facts.js").catch(() => undefined);
    if (!facts || !this.#item) return;
    this.#cards ??= new facts.Facts(this.#facts, this.#store);
    this.#cards.update(this.#item, this.#answer);
  }
}
