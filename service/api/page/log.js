// A plugin's log as it grows: searched, filtered by level, paused, downloaded.

import { ask, pathOf } from "./api.js";
import { parseAnsi, plainText } from "./ansi.js";
import { toast, wordOf } from "./dialogs.js";
import { h, setText } from "./dom.js";
import { formatTime, t } from "./i18n.js";
import { Stream } from "./stream.js";

const KEPT_LINES = 2000;
const FIRST_LINES = 500;
const DOWNLOADED_LINES = 10_000;
const LONGEST_LINE = 4000;
const RANK = { TRACE: 0, DEBUG: 1, INFO: 2, NOTICE: 2, SUCCESS: 2, WARNING: 3, ERROR: 4, CRITICAL: 5, FATAL: 5 };

export class LogView {
  #id;
  #stream;
  #rank = 2;
  #waiting = null;
  #hasLines = false;

  constructor(id) {
    this.#id = id;
    this.#build();
    this.#stream = new Stream(pathOf(id, `logs/stream?lines=${FIRST_LINES}`), {
      onOpen: () => this.#say(""),
      onEvent: (kind, { logs }) => this.#take(kind, logs),
      onLost: (problem) => this.#say(problem.code === "network" ? t("logLost") : wordOf(problem)),
    });
  }

  close() {
    this.#stream.close();
  }

  #build() {
    const onchange = () => this.#filter();
    this.search = h("input", { type: "search", placeholder: t("searchLog"), "aria-label": t("searchLog"), oninput: onchange });
    this.level = h("select", { "aria-label": t("level"), onchange },
      h("option", { value: "" }, t("anyLevel")),
      ["DEBUG", "INFO", "WARNING", "ERROR"].map((name) => h("option", { value: name }, `≥ ${name}`)));
    this.pause = h("button", { "aria-pressed": "false", onclick: () => this.#pause() }, t("pause"));
    this.note = h("p", { className: "note", role: "status" });
    this.lines = h("div", { className: "log", tabIndex: 0, role: "log", "aria-label": t("log"), "aria-live": "off" });
    this.node = h("section", { className: "card wide" },
      h("div", { className: "toolbar" },
        h("h2", {}, t("log")), this.search, this.level, this.pause,
        h("button", { onclick: () => this.#download() }, t("download"))),
      this.note, this.lines);
  }

  #take(kind, logs) {
    if (kind === "initial") {
      this.lines.replaceChildren();
      this.#hasLines = false;
      this.#waiting = this.#waiting && [];
    }
    if (!this.#waiting) return this.#append(logs);
    this.#waiting = [...this.#waiting, ...logs].slice(-KEPT_LINES);
    this.#say(t("waiting", this.#waiting.length));
  }

  #append(logs) {
    const { lines } = this;
    const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const nodes = logs.slice(-KEPT_LINES).map((entry) => this.#makeLine(entry));
    lines.append(...nodes);
    while (lines.childElementCount > KEPT_LINES) lines.firstElementChild.remove();
    this.#hasLines ||= nodes.length > 0;
    this.#filter(nodes);
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  }

  #makeLine({ timestamp, level, message }) {
    // a line without a level, such as one of a traceback, goes with the line before it
    if (level) this.#rank = RANK[level] ?? 2;
    const isLong = message.length > LONGEST_LINE;
    const pieces = parseAnsi(isLong ? `${message.slice(0, LONGEST_LINE)} …` : message);
    return h("div", { className: "line", "data-rank": this.#rank },
      timestamp && h("time", { dateTime: timestamp, title: timestamp }, formatTime(timestamp)),
      level && h("b", { className: `level rank${RANK[level] ?? 2}` }, level),
      pieces.map(([text, classes]) => (classes ? h("span", { className: classes }, text) : text)));
  }

  #filter(nodes = this.lines.children) {
    const query = this.search.value.toLowerCase();
    const least = RANK[this.level.value] ?? 0;
    for (const node of nodes) {
      node.hidden = Number(node.dataset.rank) < least || (query !== "" && !node.textContent.toLowerCase().includes(query));
    }
    if (!this.#waiting) this.#say(!this.#hasLines ? t("emptyLog") : this.lines.querySelector(".line:not([hidden])") ? "" : t("noMatch"));
  }

  #pause() {
    const waiting = this.#waiting;
    this.#waiting = waiting ? null : [];
    this.pause.setAttribute("aria-pressed", String(!waiting));
    setText(this.pause, t(waiting ? "pause" : "resume"));
    this.#say("");
    if (waiting) this.#append(waiting);
  }

  async #download() {
    try {
      const { logs } = await ask(pathOf(this.#id, `logs?lines=${DOWNLOADED_LINES}`));
      const text = logs.map(({ timestamp, level, message }) => [timestamp, level, plainText(message)].filter(Boolean).join(" "));
      const href = URL.createObjectURL(new Blob([text.join("\n"), "\n"], { type: "text/plain" }));
      h("a", { href, download: `${this.#id}.log` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    } catch (problem) {
      toast(wordOf(problem), true);
    }
  }

  #say(text) {
    setText(this.note, text);
  }
}
