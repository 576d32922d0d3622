// The token or admin code, kept until the tab is closed and never displayed.

const KEY = "plugvisor.code";
const listeners = new Set();

/** Returns the token or code, or null. */
export const getCode = () => sessionStorage.getItem(KEY);

/** Stores a code; null removes it, and `isRejected` says that the service did not accept it. */
export function setCode(code, isRejected = false) {
  if (code === getCode()) return;
  if (code) sessionStorage.setItem(KEY, code);
  else sessionStorage.removeItem(KEY);
  for (const listener of listeners) listener(isRejected);
}

/** Calls `listener(isRejected)` after every sign-in and sign-out; returns a function that unsubscribes it. */
export function onSession(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Signs in with an address such as `/#code=…`, and removes the code from the address and the history. */
export function takeCodeFromAddress() {
  if (!location.hash.startsWith("#code=")) return;
  let code = location.hash.slice("#code=".length);
  history.replaceState(null, "", location.pathname + location.search);
  try {
    code = decodeURIComponent(code);
  } catch { /* the code itself has a % */ }
  if (code) setCode(code);
}
