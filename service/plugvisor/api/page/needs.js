// What a plugin depends on, what depends on it, and what it waits for.

import { h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { hrefOf, isFailing, isUnhealthy } from "./item.js";

/** Makes a link to a plugin, or its id alone if there is none. */
export function linkTo(store, id, style = "link") {
  const item = store.plugins.get(id);
  return item ? h(`a.${style}`, { href: hrefOf(id) }, item.name) : h(`span.${style}`, id);
}

/** Puts commas between nodes. */
export const enumerate = (nodes) => nodes.flatMap((node, index) => [index > 0 && ", ", node]);

/** What a plugin waits for, or lacks although it runs; else the status's `detail` if it is asked for. */
export class Needs {
  #store;
  #withDetail;
  #shown;
  node = h("p.needs", { hidden: true });

  /** @param withDetail whether to show the `detail` of a plugin that is not in trouble */
  constructor(store, withDetail) {
    this.#store = store;
    this.#withDetail = withDetail;
  }

  update(item) {
    const { queued, unmet = [] } = item;
    const isDetailed = !unmet.length && (queued || (this.#withDetail && !isFailing(item) && !isUnhealthy(item) && !item.disabled));
    const detail = isDetailed ? item.detail ?? "" : "";
    const shown = JSON.stringify([queued, unmet.map((id) => [id, this.#store.plugins.get(id)?.name]), detail]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.node.hidden = !unmet.length && !detail;
    this.node.replaceChildren(...(detail ? [h("span", { lang: "en" }, detail)] : [
      icon(queued ? "queued" : "unhealthy"), h("b", t(queued ? "waitsFor" : "lacks")), " ",
      ...enumerate(unmet.map((id) => linkTo(this.#store, id))).filter(Boolean)]));
  }
}
