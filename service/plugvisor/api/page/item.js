// What the fields of a plugin mean: its kind, what it allows, and who needs it.

/** Whether a plugin's manifest is invalid. */
export const isInvalid = (item) => Boolean(item.manifest_error);

/** Whether a plugin's current status allows a verb. */
export function allows(item, verb) {
  if (verb === "forget") return Boolean(item.intent);
  if (verb === "enable") return Boolean(item.disabled);
  if (verb === "disable") return Boolean(item.enabled);
  const isActive = ["running", "starting"].includes(item.status) || item.state === "BACKOFF" || Boolean(item.retry_at);
  if (verb === "stop") return isActive || item.status === "stopping";
  if (!item.enabled && !isInvalid(item)) return false;
  return verb === "start" ? !isActive && !isInvalid(item) : true;
}

/** Returns the status to display: the API's, or `disabled`, `flapping` (in a crash loop), `queued` or `missing`. */
export function kindOf({ status, enabled, flapping, queued } = { status: "missing" }) {
  if (status === "stopped" && !enabled) return "disabled";
  if (status === "starting" && queued) return "queued";
  return flapping && (status === "starting" || status === "running") ? "flapping" : status;
}

/** Whether a plugin is in error or in a crash loop. */
export const isFailing = (item) => ["error", "flapping"].includes(kindOf(item));

export const isUnhealthy = (item) => item.health === "unhealthy";

/** Returns the symbol in index.html for a kind. */
export const symbolOf = (kind) => ({ flapping: "error", missing: "disabled" })[kind] ?? kind;

/** Returns the text and symbol of a health; while it is `starting`, the plugin's status may be that too. */
export const healthOf = ({ health } = {}) => (health === "starting" ? "unready" : health);

/** Returns whether a plugin's files are watched: the API's word, `off`, or `paused` while it is stopped on purpose. */
export function watchOf({ watch = "off", status, state, disabled }) {
  // one that has ended by itself is started again by a save
  const isPaused = watch !== "off" && (disabled || status === "stopping" || state === "STOPPED");
  return isPaused ? "paused" : watch;
}

/** Returns the address of a plugin's view. */
export const hrefOf = (id) => `#/plugin/${encodeURIComponent(id)}`;

/** Returns `depends_on` of a plugin. */
export const needsOf = (plugins, id) => plugins.get(id)?.depends_on ?? [];

/** Returns the ids, and all that `next(id)` leads to from there. */
export function follow(ids, next) {
  const found = new Set(ids);
  for (const id of found) next(id).forEach((other) => found.add(other));
  return found;
}

/** Returns the ids of the plugins that run or start and need one of these, directly or not. */
export function findDependents(plugins, ids) {
  const isNeeded = (other, id) => needsOf(plugins, id).some((one) => one.id === other && one.required);
  const found = follow(ids, (other) => (plugins.get(other)?.dependents ?? []).filter((id) => isNeeded(other, id)));
  return [...found].filter((id) => !ids.includes(id) && allows(plugins.get(id), "stop"));
}
