// The list: what is shown of all plugins, in which order, and what is done to several.

import { allows, VERBS } from "./actions.js";
import { arrange, h, icon, oncePerFrame, setText } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { Row } from "./row.js";
import { kindOf } from "./status.js";

const FILTERS = {
  all: () => true,
  running: (item) => item.status === "running",
  changing: (item) => item.status === "starting" || item.status === "stopping",
  stopped: (item) => item.status === "stopped",
  error: (item) => item.status === "error" || item.flapping,
};
const RANK = ["error", "stopping", "starting", "running", "stopped", "disabled"];

/** What each column sorts by; figures begin with the largest. */
const SORTS = {
  name: (item) => item.name.toLowerCase(),
  status: (item) => RANK.indexOf(kindOf(item)),
  uptime: (item, { picture }) => -(picture.uptimeOf(item) ?? -1),
  cpu: (item, { picture }) => -(picture.metrics.get(item.id)?.cpu_percent ?? -1),
  memory: (item, { picture }) => -(picture.metrics.get(item.id)?.memory_mb ?? -1),
  restarts: (item) => -(item.restarts ?? -1),
};

/** What the person has chosen; it outlives a look at one plugin. */
const choice = { query: "", filter: "all", sort: "name", isReversed: false };
const collator = new Intl.Collator(undefined, { numeric: true });

