// The live picture of every plugin, as `/events` tells it, and how far it can be trusted.

import { ask, pathOf } from "./api.js";
import { getCode, onSession } from "./session.js";
import { Stream } from "./stream.js";

/** What a `status` event tells anew; everything else of an item is its manifest's. */
const STATE = ["status", "state", "detail", "restarts", "last_exit", "retry_at", "flapping", "pid", "uptime"];
const KEPT_EXITS = 8;
const METRICS_MS = 2000;
const RESTARTED_MS = 8000;

export class Picture extends EventTarget {
  /** id → item as in `GET /plugins`, and: `startedAt` (ms, server's clock), `changedAt` (ms, ours), `exits`. */
  plugins = new Map();
  /** `kind` is connecting, live, lost or unavailable; `since` when it became so; `at` when the data was last true. */
  connection = { kind: "connecting", since: Date.now(), at: 0 };
  /** id → `{cpu_percent, memory_mb, …}`, while signed in. */
  metrics = new Map();
  /** When the service was found to be another run than before; 0 once that is old news. */
  restartedAt = 0;
  #stream;
  #run = "";
  #skew = 0;
  #manifests = new Map();
  #metricsTimer;

  constructor() {
    super();
    this.#stream = new Stream("events", {
      onOpen: () => {},
      onEvent: (kind, data, id) => this.#take(kind, data, id),
      onLost: (problem, retryAt) => this.#lose(problem, retryAt),
    });
    onSession(() => this.#pollMetrics());
    document.addEventListener("visibilitychange", () => this.#pollMetrics());
    this.#pollMetrics();
  }

  get isLive() {
    return this.connection.kind === "live";
  }

  /** Tries to connect at once. */
  retry() {
    this.#stream.retry();
  }

  /** Now, on the server's clock, in ms; while the picture is stale, the time when it was last true. */
  serverTime() {
    return (this.isLive ? Date.now() : this.connection.at) + this.#skew;
  }

  /** Seconds since the process started, or undefined without one. */
  uptimeOf(item) {
    if (item.startedAt === undefined) return undefined;
    return Math.max(0, Math.floor((this.serverTime() - item.startedAt) / 1000));
  }

  /** `GET /plugin/{id}/manifest`, kept until the plugins change; null without the code, or where it cannot be had. */
  async manifestOf(id) {
    if (!getCode()) return null;
    if (!this.#manifests.has(id)) this.#manifests.set(id, ask(pathOf(id, "manifest")).catch(() => null));
    const answer = await this.#manifests.get(id);
    if (!answer) this.#manifests.delete(id);
    return answer;
  }

  #take(kind, data, eventId) {
    const run = eventId?.split("-")[0] ?? "";
    if (run && this.#run && run !== this.#run) {
      this.restartedAt = Date.now();
      setTimeout(() => { this.restartedAt = 0; this.#tell("connection"); }, RESTARTED_MS);
    }
    if (run) this.#run = run;
    if (kind === "unavailable") return this.#connect("unavailable", { detail: data.detail });
    if (kind === "status") {
      const old = this.plugins.get(data.plugin_id);
      if (old) {
        const manifestFields = Object.entries(old).filter(([name]) => !STATE.includes(name) && name !== "startedAt");
        this.#put({ ...Object.fromEntries(manifestFields), ...data }, data.time);
        this.#tell("plugins", { ids: [data.plugin_id] });
      }
    } else {
      if (kind === "snapshot") this.#skew = Date.parse(data.time) - Date.now();
      const old = this.plugins;
      this.plugins = new Map();
      for (const item of data.plugins) {
        const { exits, changedAt, status } = old.get(item.id) ?? {};
        this.#put({ ...item, exits, changedAt, before: status }, data.time);
      }
      this.#manifests.clear();
      this.#tell("plugins", { ids: null });
    }
    this.#connect("live");
  }

  #put(item, time) {
    const before = item.before ?? this.plugins.get(item.id)?.status;
    delete item.before;
    delete item.plugin_id;
    if (item.uptime !== undefined) item.startedAt = Date.parse(time) - item.uptime * 1000;
    if (before && before !== item.status) item.changedAt = Date.now();
    item.exits ??= [];
    if (item.last_exit && item.last_exit.at !== item.exits[0]?.at) {
      item.exits = [item.last_exit, ...item.exits].slice(0, KEPT_EXITS);
    }
    this.plugins.set(item.id, item);
  }

  #lose(problem, retryAt) {
    // the service answers, and says itself that it cannot know
    if (problem.status === 503) this.#connect("unavailable", { detail: problem.detail });
    else this.#connect("lost", { retryAt });
  }

  #connect(kind, more = {}) {
    const { kind: before, since, at } = this.connection;
    const now = Date.now();
    const lastTrue = kind === "live" || before === "live" ? now : at;
    this.connection = { kind, since: kind === before ? since : now, at: lastTrue, ...more };
    if (kind !== before || kind !== "live") this.#tell("connection");
    if (kind !== before) this.#pollMetrics();
  }

  async #pollMetrics() {
    clearTimeout(this.#metricsTimer);
    const code = getCode();
    if (!code || !this.isLive) {
      if (this.metrics.size) {
        this.metrics = new Map();
        this.#tell("metrics");
      }
      return;
    }
    if (document.hidden) return;
    try {
      const { metrics } = await ask("plugin/metrics");
      if (getCode() !== code) return;
      this.metrics = new Map(metrics.map((metric) => [metric.plugin_id, metric]));
      this.#tell("metrics");
    } catch { /* the connection's own state says what is wrong; here is only nothing to show */ }
    clearTimeout(this.#metricsTimer);
    this.#metricsTimer = setTimeout(() => this.#pollMetrics(), METRICS_MS);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
