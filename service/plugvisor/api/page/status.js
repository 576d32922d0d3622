// The parts that the list and a plugin's own view share: status, action buttons, and trouble.

import { ask, pathOf } from "./api.js";
import { plainText } from "./ansi.js";
import { signIn, textOf } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatDuration, t } from "./i18n.js";
import { allows, healthOf, isFailing, isInvalid, isUnhealthy, kindOf, symbolOf } from "./item.js";
import { linkTo } from "./needs.js";
import { getCode } from "./session.js";

function describeManifestError({ manifest_error: { line, message }, depends_on: needs }) {
  const where = line ? t("manifestLine", line) : t("manifestError");
  // one that could be read, but is part of a cycle, needs no example
  const repair = needs?.length ? [] : [h("p", t("repair")), makeExample()];
  return [h("p.detail", where, h("span", { lang: "en" }, message)), ...repair];
}

/** Makes an example of the smallest valid manifest. */
export const makeExample = () => h("pre.lines", '[plugin]\nid = "hello"\ncommand = ["python", "main.py"]');

/** Icon, status, health, and a counter: uptime, or the seconds until SIGKILL or the next retry. */
export class StatusLabel {
  #store;
  #item;
  #stopSeconds;
  #word = h("span.word");
  #count = h("span.count");
  #health = h("span.health");
  node = h("div.status", icon(""), this.#word, this.#count, this.#health);

  constructor(store) {
    this.#store = store;
  }

  update(item) {
    this.#item = item;
    const kind = kindOf(item);
    const symbol = symbolOf(kind);
    if (!this.node.firstChild.classList.contains(symbol)) this.node.firstChild.replaceWith(icon(symbol));
    setText(this.#word, t(kind));
    const health = healthOf(item) ?? "";
    if (this.#health.dataset.status !== health) {
      this.#health.dataset.status = health;
      this.#health.replaceChildren(...(health ? [icon(health), t(health)] : []));
    }
    if (kind !== "stopping") this.#stopSeconds = undefined;
    this.tick();
  }

  /** Updates the counter; called every second while it is visible. */
  tick() {
    const { id, status, changedAt } = this.#item;
    if (status === "stopping" && changedAt && this.#stopSeconds === undefined) {
      this.#stopSeconds = 0;
      this.#store.manifestOf(id).then((answer) => {
        this.#stopSeconds = answer?.manifest?.supervisor.stopwaitsecs ?? 0;
        this.tick();
      });
    }
    setText(this.#count, this.#describe());
  }

  #describe() {
    const { status, changedAt, retry_at } = this.#item;
    if (status === "stopping") {
      if (!this.#stopSeconds || !this.#store.isLive) return "";
      const left = Math.ceil(this.#stopSeconds - (Date.now() - changedAt) / 1000);
      return left > 0 ? t("killIn", left) : t("killed");
    }
    if (retry_at) {
      const left = Math.ceil((Date.parse(retry_at) - this.#store.serverTime()) / 1000);
      return left > 0 ? t("retryIn", left) : "";
    }
    const uptime = this.#store.uptimeOf(this.#item);
    return uptime === undefined ? "" : formatDuration(uptime);
  }
}

/** A button for each group of verbs. While a request is pending they show that and ignore clicks. */
export class ActionButtons {
  #actions;
  #item;
  #buttons;
  node = h("div.actions");

  /** @param groups of each the first verb that the plugin's status allows, else the last one */
  constructor(actions, groups = [["stop", "start"], ["reload"]]) {
    this.#actions = actions;
    this.#buttons = groups.map((verbs) => [h("button", { onclick: (event) => this.#click(event, this.#choose(verbs)) }), verbs]);
    this.node.append(...this.#buttons.map(([button]) => button));
  }

  #choose(verbs) {
    return verbs.find((verb) => allows(this.#item, verb)) ?? verbs.at(-1);
  }

  update(item) {
    this.#item = item;
    const pending = this.#actions.pending.get(item.id);
    this.node.hidden = !this.#actions.mayChange(item.id);
    for (const [button, verbs] of this.#buttons) {
      const isMine = verbs.includes(pending);
      const verb = isMine ? pending : this.#choose(verbs);
      const word = isMine ? `${t(`${verb}Pending`)}…` : t(verb);
      setText(button, word);
      button.ariaLabel = `${word} ${item.name}`;
      // `disabled` would remove the focus from the button that was just pressed
      button.ariaDisabled = Boolean(pending) || !allows(item, verb);
    }
  }

  #click({ detail, currentTarget }, verb) {
    // the second click of a double click would hit the other verb
    if (detail < 2 && currentTarget.ariaDisabled !== "true") this.#actions.perform(verb, [this.#item.id]);
  }
}

/** Why a plugin is in error or unhealthy, and the last lines of its log. */
export class Trouble {
  #actions;
  #store;
  #withLog;
  #shown = "";
  #lines = h("pre.tail", { tabIndex: 0, role: "group" });
  node = h("div.trouble", { hidden: true });

  /** @param withLog whether to show the last lines of the log, which `load` fetches */
  constructor({ actions, store }, withLog) {
    this.#actions = actions;
    this.#store = store;
    this.#withLog = withLog;
  }

  update(item) {
    const failure = this.#actions.failures.get(item.id);
    const detail = (isFailing(item) || isUnhealthy(item)) && !isInvalid(item) ? item.detail : "";
    const texts = [...new Set([failure && textOf(failure), detail].filter(Boolean))];
    const withLog = this.#withLog && isFailing(item) && item.last_exit;
    const key = JSON.stringify([texts, item.manifest_error, getCode(), withLog]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.node.hidden = !texts.length && !isInvalid(item);
    this.#lines.ariaLabel = `${t("log")} ${item.name}`;
    const link = (text, onclick) => h("button.link", { onclick }, text);
    this.node.replaceChildren(
      ...texts.map((text) => h("p.detail", { lang: "en" }, text)),
      ...(isInvalid(item) ? describeManifestError(item) : []),
      ...(failure?.dependency ? [h("p", t("dependency"), ": ", linkTo(this.#store, failure.dependency))] : []),
      ...(withLog ? [getCode() ? this.#lines : link(t("signInForLog"), signIn)] : []),
      ...(failure ? [link(t("dismiss"), () => this.#actions.dismiss(item.id))] : []));
  }

  /** Fetches the last lines of the log after a new exit. */
  async load({ id, last_exit }) {
    if (!this.#lines.isConnected || this.#lines.dataset.of === last_exit.at) return;
    this.#lines.dataset.of = last_exit.at;
    try {
      const { logs } = await ask(pathOf(id, "logs?lines=20"));
      setText(this.#lines, logs.map((entry) => plainText(entry.message)).join("\n") || t("emptyLog"));
      this.#lines.scrollTop = this.#lines.scrollHeight;
    } catch (problem) {
      setText(this.#lines, textOf(problem));
    }
  }
}
