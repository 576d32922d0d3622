// A plugin's status as it is shown everywhere: shape and word, what counts beside it, the buttons, and what is wrong.

import { ask, pathOf } from "./api.js";
import { allows, isBroken } from "./actions.js";
import { plainText } from "./ansi.js";
import { signIn, wordOf } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatDuration, t } from "./i18n.js";
import { getCode } from "./session.js";

const TAIL_LINES = 20;

/** The key of the word and shape for a plugin; what may not be started is told from what merely does not run. */
export const kindOf = (item) => (item.status === "stopped" && !item.enabled ? "disabled" : item.status);

/** Shape, word and what counts: uptime, the seconds until SIGKILL, or until the next try. */
export class StatusLabel {
  #picture;
  #word = h("span", { className: "word" });
  #count = h("span", { className: "count" });
  node = h("div", { className: "status" }, icon("stopped"), this.#word, this.#count);
  #item;
  #stopSeconds;

  constructor(picture) {
    this.#picture = picture;
  }

  update(item) {
    this.#item = item;
    const kind = kindOf(item);
    if (!this.node.firstChild.classList.contains(kind)) this.node.firstChild.replaceWith(icon(kind));
    setText(this.#word, t(item.flapping && kind === "running" ? "flapping" : kind));
    if (item.status !== "stopping") this.#stopSeconds = undefined;
    this.tick();
  }

  /** To be called each second while it can be seen. */
  tick() {
    const item = this.#item;
    if (item.status === "stopping" && item.changedAt && this.#stopSeconds === undefined) {
      this.#stopSeconds = 0;
      this.#picture.manifestOf(item.id).then((answer) => {
        this.#stopSeconds = answer?.manifest?.supervisor.stopwaitsecs ?? 0;
        this.tick();
      });
    }
    setText(this.#count, this.#describe(item));
  }

  #describe(item) {
    if (item.status === "stopping") {
      if (!this.#stopSeconds || !this.#picture.isLive) return "";
      const left = Math.ceil(this.#stopSeconds - (Date.now() - item.changedAt) / 1000);
      return left > 0 ? t("killIn", left) : t("killed");
    }
    if (item.retry_at) {
      const left = Math.ceil((Date.parse(item.retry_at) - this.#picture.serverTime()) / 1000);
      return left > 0 ? t("retryIn", left) : "";
    }
    const uptime = this.#picture.uptimeOf(item);
    return uptime === undefined ? "" : formatDuration(uptime);
  }
}

/** Start or stop, and reload. They answer at once; while something is under way they say so and take no click. */
export class ActionButtons {
  #actions;
  #item;
  #first = h("button", { onclick: (event) => this.#click(event, this.#verb) });
  #reload = h("button", { onclick: (event) => this.#click(event, "reload") });
  node = h("div", { className: "actions" }, this.#first, this.#reload);

  constructor(actions) {
    this.#actions = actions;
  }

  get #verb() {
    return allows(this.#item, "stop") ? "stop" : "start";
  }

  update(item) {
    this.#item = item;
    const pending = this.#actions.pending.get(item.id)?.verb;
    this.#show(this.#first, pending && pending !== "reload" ? pending : this.#verb, pending);
    this.#show(this.#reload, "reload", pending);
  }

  #show(button, verb, pending) {
    setText(button, t(pending === verb ? `${verb}Pending` : verb));
    button.setAttribute("aria-label", pending === verb ? t(`${verb}Pending`) : t(`${verb}One`, this.#item.name));
    button.classList.toggle("busy", pending === verb);
    // not `disabled`, which would take the focus away from who has just pressed it
    button.setAttribute("aria-disabled", String(Boolean(pending) || !allows(this.#item, verb)));
  }

  #click(event, verb) {
    // a double click on Stop must not press the Start that it has become
    if (event.detail > 1 || event.currentTarget.getAttribute("aria-disabled") === "true") return;
    this.#actions.perform(verb, [this.#item.id]);
  }
}

/** Why a plugin is as it is, with its last lines beneath: one look tells. */
export class Trouble {
  #actions;
  #hasLog;
  #lines = h("pre", { className: "tail", tabIndex: 0 });
  #shown = "";
  node = h("div", { className: "trouble", hidden: true });

  /** @param hasLog whether to show the log's last lines, which `load` fetches */
  constructor(actions, hasLog) {
    this.#actions = actions;
    this.#hasLog = hasLog;
  }

  update(item) {
    const failure = this.#actions.failures.get(item.id);
    const isBad = item.status === "error" || item.flapping;
    const detail = isBad || isBroken(item) ? item.detail : "";
    const texts = [...new Set([failure && wordOf(failure), detail].filter(Boolean))];
    const withLog = this.#hasLog && isBad && item.last_exit;
    const key = JSON.stringify([texts, Boolean(getCode()), withLog]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.node.hidden = !texts.length;
    this.node.replaceChildren(...this.#describe(item, failure, texts, withLog));
  }

  #describe(item, failure, texts, withLog) {
    const parts = texts.map((text) => h("p", { className: "detail", lang: "en" }, text));
    if (isBroken(item)) {
      parts.push(h("p", {}, t("mend")), h("pre", { className: "lines" }, '[plugin]\nid = "hello"\ncommand = ["python", "main.py"]'));
    }
    if (withLog && getCode()) {
      this.#lines.setAttribute("aria-label", t("lastLines"));
      parts.push(this.#lines);
    } else if (withLog) {
      parts.push(h("button", { className: "link", onclick: signIn }, t("signInForLog")));
    }
    if (failure) parts.push(h("button", { className: "link", onclick: () => this.#actions.dismiss(item.id) }, t("dismiss")));
    return parts;
  }

  /** Fetches the last lines, if they are to be shown and are not those of this exit already. */
  async load(item) {
    if (!this.#lines.isConnected || this.#lines.dataset.of === item.last_exit?.at) return;
    this.#lines.dataset.of = item.last_exit?.at;
    try {
      const { logs } = await ask(pathOf(item.id, `logs?lines=${TAIL_LINES}`));
      setText(this.#lines, logs.map((entry) => plainText(entry.message)).join("\n") || t("noLines"));
      this.#lines.scrollTop = this.#lines.scrollHeight;
    } catch (problem) {
      setText(this.#lines, wordOf(problem));
    }
  }
}