export class ListView {
  #rows = new Map();
  #selected = new Set();
  #shown = [];
  #picture;
  #actions;
  #app;
  #ticking;
  #stop = new AbortController();
  #seen = new Set();
  #observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#seen.add(target.row);
      else this.#seen.delete(target.row);
      if (isIntersecting) target.row.tick();
    }
  }, { rootMargin: "200px" });

  constructor(app) {
    const { picture, actions } = app;
    this.#picture = picture;
    this.#actions = actions;
    this.#app = { picture, actions, onSelect: (id, isOn) => this.#select([id], isOn) };
    this.#build();
    const { signal } = this.#stop;
    picture.addEventListener("plugins", ({ detail: { ids } }) => { this.#refresh(ids); this.#arrange(); }, { signal });
    picture.addEventListener("metrics", () => { this.#refresh(null); this.#arrange(); }, { signal });
    picture.addEventListener("connection", () => { this.#arrange(); this.#tick(); }, { signal });
    actions.addEventListener("change", ({ detail: { ids } }) => this.#refresh(ids), { signal });
    this.#refresh(null);
    this.#arrangeNow();
    this.#ticking = setInterval(() => this.#tick(), 1000);
  }

  /** Takes the view down. */
  close() {
    clearInterval(this.#ticking);
    this.#stop.abort();
    this.#observer.disconnect();
  }

  #build() {
    this.search = h("input", {
      id: "search", type: "search", placeholder: t("search"), "aria-label": t("search"), autocomplete: "off", spellcheck: false,
      value: choice.query, oninput: () => { choice.query = this.search.value; this.#arrange(); },
    });
    this.filters = Object.keys(FILTERS).map((name) =>
      h("button", { className: `chip ${name}`, "data-filter": name, onclick: () => { choice.filter = name; this.#arrange(); } },
        t(name), " ", h("b")));
    this.columns = Object.keys(SORTS).map((name) =>
      h("button", { className: `column ${name}`, "data-sort": name, onclick: () => this.#sortBy(name) }, t(name)));
    this.sort = h("select", { "aria-label": t("sort"), onchange: () => this.#sortBy(this.sort.value) },
      Object.keys(SORTS).map((name) => h("option", { value: name, selected: name === choice.sort }, t(name))));
    this.everything = h("input", {
      type: "checkbox", "aria-label": t("selectAll"), onchange: () => this.#select(this.#shown, this.everything.checked),
    });
    this.list = h("ul", { className: "list", role: "list", "aria-label": t("appName") });
    this.nothing = h("div", { className: "empty" });
    this.count = h("b", { role: "status" });
    this.bar = h("div", { className: "bar", role: "group", hidden: true }, this.count,
      VERBS.map((verb) =>
        h("button", { "data-verb": verb, onclick: () => this.#actions.perform(verb, [...this.#selected]) }, t(verb))),
      h("button", { className: "link", onclick: () => this.#select([...this.#selected], false) }, t("clear")));
    this.node = h("div", {},
      h("h1", { className: "unseen" }, t("appName")),
      this.welcome(),
      h("div", { className: "toolbar" },
        h("div", { className: "chips", role: "group", "aria-label": t("filter") }, this.filters),
        h("div", { className: "finder" }, icon("search"), this.search),
        this.sort,
        h("button", { onclick: () => this.#actions.refresh() }, t("refresh"))),
      h("div", { className: "columns" }, h("label", { className: "pick" }, this.everything), this.columns),
      this.list, this.nothing, this.bar);
  }

  /** What somebody reads who is here for the first time. */
  welcome() {
    if (localStorage.getItem("plugvisor.welcomed")) return null;
    const node = h("section", { className: "welcome" },
      h("h2", {}, t("welcome")),
      h("p", {}, t("welcomeText")),
      twoLines(),
      h("button", { onclick: () => { localStorage.setItem("plugvisor.welcomed", "yes"); node.remove(); this.search.focus(); } }, t("understood")));
    return node;
  }

  /** Brings rows up to date: those of `ids`, or with null all. */
  #refresh(ids) {
    for (const id of ids ?? this.#picture.plugins.keys()) {
      const item = this.#picture.plugins.get(id);
      if (item) this.#rows.get(id)?.update(item);
    }
  }

  #arrange = oncePerFrame(() => this.#arrangeNow());

  #arrangeNow() {
    const { plugins, connection } = this.#picture;
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
    const shown = this.#sorted(items.filter(FILTERS[choice.filter]).filter(matches(choice.query)));
    this.#shown = shown.map((item) => item.id);
    arrange(this.list, this.#shown.map((id) => this.#rows.get(id).node));
    this.#showChoice(items);
    this.#showSelection();
    this.#showNothing(items.length, shown.length, connection.at > 0);
  }

  #sorted(items) {
    const by = SORTS[choice.sort];
    const keyed = items.map((item) => [by(item, this.#app), item]);
    const compare = (one, other) => (typeof one === "string" ? collator.compare(one, other) : one - other);
    keyed.sort((one, other) => compare(one[0], other[0]) || collator.compare(one[1].name, other[1].name));
    if (choice.isReversed) keyed.reverse();
    return keyed.map(([, item]) => item);
  }

  #sortBy(name) {
    choice.isReversed = choice.sort === name && !choice.isReversed;
    choice.sort = name;
    this.#arrange();
  }

  #showChoice(items) {
    for (const chip of this.filters) {
      const { filter } = chip.dataset;
      const count = items.filter(FILTERS[filter]).length;
      setText(chip.lastChild, formatNumber(count));
      chip.setAttribute("aria-pressed", String(choice.filter === filter));
      // what is never seen needs no button, except the one that is pressed
      chip.hidden = filter === "changing" && !count && choice.filter !== filter;
    }
    for (const column of this.columns) {
      const isChosen = column.dataset.sort === choice.sort;
      column.dataset.order = isChosen ? (choice.isReversed ? "up" : "down") : "";
      column.setAttribute("aria-pressed", String(isChosen));
    }
    this.sort.value = choice.sort;
  }

  #select(ids, isOn) {
    for (const id of ids) {
      if (isOn) this.#selected.add(id);
      else this.#selected.delete(id);
    }
    this.#showSelection();
  }

  #showSelection() {
    const count = this.#selected.size;
    for (const [id, row] of this.#rows) row.checkbox.checked = this.#selected.has(id);
    this.everything.checked = count > 0 && this.#shown.every((id) => this.#selected.has(id));
    this.everything.indeterminate = count > 0 && !this.everything.checked;
    this.bar.hidden = !count;
    setText(this.count, count ? t("selected", count) : "");
    for (const button of this.bar.querySelectorAll("[data-verb]")) {
      button.disabled = ![...this.#selected].some((id) => allows(this.#picture.plugins.get(id), button.dataset.verb));
    }
  }

  #showNothing(total, shown, isKnown) {
    const state = shown || !isKnown ? "" : total ? "none" : "empty";
    this.node.classList.toggle("without", state === "empty");
    if (this.nothing.dataset.state === state) return;
    this.nothing.dataset.state = state;
    if (!state) this.nothing.replaceChildren();
    else if (state === "none") {
      this.nothing.replaceChildren(h("p", {}, t("nothingFound")), h("button", { onclick: () => this.#showAll() }, t("showAll")));
    } else {
      this.nothing.replaceChildren(
        h("h2", {}, t("emptyTitle")), h("p", {}, t("emptyText")), twoLines(), h("p", {}, t("emptyThen")),
        h("button", { className: "primary", onclick: () => this.#actions.refresh() }, t("refresh")));
    }
  }

  #showAll() {
    Object.assign(choice, { query: "", filter: "all" });
    this.search.value = "";
    this.search.focus();
    this.#arrange();
  }

  #tick() {
    for (const row of this.#seen) row.tick();
  }
}

/** The least that a manifest needs. */
export const twoLines = () =>
  h("pre", { className: "lines" }, '[plugin]\nid = "hello"\ncommand = ["python", "main.py"]');

function matches(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return (item) => {
    const text = `${item.id}\n${item.name}\n${item.description}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}
