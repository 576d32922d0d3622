// Starts, stops, reloads, enables and disables plugins; keeps the requests that are pending and those that failed.

import { ask, pathOf, Problem } from "./api.js";
import { announce, confirm, signIn, toast, textOf } from "./dialogs.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { allows, findDependents, isInvalid, kindOf } from "./item.js";

export const VERBS = ["start", "stop", "reload"];

/** Returns the text for what a refresh has found. */
export const describeRefresh = ({ added, changed, removed, invalid }) =>
  t("refreshed", added.length, changed.length, removed.length, invalid.length);

export class Actions extends EventTarget {
  /** id → the verb of the request that has no response yet. */
  pending = new Map();
  /** id → the problem of the last request, until it is dismissed or repeated. */
  failures = new Map();
  #store;

  constructor(store) {
    super();
    this.#store = store;
  }

  /** Whether whoever is signed in may change a plugin, or any at all; without a sign-in an action asks for it. */
  mayChange(id) {
    const { identity } = this.#store;
    return !identity || (identity.role !== "viewer" && (id === undefined || identity.plugins.some((pattern) => matches(pattern, id))));
  }

  /** Sends a verb for plugins, after a confirmation and a sign-in if they are necessary. */
  async perform(verb, ids) {
    const stopsMany = verb === "stop" && ids.length > 1; // also what has failed: the next boot would start it
    const isMeant = (item) => allows(item, verb) || (stopsMany && item.status === "error" && !isInvalid(item));
    ids = ids.filter((id) => !this.pending.has(id) && this.mayChange(id) && isMeant(this.#store.plugins.get(id) ?? {}));
    if (!ids.length) return;
    const others = h("input", { type: "checkbox" });
    const question = verb !== "start" && this.#confirm(verb, ids, others);
    if (question && !(await question)) return; // else the button reacts at once
    if (!(await signIn())) return;
    for (const id of ids) {
      this.pending.set(id, verb);
      this.failures.delete(id);
    }
    this.#notify(ids);
    const problems = await this.#send(verb, ids, others.checked ? "?dependents=true" : "");
    for (const id of ids) {
      const problem = problems.get(id);
      const item = this.#store.plugins.get(id);
      this.pending.delete(id);
      // an invalid manifest is part of the plugin's own status
      if (problem && problem.code !== "invalid_manifest") this.failures.set(id, problem);
      announce(`${item?.name ?? id}: ${problem ? textOf(problem) : t(item ? kindOf(item) : "none")}`);
    }
    this.#notify(ids);
    // the code was rejected and is forgotten by now: performing it again asks for another
    const rejected = ids.filter((id) => problems.get(id)?.status === 401);
    for (const id of rejected) this.dismiss(id);
    if (rejected.length) await this.perform(verb, rejected);
  }

  /** Removes a plugin's problem. */
  dismiss(id) {
    this.failures.delete(id);
    this.#notify([id]);
  }

  /** Makes the service read the plugins folder again. */
  async refresh() {
    if (!(await signIn())) return;
    try {
      this.#checkConnection();
      toast(describeRefresh(await ask("plugins/refresh", { method: "POST" })));
    } catch (problem) {
      toast(textOf(problem), true);
    }
  }

  /** Asks for confirmation if several plugins are running, or if others need one that is stopped; else undefined. */
  #confirm(verb, ids, others) {
    const { plugins } = this.#store;
    const running = ids.filter((id) => allows(plugins.get(id), "stop"));
    const needing = verb === "stop" || verb === "disable" ? findDependents(plugins, ids) : [];
    if (!running.length || (ids.length < 2 && !needing.length)) return undefined;
    const names = needing.map((id) => plugins.get(id).name).join(", ");
    const isOne = ids.length < 2;
    const title = isOne ? `${t(verb)} ${plugins.get(ids[0]).name}?` : verb === "stop" ? t("confirmStop", ids.length) : t("confirmReload", running.length);
    return confirm(title, [
      !isOne && h("p", t("confirmText")),
      names && h("p", t("neededBy"), ": ", h("b", names)),
      names && verb === "stop" && h("p", h("label", others, " ", t("alsoStop"))),
    ], t(verb));
  }

  /** Sends the request; returns the problems of the ids that failed: a Map, as an id may be `constructor`. */
  async #send(verb, ids, query) {
    try {
      this.#checkConnection();
      const path = ids.length > 1 ? `plugins/${verb}` : pathOf(ids[0], verb === "forget" ? "intent" : verb);
      const answer = await ask(path + query, {
        method: verb === "forget" ? "DELETE" : "POST", body: ids.length > 1 && { plugin_ids: ids },
      });
      const { results } = answer;
      if ([answer, ...(results ?? [])].some(({ remembered }) => remembered === false)) this.#store.checkMemory();
      if (results) {
        return new Map(results.map(({ plugin_id, problem }) => [plugin_id, problem && new Problem(problem)]));
      }
    } catch (problem) {
      return new Map(ids.map((id) => [id, problem]));
    }
    return new Map();
  }

  /** Throws if the service does not answer: the request would wait for it, and be carried out at any time later. */
  #checkConnection() {
    if (this.#store.connection.kind === "lost") throw new Problem({});
  }

  #notify(ids) {
    this.dispatchEvent(new CustomEvent("change", { detail: { ids } }));
  }
}

/** Whether a pattern matches an id; the service decides about one with a set of characters, such as `[ab]`. */
const matches = (pattern, id) => pattern.includes("[") ||
  new RegExp(`^${pattern.replace(/[.+^${}()|\\\]]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")}$`).test(id);
