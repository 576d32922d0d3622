// The card of a plugin's versions: where they have come from, and what can be done with them.

import { ask, pathOf } from "./api.js";
import { confirm, signIn, textOf, toast } from "./dialogs.js";
import { h, oncePerFrame, setText } from "./dom.js";
import { formatTime, t } from "./i18n.js";
import { allows, findDependents } from "./item.js";

const DIGITS = 12;

export class Versions {
  #app;
  #id;
  #answer;
  #shownVersion;
  #stop = new AbortController();
  #note = h("p.hint", { role: "status" });
  #list = h("ul.versions");
  #update = this.#button("updatePackage", () => this.#app.install({ id: this.#id }));
  #rollback = this.#button("rollBack", () => this.#askToRollBack());
  #remove = this.#button("removePlugin", () => this.#askToRemove());
  #edit = this.#button("editManifest", () => this.#openEditor());
  node = h("section.card.installed", h("div.toolbar", h("h2", t("versions")), this.#update, this.#rollback, this.#remove, this.#edit), this.#note, this.#list);

  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    const { signal } = this.#stop;
    app.operations.addEventListener("change", ({ detail }) => {
      if (detail.plugin_id !== id) return;
      this.#show();
      if (detail.state !== "running") this.load();
    }, { signal });
    app.store.addEventListener("plugins", ({ detail }) => !detail?.ids && this.#item?.version !== this.#shownVersion && this.load(), { signal });
    this.load();
  }

  /** Ends all subscriptions. */
  close() {
    this.#stop.abort();
  }

  get #item() {
    return this.#app.store.plugins.get(this.#id);
  }

  get #name() {
    return this.#item?.name ?? this.#id;
  }

  #button(key, onclick) {
    return h("button", { hidden: true, onclick: (event) => event.currentTarget.ariaDisabled !== "true" && onclick() }, t(key));
  }

  load = oncePerFrame(async () => {
    this.#shownVersion = this.#item?.version;
    try {
      this.#answer = await ask(pathOf(this.#id, "versions"));
      setText(this.#note, this.#answer.installed ? "" : t("byHand"));
    } catch (problem) {
      this.#answer = undefined;
      setText(this.#note, problem.code === "not_supported" ? t("installationOff", problem.detail) : textOf(problem));
    }
    if (!this.#stop.signal.aborted) this.#show();
  });

  #show() {
    const { installed = false, versions = [] } = this.#answer ?? {};
    const isBusy = this.#app.operations.isBusy(this.#id);
    this.#update.hidden = this.#remove.hidden = !installed;
    this.#rollback.hidden = !versions.some(({ previous }) => previous);
    this.#edit.hidden = false;
    for (const button of [this.#update, this.#rollback, this.#remove]) button.ariaDisabled = isBusy;
    this.#list.replaceChildren(...versions.map((one) => h("li",
      h("b.name", nameOf(one)),
      one.current ? h("b.mark", t("current")) : one.previous && h("span.mark", t("previous")),
      h("p.hint", [t("installedBy", formatTime(one.installed_at), one.installed_by), one.source].filter(Boolean).join(" · ")),
      h("p.hint", { title: one.sha256 }, [one.environment && t("ownEnvironment", one.python ?? ""), `SHA-256 ${one.sha256.slice(0, DIGITS)}…`].filter(Boolean).join(" · ")))));
  }

  async #askToRollBack() {
    const { versions } = this.#answer;
    const [current, previous] = ["current", "previous"].map((which) => versions.find((one) => one[which]));
    const isRunning = allows(this.#item ?? {}, "stop");
    const isSure = await confirm(t("rollBackTitle", this.#name, nameOf(previous)), [
      h("p", t("rollBackText", nameOf(current ?? previous), nameOf(previous))),
      h("p", t(isRunning ? "restartText" : "notRunningText", this.#name)),
    ], t("rollback"));
    if (isSure) await this.#send(pathOf(this.#id, "rollback?wait=0"), "POST");
  }

  async #askToRemove() {
    const { versions } = this.#answer;
    const dependents = findDependents(this.#app.store.plugins, [this.#id]);
    const names = dependents.map((id) => this.#app.store.plugins.get(id).name).join(", ");
    const others = h("input", { type: "checkbox", required: true });
    const typed = h("input", { type: "text", autocomplete: "off", spellcheck: false, disabled: true, pattern: escapePattern(this.#id) });
    const confirmation = h("p", { hidden: true }, h("label", t("typeId", this.#id), typed));
    const purge = h("input", { type: "checkbox", autofocus: true, onchange: () => {
      confirmation.hidden = typed.disabled = !purge.checked;
      typed.required = purge.checked;
    } });
    const isSure = await confirm(t("removeTitle", this.#name), [
      h("ul.steps",
        allows(this.#item ?? {}, "stop") && h("li", t("stepStop", this.#name)),
        names && h("li", t("stepDependents"), " ", h("b", names), h("p", h("label", others, " ", t("alsoStop")))),
        h("li", t("stepVersions", versions.map(nameOf).join(", "))),
        h("li", t("stepData"), h("p", h("label", purge, " ", t("purge"))), confirmation)),
    ], t("uninstall"));
    if (!isSure) return;
    const query = new URLSearchParams({ wait: 0, purge: purge.checked, dependents: others.checked });
    await this.#send(`plugin/${encodeURIComponent(this.#id)}?${query}`, "DELETE");
  }

  async #send(path, method) {
    if (!(await signIn())) return;
    try {
      this.#app.operations.take(await ask(path, { method }), {});
    } catch (problem) {
      toast(textOf(problem), true);
    }
  }

  async #openEditor() {
    try {
      const { openEditor } = await import("./config.js");
      openEditor(this.#app, this.#id, this.#answer?.installed);
    } catch {
      toast(t("lostTitle"), true);
    }
  }
}

/** Returns the name of a version; its manifest need not have one. */
const nameOf = ({ version, sha256 }) => version || sha256.slice(0, DIGITS);

const escapePattern = (text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
