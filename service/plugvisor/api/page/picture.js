// The live picture of every plugin, as `/events` tells it, and how far it can be trusted.

import { ask, pathOf } from "./api.js";
import { getCode, onSession } from "./session.js";
import { Stream } from "./stream.js";

/** What a `status` event tells anew; everything else of an item is its manifest's. */
const STATE = ["status", "state", "detail", "manifest_error", "restarts", "last_exit", "retry_at", "flapping", "pid", "uptime", "startedAt"];
const KEPT_EXITS = 8;
const METRICS_MS = 2000;
const RESTARTED_MS = 8000;

export class Picture extends EventTarget {
  /** id → item as in `GET /plugins`, and: `startedAt` (ms, server's clock), `changedAt` (ms, ours), `exits`. */
  plugins = new Map();
  /** `kind` is connecting, live, lost or unavailable; `at` (ms) is when the data was last true. */
  connection = { kind: "connecting", at: 0 };
  /** id → `{cpu_percent, memory_mb, …}`, while signed in. */
  metrics = new Map();
  /** Whether the service was found to be another run than before, a moment ago. */
  isNewRun = false;
  #stream;
  #run = "";
  #skew = 0;
  #manifests = new Map();
  #metricsTimer;

  constructor() {
    super();
    this.#stream = new Stream("events", {
      onEvent: (kind, data, id) => this.#take(kind, data, id),
      // where the service itself says that it cannot know, it is there
      onLost: ({ status, detail }) => (status === 503 ? this.#connect("unavailable", detail) : this.#connect("lost")),
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
    const [run] = eventId.split("-");
    if (this.#run && run !== this.#run) {
      this.isNewRun = true;
      setTimeout(() => { this.isNewRun = false; this.#tell("connection"); }, RESTARTED_MS);
    }
    this.#run = run;
    if (kind === "unavailable") return this.#connect(kind, data.detail);
    if (kind === "status") {
      const { plugin_id: id, time, ...state } = data;
      const old = this.plugins.get(id);
      if (!old) return;
      const rest = Object.entries(old).filter(([name]) => !STATE.includes(name));
      this.plugins.set(id, this.#complete({ ...Object.fromEntries(rest), ...state }, old, time));
      this.#tell("plugins", { ids: [id] });
    } else {
      if (kind === "snapshot") this.#skew = Date.parse(data.time) - Date.now();
      const old = this.plugins;
      this.plugins = new Map(data.plugins.map((item) => [item.id, this.#complete(item, old.get(item.id), data.time)]));
      this.#manifests.clear();
      this.#tell("plugins");
    }
    this.#connect("live");
  }

  /** Adds to an item what is known of it beside what was told. */
  #complete(item, old, time) {
    if (item.uptime !== undefined) item.startedAt = Date.parse(time) - item.uptime * 1000;
    item.changedAt = old && old.status !== item.status ? Date.now() : old?.changedAt;
    const exits = old?.exits ?? [];
    const isNew = item.last_exit && item.last_exit.at !== exits[0]?.at;
    item.exits = isNew ? [item.last_exit, ...exits].slice(0, KEPT_EXITS) : exits;
    return item;
  }

  #connect(kind, detail) {
    const { kind: before, at } = this.connection;
    this.connection = { kind, detail, at: kind === "live" || before === "live" ? Date.now() : at };
    if (kind === before) return;
    this.#tell("connection");
    this.#pollMetrics();
  }

  async #pollMetrics() {
    clearTimeout(this.#metricsTimer);
    if (document.hidden) return;
    const isAllowed = getCode() && this.isLive;
    const answer = isAllowed && (await ask("plugin/metrics").catch(() => null));
    this.metrics = new Map(answer?.metrics?.map((metric) => [metric.plugin_id, metric]));
    this.#tell("metrics");
    if (!isAllowed) return;
    clearTimeout(this.#metricsTimer);
    this.#metricsTimer = setTimeout(() => this.#pollMetrics(), METRICS_MS);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
