// Requests to the service, and its errors as it words them.

import { getCode, setCode } from "./session.js";

/** Where the API is: the folder above the page's, wherever a proxy may have put both. */
export const BASE = new URL("../", import.meta.url);

/** An answer that is no success: `detail` is the sentence to show, `code` the kind ("network" without any answer). */
export class Problem extends Error {
  constructor({ status = 0, code = "network", detail = "", retry_after = 0 }) {
    super(detail || code);
    Object.assign(this, { status, code, detail, retryAfter: retry_after });
  }
}

/** Asks for a path and returns the response; throws `Problem`. A code that turns out wrong is forgotten. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const code = getCode();
  if (code) headers = { ...headers, Authorization: `Bearer ${code}` };
  if (body) headers = { ...headers, "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(new URL(path, BASE), {
      method, headers, signal, body: body && JSON.stringify(body), cache: "no-store", credentials: "same-origin",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({});
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401 && getCode() === code) setCode(null);
  throw new Problem({
    status: response.status,
    code: problem.code ?? `http_${response.status}`,
    detail: problem.detail ?? `HTTP ${response.status}`,
    retry_after: problem.retry_after,
  });
}

/** As `request`, and returns the answer's JSON. */
export const ask = async (path, options) => (await request(path, options)).json();

/** The path of one plugin's endpoint. */
export const pathOf = (id, what) => `plugin/${encodeURIComponent(id)}/${what}`;
