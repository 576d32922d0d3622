// The list view: search, filters, order, and actions on the selected plugins.

import { VERBS } from "./actions.js";
import { arrange, h, icon, oncePerFrame, setText } from "./dom.js";
import { showGraph } from "./graph.js";
import { formatNumber, t } from "./i18n.js";
import { allows, isFailing, isUnhealthy, kindOf } from "./item.js";
import { Row } from "./row.js";
import { makeExample } from "./status.js";

const FILTERS = {
  all: () => true,
  running: (item) => kindOf(item) === "running",
  changing: (item) => item.status === "starting" || item.status === "stopping",
  stopped: (item) => item.status === "stopped",
  unhealthy: isUnhealthy,
  error: isFailing,
};
const RANK = ["error", "flapping", "unhealthy", "stopping", "queued", "starting", "running", "stopped", "disabled"];

/** Sort keys by column; numbers are negative so that the largest comes first. */
const SORTS = {
  name: (item) => item.name,
  status: (item) => RANK.indexOf(isUnhealthy(item) ? item.health : kindOf(item)),
  uptime: (item, store) => -(store.uptimeOf(item) ?? -1),
  cpu: ({ id }, { metrics }) => -(metrics.get(id)?.cpu_percent ?? -1),
  memory: ({ id }, { metrics }) => -(metrics.get(id)?.memory_mb ?? -1),
  restarts: (item) => -(item.restarts ?? -1),
};
const collator = new Intl.Collator(undefined, { numeric: true });
const WELCOMED = "plugvisor.welcomed";

/** The search, filter and order; kept while another view is open. */
const choice = { query: "", filter: "all", sort: "name", isReversed: false };

