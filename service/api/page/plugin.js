// One plugin: its process, its program, its manifest, what it uses and what it prints.

import { ask, pathOf } from "./api.js";
import { Chart } from "./chart.js";
import { signIn } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatMemory, formatNumber, formatPercent, formatTime, t } from "./i18n.js";
import { LogView } from "./log.js";
import { getCode, onSession } from "./session.js";
import { ActionButtons, kindOf, StatusLabel, Trouble } from "./status.js";

const HISTORY = 150;

/** The charts: what of a metric each shows. */
const FIGURES = [
  ["cpu", "cpu_percent", formatPercent],
  ["memory", "memory_mb", formatMemory],
  ["threads", "num_threads", formatNumber],
];

export class PluginView {
  #app;
  #id;
  #stop = new AbortController();
  #log;
  #charts;
  #answer;
  #asked;
  #shown = "";

  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    const { picture, actions } = app;
    this.#build();
    const { signal } = this.#stop;
    const onNews = ({ detail }) => (!detail?.ids || detail.ids.includes(id)) && this.#update();
    for (const kind of ["plugins", "connection"]) picture.addEventListener(kind, onNews, { signal });
    actions.addEventListener("change", onNews, { signal });
    picture.addEventListener("metrics", () => this.#takeMetric(), { signal });
    signal.addEventListener("abort", onSession(() => this.#fill()));
    const ticking = setInterval(() => this.#item && this.status.tick(), 1000);
    signal.addEventListener("abort", () => clearInterval(ticking));
    this.#fill();
    this.#update();
  }

  /** Takes the view down. */
  close() {
    this.#stop.abort();
    this.#log?.close();
  }

  get #item() {
    return this.#app.picture.plugins.get(this.#id);
  }

  #build() {
    const { picture, actions } = this.#app;
    this.status = new StatusLabel(picture);
    this.buttons = new ActionButtons(actions);
    this.trouble = new Trouble(actions, false);
    this.title = h("h1", { tabIndex: -1 });
    this.version = h("span", { className: "version" });
    this.description = h("p", { className: "description" });
    this.facts = h("div", { className: "facts" });
    this.rest = h("div", { className: "rest" });
    this.whole = h("div", { hidden: true },
      h("div", { className: "head" },
        h("div", { className: "about" }, h("div", { className: "title" }, this.title, this.version), this.description),
        this.status.node, this.buttons.node),
      this.trouble.node,
      h("div", { className: "columns-2" }, this.rest, this.facts));
    this.gone = h("div", { className: "empty", hidden: true }, h("h1", { tabIndex: -1 }, t("goneTitle", this.#id)), h("p", {}, t("goneText")));
    this.node = h("article", { className: "plugin" },
      h("a", { className: "back", href: "#/" }, icon("back"), t("back")), this.whole, this.gone);
  }

  /** Shows what only the admin code opens, or how to come by it. */
  #fill() {
    this.#log?.close();
    this.#log = this.#charts = this.#answer = this.#asked = undefined;
    if (!getCode()) {
      this.rest.replaceChildren(h("section", { className: "card wide empty" },
        h("p", {}, t("signInForFigures")), h("button", { className: "primary", onclick: signIn }, t("signIn"))));
      return this.#update();
    }
    this.#charts = FIGURES.map(([name, field, format]) => [field, new Chart(t(name), format)]);
    this.#log = new LogView(this.#id);
    this.rest.replaceChildren(
      h("section", { className: "card" }, h("h2", {}, t("figures")),
        h("div", { className: "charts" }, this.#charts.map(([, chart]) => chart.node))),
      this.#log.node);
    ask(`plugin/metrics/${encodeURIComponent(this.#id)}/history?limit=${HISTORY}`)
      .then(({ history }) => this.#draw(history), () => {})
      .then(() => this.#takeMetric());
    this.#update();
  }

  #takeMetric() {
    const metric = this.#app.picture.metrics.get(this.#id);
    if (metric) this.#draw([metric]);
  }

  #draw(metrics) {
    for (const [field, chart] of this.#charts ?? []) {
      chart.add(metrics.map((metric) => [Date.parse(metric.timestamp), metric[field]]));
    }
  }

  #update() {
    const item = this.#item;
    this.whole.hidden = !item;
    this.gone.hidden = Boolean(item) || !this.#app.picture.connection.at;
    if (!item) return;
    setText(this.title, item.name);
    setText(this.version, item.version);
    setText(this.description, item.description);
    this.node.dataset.status = kindOf(item);
    this.status.update(item);
    this.buttons.update(item);
    this.trouble.update(item);
    this.#showFacts(item);
    if (getCode() && this.#asked !== item) {
      this.#asked = item;
      this.#app.picture.manifestOf(this.#id).then((answer) => {
        this.#answer = answer;
        this.#showFacts(this.#item ?? item);
      });
    }
  }

  #showFacts(item) {
    const { manifest, folder } = this.#answer ?? {};
    const options = manifest?.supervisor;
    const dependencies = (item.dependencies ?? []).map((one) => one.id ?? one.entry ?? one).filter((one) => typeof one === "string");
    const sections = {
      process: {
        pid: item.pid ?? t("noProcess"),
        since: item.startedAt && formatTime(item.startedAt),
        restarts: item.restarts,
        stateName: item.state,
        exits: item.exits.length ? item.exits.map(describeExit) : t("never"),
      },
      program: manifest && {
        [manifest.command.length ? "command" : "entry"]: manifest.command.length ? manifest.command.map(quote).join(" ") : manifest.entry,
        environment: manifest.environment.length ? manifest.environment : t("noProcess"),
        ...Object.fromEntries(Object.entries(options).map(([name, value]) => [name, String(value)])),
      },
      manifest: {
        id: item.id,
        folder,
        version: item.version,
        author: item.author?.name,
        dependencies: dependencies.length ? dependencies : undefined,
        autoStart: manifest && t(manifest.auto_start ? "yes" : "no"),
      },
    };
    const key = JSON.stringify(sections);
    if (key === this.#shown) return;
    this.#shown = key;
    this.facts.replaceChildren(...Object.entries(sections).filter(([, facts]) => facts).map(([name, facts]) =>
      h("section", { className: "card" }, h("h2", {}, t(name)),
        h("dl", {}, Object.entries(facts).filter(([, value]) => value !== undefined && value !== "").map(([fact, value]) =>
          h("div", {}, h("dt", {}, t(fact)), [value].flat().map((one) => h("dd", {}, String(one)))))))));
  }
}

const describeExit = (exit) => `${formatTime(exit.at)} · ${exit.signal ?? t("exitCode", exit.code)}`;

/** A word of a command as one would type it. */
const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
