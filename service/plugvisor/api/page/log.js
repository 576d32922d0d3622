// Shows a plugin's log as it grows, with search, a level filter, pause and download.

import { ask, pathOf } from "./api.js";
import { parseAnsi, plainText } from "./ansi.js";
import { toast, textOf } from "./dialogs.js";
import { h, setText } from "./dom.js";
import { formatTime, t } from "./i18n.js";
import { Stream } from "./stream.js";

const KEPT_LINES = 2000;
const LONGEST_LINE = 4000;
const RANK = { DEBUG: 1, INFO: 2, NOTICE: 2, SUCCESS: 2, WARNING: 3, ERROR: 4, CRITICAL: 5, FATAL: 5 };

export class LogView {
  #id;
  #stream;
  #rank = 2;
  /** The entries that came while paused; null if not paused. */
  #waiting = null;
  #note = h("p.note", { role: "status" });
  #lines = h("div.log", { tabIndex: 0, role: "log", ariaLive: "off", ariaLabel: t("log") });
  #search = h("input", { type: "search", placeholder: t("searchLog"), ariaLabel: t("searchLog"), oninput: () => this.#filter() });
  #level = h("select", { ariaLabel: t("level"), onchange: () => this.#filter() },
    h("option", { value: "" }, t("anyLevel")), ["DEBUG", "INFO", "WARNING", "ERROR"].map((name) => h("option", { value: name }, `≥ ${name}`)));
  #pause = h("button", { ariaPressed: "false", onclick: () => this.#togglePause() }, t("pause"));
  node = h("section.card",
    h("div.toolbar", h("h2", t("log")), this.#search, this.#level, this.#pause,
      h("button", { onclick: () => this.#download() }, t("download"))),
    this.#note, this.#lines);

  constructor(id) {
    this.#id = id;
    this.#stream = new Stream(pathOf(id, "logs/stream?lines=500"), {
      onEvent: (kind, { logs }) => this.#take(kind, logs),
      onLost: (problem) => setText(this.#note, problem.status ? textOf(problem) : t("logLost")),
    });
  }

  close() {
    this.#stream.close();
  }

  #take(kind, logs) {
    if (kind === "initial") {
      this.#lines.replaceChildren();
      this.#waiting &&= [];
    }
    if (!this.#waiting) return this.#append(logs);
    this.#waiting = [...this.#waiting, ...logs].slice(-KEPT_LINES);
    setText(this.#note, t("waiting", this.#waiting.length));
  }

  #append(logs) {
    const lines = this.#lines;
    const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const nodes = logs.slice(-KEPT_LINES).map((entry) => this.#makeLine(entry));
    lines.append(...nodes);
    while (lines.childElementCount > KEPT_LINES) lines.firstChild.remove();
    this.#filter(nodes);
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  }

  #makeLine({ timestamp, level, message }) {
    // a line without a level, such as one of a traceback, has that of the line before it
    if (level) this.#rank = RANK[level] ?? 0;
    const text = message.length > LONGEST_LINE ? `${message.slice(0, LONGEST_LINE)} …` : message;
    return h("div.line", { "data-rank": this.#rank },
      timestamp && h("time", { dateTime: timestamp, title: timestamp }, formatTime(timestamp)), timestamp && " ",
      level && h(`b.level.rank${this.#rank}`, level), level && " ",
      parseAnsi(text).map(([piece, classes]) => h("span", { className: classes }, piece)));
  }

  #filter(nodes = this.#lines.children) {
    const query = this.#search.value.toLowerCase();
    const least = RANK[this.#level.value] ?? 0;
    for (const node of nodes) {
      node.hidden = node.dataset.rank < least || !node.textContent.toLowerCase().includes(query);
    }
    if (this.#waiting) return;
    const isShown = this.#lines.querySelector(".line:not([hidden])");
    setText(this.#note, isShown ? "" : t(this.#lines.firstChild ? "nothingFound" : "emptyLog"));
  }

  #togglePause() {
    const waiting = this.#waiting;
    this.#waiting = waiting ? null : [];
    this.#pause.ariaPressed = String(!waiting);
    setText(this.#pause, t(waiting ? "pause" : "resume"));
    this.#append(waiting ?? []);
  }

  async #download() {
    try {
      const { logs } = await ask(pathOf(this.#id, "logs?lines=10000"));
      const lines = logs.map(({ timestamp, level, message }) => [timestamp, level, plainText(message)].filter(Boolean).join(" "));
      const href = URL.createObjectURL(new Blob([lines.join("\n"), "\n"]));
      h("a", { href, download: `${this.#id}.log` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    } catch (problem) {
      toast(textOf(problem), true);
    }
  }
}
