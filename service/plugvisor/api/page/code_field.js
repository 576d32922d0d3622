// A field for a manifest's text, with the numbers of its lines.

import { announce } from "./dialogs.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

const INDENT = "  ";

export class CodeField {
  #numbers = h("pre.numbers", { ariaHidden: "true" });
  #band = h("i.band", { hidden: true });
  #bandTop = 0;
  #mayLeave = false;
  #text = h("textarea", { id: "manifest", ariaLabel: "plugin.toml", spellcheck: false, wrap: "off", autocapitalize: "off", autocomplete: "off", rows: 18 });
  #onChange;
  node = h("div.code", this.#numbers, h("div.field", this.#band, this.#text));

  /**
   * @param describedBy the ids of what describes it
   * @param onChange called when the text is another one, or is shown again
   */
  constructor(describedBy, onChange) {
    this.#onChange = onChange;
    this.#text.setAttribute("aria-describedby", describedBy);
    this.#text.oninput = () => this.update();
    this.#text.onscroll = () => this.#placeNumbers();
    this.#text.onkeydown = (event) => this.#onKey(event);
  }

  get value() {
    return this.#text.value;
  }

  set value(text) {
    this.#text.value = text;
    this.update();
  }

  set readOnly(isReadOnly) {
    this.#text.readOnly = isReadOnly;
  }

  focus() {
    this.#text.focus();
  }

  /** Shows the text as it is now, without a mark. */
  update() {
    const count = this.value.split("\n").length;
    if (this.#numbers.childElementCount !== count) {
      this.#numbers.replaceChildren(...Array.from({ length: count }, (_, index) => h("span", `${index + 1}\n`)));
    }
    this.#band.hidden = true;
    this.#text.ariaInvalid = null;
    this.#placeNumbers();
    this.#onChange();
  }

  /** Moves to the beginning. */
  goToStart() {
    this.focus();
    this.#text.setSelectionRange(0, 0);
    this.#text.scrollTop = 0;
  }

  /** Says that the text is invalid. */
  markInvalid() {
    this.#text.ariaInvalid = "true";
  }

  /** Moves to a line and marks it. */
  goTo(line, column = 1) {
    const lines = this.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const { lineHeight, paddingTop } = getComputedStyle(this.#text);
    const height = parseFloat(lineHeight);
    this.#bandTop = parseFloat(paddingTop) + (line - 1) * height;
    this.#band.hidden = false;
    this.focus();
    const position = Math.min(start + column - 1, start + (lines[line - 1] ?? "").length);
    this.#text.setSelectionRange(position, position);
    this.#text.scrollTop = Math.max(0, this.#bandTop - this.#text.clientHeight / 3);
    this.#placeNumbers();
  }

  #placeNumbers() {
    this.#numbers.scrollTop = this.#text.scrollTop;
    this.#band.style.setProperty("translate", `0 ${this.#bandTop - this.#text.scrollTop}px`);
  }

  #onKey(event) {
    if (event.key === "Escape" && !this.#mayLeave) {
      event.preventDefault();
      this.#mayLeave = true;
      announce(t("tabLeaves"));
      return;
    }
    if (event.key !== "Tab") this.#mayLeave = event.key === "Escape" || event.key === "Shift" ? this.#mayLeave : false;
    else if (this.#mayLeave || event.shiftKey || this.#text.readOnly) this.#mayLeave = false;
    else {
      event.preventDefault();
      // unlike `setRangeText` this can be undone
      document.execCommand("insertText", false, INDENT);
    }
  }
}
