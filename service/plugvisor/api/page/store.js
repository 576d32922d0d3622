// The plugins' current states, from the events of the service, whether the connection is live, and who is signed in.

import { ask, pathOf } from "./api.js";
import { getCode, onSession } from "./session.js";
import { Stream } from "./stream.js";

/** The fields that a `status` event replaces; all others of an item come from its manifest. */
const STATE = ["status", "state", "detail", "manifest_error", "restarts", "last_exit", "retry_at", "flapping", "pid", "uptime", "startedAt", "health", "queued", "unmet", "watch", "limits", "intent", "node", "tasks"];
const KEPT_EXITS = 8;
const METRICS_MS = 2000;
const RESTARTED_MS = 8000;
const MEMORY_MS = { ok: 60_000, unavailable: 5000 };

export class PluginStore extends EventTarget {
  /** id → item of a snapshot, with `startedAt` (ms, server's clock), `changedAt` (ms, browser's clock) and `exits`. */
  plugins = new Map();
  /** `kind`: connecting, live, lost, unavailable, or locked if reading needs a sign-in; `at` (ms): when the states were last known to be current. */
  connection = { kind: "connecting", at: 0 };
  /** The answer of `GET /whoami`; undefined if not signed in, or not known yet. */
  identity;
  /** `store` of `GET /available`: whether the service can remember. */
  memory = {};
  /** id → `{cpu_percent, memory_mb, …}` while signed in. */
  metrics = new Map();
  /** Of a swarm, where nothing measures what plugins use: returns where a plugin runs, to follow its version. */
  placesOf;
  /** Whether the service was restarted a moment ago. */
  wasRestarted = false;
  #stream;
  #run = "";
  #skew = 0;
  #manifests = new Map();
  #metricsTimer;
  #memoryTimer;

  constructor() {
    super();
    this.#stream = new Stream("events", {
      onEvent: (kind, data, id) => this.#take(kind, data, id),
      onLost: ({ code, detail }) => {
        if (code !== "unauthorized") return this.#connect(code === "supervisor_unavailable" ? "unavailable" : "lost", detail);
        this.#lock();
        if (getCode()) this.retry(); // it is another one by now
      },
    });
    onSession(() => {
      this.retry(); // with a token plugins say more; without one reading may not be allowed
      this.#identify();
      this.#pollMetrics();
    });
    document.addEventListener("visibilitychange", () => this.#poll());
    this.#identify();
  }

  get isLive() {
    return this.connection.kind === "live";
  }

  /** Connects again without waiting, and begins anew. */
  retry() {
    this.#stream.retry();
  }

  /** Returns the time on the server's clock in ms; without a live connection, when the states were last current. */
  serverTime() {
    return (this.isLive ? Date.now() : this.connection.at) + this.#skew;
  }

  /** Returns the seconds since the process started; undefined without a process. */
  uptimeOf(item) {
    if (item.startedAt === undefined) return undefined;
    return Math.max(0, Math.floor((this.serverTime() - item.startedAt) / 1000));
  }

  /** Fetches a plugin's manifest and keeps it until the plugins change; null if not signed in or if that fails. */
  async manifestOf(id) {
    if (!getCode()) return null;
    if (!this.#manifests.has(id)) this.#manifests.set(id, ask(pathOf(id, "manifest")).catch(() => null));
    const answer = await this.#manifests.get(id);
    if (!answer) this.#manifests.delete(id);
    return answer;
  }

  /** Finds out whether the service can remember; called after an answer that says otherwise. */
  async checkMemory() {
    clearTimeout(this.#memoryTimer);
    if (document.hidden || !this.isLive) return;
    const { store = {} } = await ask("available").catch(() => ({}));
    this.memory = store;
    this.#notify("connection");
    clearTimeout(this.#memoryTimer);
    this.#memoryTimer = setTimeout(() => this.checkMemory(), MEMORY_MS[store.status] ?? MEMORY_MS.ok);
  }

  #poll() {
    this.#pollMetrics();
    this.checkMemory();
  }

  /** Asks who is signed in; a code that is not accepted is forgotten. */
  async #identify() {
    const code = getCode();
    this.identity = undefined;
    let problem;
    const identity = code ? await ask("whoami").catch((error) => { problem = error; }) : undefined;
    if (getCode() !== code) return;
    this.identity = identity;
    this.#notify("identity", { problem });
    this.#notify("plugins");
  }

  /** Forgets what may not be seen without a sign-in. */
  #lock() {
    this.plugins = new Map();
    this.memory = {};
    this.#connect("locked");
    this.#notify("plugins");
  }

  #take(kind, data, eventId) {
    const [run] = eventId.split("-");
    if (this.#run && run !== this.#run) {
      this.wasRestarted = true;
      setTimeout(() => { this.wasRestarted = false; this.#notify("connection"); }, RESTARTED_MS);
    }
    this.#run = run;
    if (["operation", "nodes"].includes(kind)) return this.#notify(kind, data);
    if (kind === "unavailable") return this.#connect(kind, data.detail);
    if (kind === "status") {
      const { plugin_id: id, time, ...state } = data;
      const old = this.plugins.get(id);
      if (!old) return;
      const rest = Object.entries(old).filter(([name]) => !STATE.includes(name));
      this.plugins.set(id, this.#complete({ ...Object.fromEntries(rest), ...state }, old, time));
      this.#notify("plugins", { ids: [id] });
    } else {
      if (kind === "snapshot") this.#skew = Date.parse(data.time) - Date.now();
      const old = this.plugins;
      this.plugins = new Map(data.plugins.map((item) => [item.id, this.#complete(item, old.get(item.id), data.time)]));
      this.#manifests.clear();
      this.#notify("plugins");
    }
    this.#connect("live");
  }

  /** Adds the fields of an item that only the page has. */
  #complete(item, old, time) {
    if (item.uptime !== undefined) item.startedAt = Date.parse(time) - item.uptime * 1000;
    item.changedAt = old && old.status !== item.status ? Date.now() : old?.changedAt;
    const exits = old?.exits ?? [];
    const isNew = item.last_exit && item.last_exit.at !== exits[0]?.at;
    item.exits = isNew ? [item.last_exit, ...exits].slice(0, KEPT_EXITS) : exits;
    return item;
  }

  #connect(kind, detail) {
    const { kind: before, detail: reason, at } = this.connection;
    this.connection = { kind, detail, at: kind === "locked" ? 0 : kind === "live" || before === "live" ? Date.now() : at };
    if (kind === before && detail === reason) return;
    this.#notify("connection");
    if (kind === "live" && getCode() && !this.identity) this.#identify();
    this.#poll();
  }

  async #pollMetrics() {
    clearTimeout(this.#metricsTimer);
    if (document.hidden) return;
    const isAllowed = getCode() && this.isLive && !this.placesOf;
    const answer = isAllowed && (await ask("plugin/metrics").catch(() => null));
    this.metrics = new Map(answer?.metrics?.map((metric) => [metric.plugin_id, metric]));
    this.#notify("metrics");
    if (!isAllowed) return;
    clearTimeout(this.#metricsTimer);
    this.#metricsTimer = setTimeout(() => this.#pollMetrics(), METRICS_MS);
  }

  #notify(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
