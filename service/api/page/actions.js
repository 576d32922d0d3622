// Start, stop and reload: for one plugin or for many, and what is under way or has failed.

import { ask, pathOf, Problem } from "./api.js";
import { announce, confirm, signIn, toast, wordOf } from "./dialogs.js";
import { t } from "./i18n.js";

export const VERBS = ["start", "stop", "reload"];

/** Whether a verb makes sense for a plugin as it is. */
export function allows(item, verb) {
  const isActive = ["running", "starting"].includes(item.status);
  if (verb === "stop") return isActive || item.status === "stopping" || item.state === "BACKOFF";
  if (!item.enabled && !isBroken(item)) return false;
  return verb === "start" ? !isActive && item.state !== "BACKOFF" && !isBroken(item) : true;
}

/** Whether a plugin's manifest cannot be used. */
export const isBroken = (item) => /its manifest is invalid/.test(item.detail ?? "");

export class Actions extends EventTarget {
  /** id → `{verb, at}` of what this page has asked for and what is not answered yet. */
  pending = new Map();
  /** id → what the service said against it, until the next try. */
  failures = new Map();
  #picture;

  constructor(picture) {
    super();
    this.#picture = picture;
  }

  /** Does it, after the questions that must be asked: once about many that run, and for the admin code. */
  async perform(verb, ids) {
    ids = ids.filter((id) => !this.pending.has(id) && allows(this.#picture.plugins.get(id) ?? {}, verb));
    if (!ids.length) return;
    if (ids.length > 1 && verb !== "start") {
      const running = ids.filter((id) => allows(this.#picture.plugins.get(id), "stop")).length;
      const title = t(verb === "stop" ? "confirmStop" : "confirmReload", running);
      if (running && !(await confirm(title, t("confirmText"), t(verb)))) return;
    }
    if (!(await signIn())) return;
    for (const id of ids) {
      this.pending.set(id, { verb, at: Date.now() });
      this.failures.delete(id);
    }
    this.#tell(ids);
    await (ids.length === 1 ? this.#performOne(verb, ids[0]) : this.#performMany(verb, ids));
  }

  /** Takes a failure off the page. */
  dismiss(id) {
    this.failures.delete(id);
    this.#tell([id]);
  }

  /** Has the service read the plugins folder anew. */
  async refresh() {
    if (!(await signIn())) return;
    try {
      const { added, changed, removed, invalid } = await ask("plugins/refresh", { method: "POST" });
      toast(t("refreshed", added.length, changed.length, removed.length, invalid.length));
    } catch (problem) {
      toast(wordOf(problem), true);
    }
  }

  async #performOne(verb, id) {
    try {
      await ask(pathOf(id, verb), { method: "POST" });
      this.#finish(id);
    } catch (problem) {
      this.#finish(id, problem);
      // the code was wrong: it is asked for again, and the rest is as if nothing had been
      if (problem.status === 401) await this.perform(verb, [id]);
    }
    this.#tell([id]);
  }

  async #performMany(verb, ids) {
    try {
      const { results } = await ask(`plugins/${verb}`, { method: "POST", body: { plugin_ids: ids } });
      for (const { plugin_id, problem } of results) this.#finish(plugin_id, problem && new Problem(problem));
    } catch (problem) {
      if (problem.status !== 401) toast(wordOf(problem), true);
      for (const id of ids) this.pending.delete(id);
      if (problem.status === 401) await this.perform(verb, ids);
    }
    for (const id of ids) this.pending.delete(id);
    this.#tell(ids);
  }

  #finish(id, problem) {
    this.pending.delete(id);
    const item = this.#picture.plugins.get(id);
    if (problem && problem.status !== 401) this.failures.set(id, problem);
    announce(t("said", item?.name ?? id, problem ? wordOf(problem) : t(item?.status ?? "stopped")));
  }

  #tell(ids) {
    this.dispatchEvent(new CustomEvent("change", { detail: { ids } }));
  }
}
