// Sends requests to the service and turns error responses into exceptions.

import { getCode, setCode } from "./session.js";

/** The API's base address: one level above the page, also behind a proxy that adds a prefix. */
export const BASE = new URL("../", import.meta.url);

/** A failed request: `detail` is for a person, all else for programs; without a response, `code` is "network". */
export class Problem extends Error {
  constructor({ status = 0, code = "network", detail = "", retry_after = 0, ...rest }) {
    super(detail || code);
    Object.assign(this, { ...rest, status, code, detail, retryAfter: retry_after });
  }
}

/** Sends a request and returns the response; throws `Problem`. A rejected token or code is forgotten. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const code = getCode();
  headers = { ...headers, "X-Plugvisor-Dialect": "none" };
  if (code) headers.Authorization = `Bearer ${code}`;
  if (body) headers["Content-Type"] = "application/json";
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
  if (response.status === 401 && getCode() === code) setCode(null, true);
  const { status } = response;
  throw new Problem({ code: `http_${status}`, detail: `HTTP ${status}`, ...problem, status });
}

/** Sends a request and returns the response's JSON; throws `Problem`. */
export const ask = async (path, options) => (await request(path, options)).json();

/** Returns the path of an endpoint of one plugin. */
export const pathOf = (id, what) => `plugin/${encodeURIComponent(id)}/${what}`;
