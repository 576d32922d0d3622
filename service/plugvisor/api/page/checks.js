// The card of a plugin's checks.

import { ask, pathOf } from "./api.js";
import { h, icon, oncePerFrame } from "./dom.js";
import { formatTime, t } from "./i18n.js";

const SYMBOLS = { up: "healthy", down: "unhealthy", starting: "unready" };

export class Checks {
  #id;
  #shown = "[]";
  #list = h("ul");
  node = h("section.card", { hidden: true }, h("h2", t("checks")), this.#list);

  constructor(id) {
    this.#id = id;
  }

  /** Fetches what the checks have found; what is shown stays if that fails. */
  load = oncePerFrame(async () => {
    const { checks = [] } = await ask(pathOf(this.#id, "health")).catch(() => ({ checks: JSON.parse(this.#shown) }));
    const shown = JSON.stringify(checks);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.node.hidden = !checks.length;
    this.#list.replaceChildren(...checks.map(({ name, level, status, failures, last_error, at }) =>
      h("li.check", { "data-status": SYMBOLS[status] },
        h("b", icon(SYMBOLS[status]), t(`check_${status}`)), " ", h("span.name", name), " ", h("span.hint", t(level)),
        h("p.hint", [failures > 0 && t("failures", failures), at && formatTime(at)].filter(Boolean).join(" · ")),
        last_error && h("p.detail", { lang: "en" }, last_error))));
  });
}
