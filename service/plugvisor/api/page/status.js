// A plugin's status as it is shown everywhere: shape and word, what counts beside it, the buttons, and what is wrong.

import { ask, pathOf } from "./api.js";
import { allows, isBroken } from "./actions.js";
import { plainText } from "./ansi.js";
import { signIn, wordOf } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatDuration, t } from "./i18n.js";
import { getCode } from "./session.js";

/** The word and shape for a plugin: what may not be started is told from what merely does not run. */
export const kindOf = (item) => (item.status === "stopped" && !item.enabled ? "disabled" : item.status);

/** The least that a manifest needs. */
export const twoLines = () => h("pre.lines", '[plugin]\nid = "hello"\ncommand = ["python", "main.py"]');

/** Shape, word and what counts: uptime, the seconds until SIGKILL, or until the next try. */
export class StatusLabel {
  #picture;
  #item;
  #stopSeconds;
  #word = h("span.word");
  #count = h("span.count");
  node = h("div.status", icon(""), this.#word, this.#count);

  constructor(picture) {
    this.#picture = picture;
  }

  update(item) {
    this.#item = item;
    const kind = kindOf(item);
    if (!this.node.firstChild.classList.contains(kind)) this.node.firstChild.replaceWith(icon(kind));
    setText(this.#word, t(item.flapping && kind === "running" ? "flapping" : kind));
    if (kind !== "stopping") this.#stopSeconds = undefined;
    this.tick();
  }

  /** To be called each second while it can be seen. */
  tick() {
    const { id, status, changedAt } = this.#item;
    if (status === "stopping" && changedAt && this.#stopSeconds === undefined) {
      this.#stopSeconds = 0;
      this.#picture.manifestOf(id).then((answer) => {
        this.#stopSeconds = answer?.manifest?.supervisor.stopwaitsecs ?? 0;
        this.tick();
      });
    }
    setText(this.#count, this.#describe());
  }

  #describe() {
    const { status, changedAt, retry_at } = this.#item;
    if (status === "stopping") {
      if (!this.#stopSeconds || !this.#picture.isLive) return "";
      const left = Math.ceil(this.#stopSeconds - (Date.now() - changedAt) / 1000);
      return left > 0 ? t("killIn", left) : t("killed");
    }
    if (retry_at) {
      const left = Math.ceil((Date.parse(retry_at) - this.#picture.serverTime()) / 1000);
      return left > 0 ? t("retryIn", left) : "";
    }
    const uptime = this.#picture.uptimeOf(this.#item);
    return uptime === undefined ? "" : formatDuration(uptime);
  }
}

/** Start or stop, and reload. They answer at once; while something is under way they say so and take no click. */
export class ActionButtons {
  #actions;
  #item;
  #buttons = [() => (allows(this.#item, "stop") ? "stop" : "start"), () => "reload"].map((getVerb) => {
    const button = h("button", { onclick: (event) => this.#click(event, getVerb()) });
    return [button, getVerb];
  });
  node = h("div.actions", this.#buttons.map(([button]) => button));

  constructor(actions) {
    this.#actions = actions;
  }

  update(item) {
    this.#item = item;
    const pending = this.#actions.pending.get(item.id);
    for (const [button, getVerb] of this.#buttons) {
      const isMine = pending && (pending === "reload") === (getVerb() === "reload");
      const verb = isMine ? pending : getVerb();
      const word = isMine ? `${t(`${verb}Pending`)}…` : t(verb);
      setText(button, word);
      button.ariaLabel = `${word} ${item.name}`;
      // not `disabled`, which would take the focus away from who has just pressed it
      button.ariaDisabled = Boolean(pending) || !allows(item, verb);
    }
  }

  #click({ detail, currentTarget }, verb) {
    // a double click on Stop must not press the Start that it has become
    if (detail < 2 && currentTarget.ariaDisabled !== "true") this.#actions.perform(verb, [this.#item.id]);
  }
}

/** Why a plugin is as it is, with its last lines beneath: one look tells. */
export class Trouble {
  #actions;
  #withLog;
  #shown = "";
  #lines = h("pre.tail", { tabIndex: 0, role: "group" });
  node = h("div.trouble", { hidden: true });

  /** @param withLog whether to show the log's last lines, which `load` fetches */
  constructor(actions, withLog) {
    this.#actions = actions;
    this.#withLog = withLog;
  }

  update(item) {
    const failure = this.#actions.failures.get(item.id);
    const isBad = item.status === "error" || item.flapping;
    const detail = isBad || isBroken(item) ? item.detail : "";
    const texts = [...new Set([failure && wordOf(failure), detail].filter(Boolean))];
    const withLog = this.#withLog && isBad && item.last_exit;
    const key = JSON.stringify([texts, getCode(), withLog]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.node.hidden = !texts.length;
    this.#lines.ariaLabel = `${t("log")} ${item.name}`;
    const link = (text, onclick) => h("button.link", { onclick }, text);
    this.node.replaceChildren(
      ...texts.map((text) => h("p.detail", { lang: "en" }, text)),
      ...(isBroken(item) ? [h("p", t("mend")), twoLines()] : []),
      ...(withLog ? [getCode() ? this.#lines : link(t("signInForLog"), signIn)] : []),
      ...(failure ? [link(t("dismiss"), () => this.#actions.dismiss(item.id))] : []));
  }

  /** Fetches the last lines, unless they are shown already. */
  async load({ id, last_exit }) {
    if (!this.#lines.isConnected || this.#lines.dataset.of === last_exit.at) return;
    this.#lines.dataset.of = last_exit.at;
    try {
      const { logs } = await ask(pathOf(id, "logs?lines=20"));
      setText(this.#lines, logs.map((entry) => plainText(entry.message)).join("\n") || t("emptyLog"));
      this.#lines.scrollTop = this.#lines.scrollHeight;
    } catch (problem) {
      setText(this.#lines, wordOf(problem));
    }
  }
}
