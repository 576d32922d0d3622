// A plugin's row in the list.

import { h, icon, setText } from "./dom.js";
import { formatMemory, formatNumber, formatPercent, t } from "./i18n.js";
import { hrefOf, kindOf, watchOf } from "./item.js";
import { Needs } from "./needs.js";
import { ActionButtons, StatusLabel, Trouble } from "./status.js";

export class Row {
  #store;
  #item;
  #parts;
  #trouble;
  #link = h("a");
  #version = h("span.version");
  #description = h("p.description");
  #watch = h("p.watch", { hidden: true });
  #figures = ["cpu", "memory", "restarts"].map((name) => h("div.figure", h("span", t(name), " "), h("b")));

  constructor(item, { store, actions, onSelect }) {
    this.#store = store;
    this.#item = item;
    this.#trouble = new Trouble({ actions, store }, true);
    this.#parts = [new StatusLabel(store), new ActionButtons(actions), this.#trouble, new Needs(store, false)];
    const [status, buttons, trouble, needs] = this.#parts.map((part) => part.node);
    this.checkbox = h("input", { type: "checkbox", onchange: () => onSelect(item.id, this.checkbox.checked) });
    this.node = h("li.row", { onanimationend: () => this.node.classList.remove("changed") },
      this.checkbox,
      h("div.about", h("h2", this.#link, this.#version), this.#description, needs, this.#watch),
      status, h("div.figures", this.#figures), buttons, trouble);
    this.node.row = this;
    this.update(item);
  }

  /** Shows a plugin's current state; highlights the row for a moment if its status has changed. */
  update(item) {
    // a crash loop would be highlighted all the time
    const hasChanged = !item.flapping && kindOf(item) !== kindOf(this.#item);
    this.#item = item;
    setText(this.#link, item.name);
    this.#link.href = hrefOf(item.id);
    setText(this.#version, item.version + (this.#store.placesOf?.(item) ?? ""));
    setText(this.#description, item.description);
    this.#markWatch(watchOf(item));
    this.checkbox.ariaLabel = `${t("select")} ${item.name}`;
    Object.assign(this.node.dataset, { id: item.id, status: kindOf(item) });
    for (const part of this.#parts) part.update(item);
    const metric = this.#store.metrics.get(item.id);
    const figures = [
      metric && formatPercent(metric.cpu_percent), metric && formatMemory(metric.memory_mb), item.restarts && formatNumber(item.restarts),
    ];
    this.#figures.forEach((figure, index) => {
      setText(figure.lastChild, figures[index] || "–");
      figure.classList.toggle("none", !figures[index]);
    });
    if (hasChanged) this.node.classList.add("changed");
  }

  /** Says that changes of files are not all noticed. */
  #markWatch(kind) {
    if (this.#watch.dataset.watch === kind) return;
    this.#watch.dataset.watch = kind;
    this.#watch.hidden = kind !== "suspended" && kind !== "incomplete";
    this.#watch.replaceChildren(...(this.#watch.hidden ? [] : [icon("unhealthy"), t(`listed_${kind}`)]));
  }

  /** Updates times and fetches the log's last lines; called every second while the row is visible. */
  tick() {
    this.#parts[0].tick();
    this.#trouble.load(this.#item);
  }
}
