// One plugin in the list.

import { h, setText } from "./dom.js";
import { formatMemory, formatNumber, formatPercent, t } from "./i18n.js";
import { ActionButtons, kindOf, StatusLabel, Trouble } from "./status.js";

export class Row {
  #app;
  #item;
  #status;
  #buttons;
  #trouble;
  #link = h("a");
  #version = h("span", { className: "version" });
  #description = h("p", { className: "description" });
  #figures = Object.fromEntries(["cpu", "memory", "restarts"].map((name) => [name, h("b")]));

  constructor(item, app) {
    this.#app = app;
    this.#item = item;
    this.#status = new StatusLabel(app.picture);
    this.#buttons = new ActionButtons(app.actions);
    this.#trouble = new Trouble(app.actions, true);
    this.checkbox = h("input", { type: "checkbox", onchange: () => app.onSelect(item.id, this.checkbox.checked) });
    this.node = h("li", { className: "row" },
      h("label", { className: "pick" }, this.checkbox),
      h("div", { className: "about" }, h("h2", {}, this.#link, this.#version), this.#description),
      this.#status.node,
      h("div", { className: "figures" }, Object.entries(this.#figures).map(([name, figure]) =>
        h("div", { className: `figure ${name}` }, h("span", {}, t(name), " "), figure))),
      this.#buttons.node,
      this.#trouble.node);
    this.node.row = this;
    this.update(item);
  }

  /** Shows a plugin as it is now; marks it for a moment where its status has changed. */
  update(item) {
    const hasMoved = kindOf(item) !== kindOf(this.#item);
    this.#item = item;
    setText(this.#link, item.name);
    this.#link.href = `#/plugin/${encodeURIComponent(item.id)}`;
    setText(this.#version, item.version);
    setText(this.#description, item.description);
    this.checkbox.setAttribute("aria-label", t("select", item.name));
    this.node.dataset.id = item.id;
    this.node.dataset.status = kindOf(item);
    this.#status.update(item);
    this.#buttons.update(item);
    this.#trouble.update(item);
    const metric = this.#app.picture.metrics.get(item.id);
    this.#show("cpu", metric && formatPercent(metric.cpu_percent));
    this.#show("memory", metric && formatMemory(metric.memory_mb));
    this.#show("restarts", item.restarts === undefined ? "" : formatNumber(item.restarts));
    if (hasMoved) this.#mark();
  }

  /** To be called each second while it can be seen. */
  tick() {
    this.#status.tick();
    this.#trouble.load(this.#item);
  }

  #show(name, text) {
    setText(this.#figures[name], text || "–");
    this.#figures[name].parentNode.classList.toggle("none", !text || text === "0");
  }

  #mark() {
    this.node.classList.remove("moved");
    void this.node.offsetWidth; // begins the animation anew
    this.node.classList.add("moved");
    this.node.addEventListener("animationend", () => this.node.classList.remove("moved"), { once: true });
  }
}
