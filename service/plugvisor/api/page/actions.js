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
export const isBroken = (item) => Boolean(item.manifest_error);

export class Actions extends EventTarget {
  /** id → the verb that this page has asked for and that is not answered yet. */
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
      this.pending.set(id, verb);
      this.failures.delete(id);
    }
    this.#tell(ids);
    const problems = await this.#send(verb, ids);
    for (const id of ids) {
      const problem = problems[id];
      const item = this.#picture.plugins.get(id);
      this.pending.delete(id);
      if (problem) this.failures.set(id, problem);
      announce(`${item?.name ?? id}: ${problem ? wordOf(problem) : t(item?.status ?? "none")}`);
    }
    this.#tell(ids);
    // the code was wrong, and is forgotten: it is asked for again, as if nothing had been
    const refused = ids.filter((id) => problems[id]?.status === 401);
    for (const id of refused) this.dismiss(id);
    if (refused.length) await this.perform(verb, refused);
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

  /** Sends it and returns what went wrong, by id. */
  async #send(verb, ids) {
    try {
      if (ids.length === 1) await ask(pathOf(ids[0], verb), { method: "POST" });
      else {
        const { results } = await ask(`plugins/${verb}`, { method: "POST", body: { plugin_ids: ids } });
        return Object.fromEntries(results.map(({ plugin_id, problem }) => [plugin_id, problem && new Problem(problem)]));
      }
    } catch (problem) {
      return Object.fromEntries(ids.map((id) => [id, problem]));
    }
    return {};
  }

  #tell(ids) {
    this.dispatchEvent(new CustomEvent("change", { detail: { ids } }));
  }
}