export class ListView {
  #store;
  #actions;
  #app;
  #rows = new Map();
  #shown = [];
  #selected = new Set();
  #seen = new Set();
  #stop = new AbortController();
  #observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      this.#seen[isIntersecting ? "add" : "delete"](target.row);
      if (isIntersecting) target.row.tick();
    }
  });

  constructor({ store, actions }) {
    this.#store = store;
    this.#actions = actions;
    this.#app = { store, actions, onSelect: (id, isOn) => this.#select([id], isOn) };
    this.#build();
    const { signal } = this.#stop;
    for (const kind of ["plugins", "metrics", "connection"]) {
      store.addEventListener(kind, ({ detail }) => { this.#refresh(detail?.ids); this.#arrange(); }, { signal });
    }
    actions.addEventListener("change", ({ detail }) => this.#refresh(detail.ids), { signal });
    const ticking = setInterval(() => this.#seen.forEach((row) => row.tick()), 1000);
    signal.onabort = () => clearInterval(ticking);
    this.#arrangeNow();
  }

  /** Ends all subscriptions. */
  close() {
    this.#stop.abort();
    this.#observer.disconnect();
  }

  #build() {
    const choose = (changes) => { Object.assign(choice, changes); this.#arrange(); };
    this.search = h("input", {
      type: "search", placeholder: t("search"), ariaLabel: t("search"), value: choice.query,
      oninput: () => choose({ query: this.search.value }),
    });
    this.filters = Object.keys(FILTERS).map((filter) =>
      h(`button.chip.${filter}`, { "data-name": filter, onclick: () => choose({ filter }) }, t(filter), " ", h("b")));
    this.columns = Object.keys(SORTS).map((sort) =>
      h("button.column", { "data-name": sort, onclick: () => choose({ sort, isReversed: choice.sort === sort && !choice.isReversed }) }, t(sort)));
    this.everything = h("input", {
      type: "checkbox", ariaLabel: t("selectAll"), onchange: () => this.#select(this.#shown, this.everything.checked),
    });
    this.graph = h("button", { hidden: true, onclick: () => showGraph(this.#store) }, t("graph"));
    this.refresh = h("button", { onclick: () => this.#actions.refresh() }, t("refresh"));
    this.list = h("ul.list", { role: "list" });
    this.nothing = h("div.empty");
    this.count = h("b", { role: "status" });
    this.verbs = VERBS.map((verb) =>
      h("button", { "data-name": verb, onclick: () => this.#actions.perform(verb, [...this.#selected]) }, t(verb)));
    this.bar = h("div.bar", { hidden: true }, this.count, this.verbs,
      h("button.link", { onclick: () => this.#select([...this.#selected], false) }, t("clear")));
    this.node = h("div",
      h("h1.unseen", t("appName")),
      localStorage.getItem(WELCOMED) ? null : this.#welcome(),
      h("div.toolbar",
        h("div.chips", { role: "group", ariaLabel: t("filter") }, this.filters),
        h("div.finder", icon("search"), this.search),
        this.graph, this.refresh),
      h("div.columns", { role: "group", ariaLabel: t("sort") }, this.everything, this.columns),
      this.list, this.nothing, this.bar);
  }

  /** Makes the introduction that a first visit shows. */
  #welcome() {
    const onclick = () => { localStorage.setItem(WELCOMED, "yes"); node.remove(); this.search.focus(); };
    const node = h("section.welcome",
      h("h2", t("welcome")), h("p", t("welcomeText")), makeExample(), h("button", { onclick }, t("dismiss")));
    return node;
  }

  #refresh(ids) {
    for (const [id, row] of this.#rows) {
      const item = this.#store.plugins.get(id);
      if (item && (!ids || ids.includes(id))) row.update(item);
    }
  }

  #arrange = oncePerFrame(() => this.#arrangeNow());

  #arrangeNow() {
    const { plugins, connection } = this.#store;
    for (const [id, row] of this.#rows) {
      if (plugins.has(id)) continue;
      this.#observer.unobserve(row.node);
      this.#seen.delete(row);
      this.#rows.delete(id);
      this.#selected.delete(id);
    }
    const items = [...plugins.values()];
    for (const item of items) {
      if (this.#rows.has(item.id)) continue;
      const row = new Row(item, this.#app);
      this.#rows.set(item.id, row);
      this.#observer.observe(row.node);
    }
    const shown = items.filter(FILTERS[choice.filter]).filter(matches(choice.query));
    this.#shown = this.#sort(shown).map((item) => item.id);
    arrange(this.list, this.#shown.map((id) => this.#rows.get(id).node));
    for (const chip of this.filters) {
      const { name } = chip.dataset;
      const count = items.filter(FILTERS[name]).length;
      setText(chip.lastChild, formatNumber(count));
      chip.ariaPressed = choice.filter === name;
      chip.classList.toggle("none", !count);
    }
    for (const column of this.columns) {
      const isChosen = column.dataset.name === choice.sort;
      column.dataset.order = isChosen ? (choice.isReversed ? " ↑" : " ↓") : "";
      column.ariaPressed = isChosen;
    }
    this.refresh.hidden = !this.#actions.mayChange();
    this.graph.hidden = !items.some((item) => item.depends_on?.length);
    this.#showSelection();
    this.#showNothing(connection.at && !shown.length ? (items.length ? "none" : "without") : "");
  }

  #sort(items) {
    const { compare } = collator;
    const by = SORTS[choice.sort];
    const keyed = items.map((item) => [by(item, this.#store), item]);
    keyed.sort(([one, { name }], [other, item]) => (typeof one === "string" ? compare(one, other) : one - other) || compare(name, item.name));
    if (choice.isReversed) keyed.reverse();
    return keyed.map(([, item]) => item);
  }

  #select(ids, isOn) {
    for (const id of ids) this.#selected[isOn ? "add" : "delete"](id);
    this.#showSelection();
  }

  #showSelection() {
    const ids = [...this.#selected];
    for (const [id, row] of this.#rows) row.checkbox.checked = this.#selected.has(id);
    this.everything.checked = ids.length > 0 && this.#shown.every((id) => this.#selected.has(id));
    this.everything.indeterminate = ids.length > 0 && !this.everything.checked;
    this.bar.hidden = !ids.length;
    const isDenied = ids.length && !ids.some((id) => this.#actions.mayChange(id));
    setText(this.count, ids.length ? [t("selected", ids.length), isDenied && t("notYours")].filter(Boolean).join(" · ") : "");
    for (const button of this.verbs) {
      button.disabled = !ids.some((id) => this.#actions.mayChange(id) && allows(this.#store.plugins.get(id), button.dataset.name));
    }
  }

  /** @param state `without`: there are no plugins; `none`: none matches; empty: some are shown */
  #showNothing(state) {
    if (this.nothing.dataset.state === state) return;
    this.nothing.dataset.state = this.node.className = state;
    this.nothing.replaceChildren(...(state === "none" ? [h("p", t("nothingFound"))] : state ? [
      h("h2", t("emptyTitle")), h("p", t("emptyText")), makeExample(),
      h("button.primary", { onclick: () => this.#actions.refresh() }, t("refresh")),
    ] : []));
  }
}

function matches(query) {
  const words = query.toLowerCase().split(/\s+/);
  return ({ id, name, description }) => {
    const text = `${id}\n${name}\n${description}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}
