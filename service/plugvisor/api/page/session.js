// The admin code: kept for this tab's session, never longer, and never shown.

const KEY = "plugvisor.code";
const listeners = new Set();

/** The code, or null. */
export const getCode = () => sessionStorage.getItem(KEY);

/** Keeps a code, or with null forgets it. */
export function setCode(code) {
  if (code === getCode()) return;
  if (code) sessionStorage.setItem(KEY, code);
  else sessionStorage.removeItem(KEY);
  for (const listener of listeners) listener();
}

/** Calls `listener` at each sign-in and sign-out; returns what ends that. */
export function onSession(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Takes the code out of an address like `/#code=…` that `plugvisor up` prints, and out of the browser's history. */
export function takeCodeFromAddress() {
  if (!location.hash.startsWith("#code=")) return;
  let code = location.hash.slice("#code=".length);
  history.replaceState(null, "", location.pathname + location.search);
  try {
    code = decodeURIComponent(code);
  } catch { /* it holds a % of its own */ }
  if (code) setCode(code);
}
