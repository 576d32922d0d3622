// What is remembered of a plugin: who has started, stopped or disabled it.

import { h, setText } from "./dom.js";
import { formatTime, t } from "./i18n.js";

export class Intent {
  #actions;
  #id;
  #text = h("span");
  #forget = h("button.link", { title: t("forgetText"), onclick: () => this.#actions.perform("forget", [this.#id]) }, t("forget"));
  node = h("p.intent", this.#text, " ", this.#forget);

  constructor(actions) {
    this.#actions = actions;
  }

  update(item) {
    const { id, intent, disabled } = item;
    this.#id = id;
    const shown = disabled ?? intent;
    this.node.hidden = !shown;
    this.#forget.hidden = Boolean(disabled) || !this.#actions.mayChange(id);
    if (shown) setText(this.#text, t(`wanted_${disabled ? "disabled" : intent.wanted}`, shown.by, formatTime(shown.at)));
  }
}
