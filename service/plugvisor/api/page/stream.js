// Server-sent events by `fetch`. Unlike EventSource it sends the token, exposes error responses, and sees the
// heartbeats, whose absence reveals a dead connection.

import { Problem, request } from "./api.js";

/** More than two heartbeats; the service sends one every 15 seconds. */
const SILENCE_MS = 35_000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export class Stream {
  #handlers;
  #path;
  #abort;
  #failures = 0;
  #lastId = "";
  #silence;
  #timer;
  #closed = false;

  /**
   * Opens a stream; when it ends, opens it again from the last event on.
   * @param handlers `onEvent(kind, data, id)`; `onOpen()`, if there is one, each time that it has connected; and
   *   `onLost(problem)`, after which it reconnects by itself, unless it needs another sign-in
   */
  constructor(path, handlers) {
    this.#path = path;
    this.#handlers = handlers;
    this.#connect();
  }

  /** Connects again without waiting, and begins anew. */
  retry() {
    this.#lastId = "";
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#failures = 0;
    this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#abort?.abort();
  }

  async #connect() {
    const abort = (this.#abort = new AbortController());
    let problem = new Problem({});
    try {
      this.#watchSilence(abort);
      const headers = this.#lastId ? { "Last-Event-ID": this.#lastId } : {};
      const response = await request(this.#path, { headers, signal: abort.signal });
      this.#failures = 0;
      this.#handlers.onOpen?.();
      await this.#read(response.body.pipeThrough(new TextDecoderStream()).getReader(), abort);
    } catch (error) {
      if (error instanceof Problem) problem = error;
    }
    clearTimeout(this.#silence);
    if (this.#closed || this.#abort !== abort) return;
    const wait = problem.retryAfter * 1000 || RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
    this.#failures += 1;
    if (problem.status === 401) this.#lastId = "";
    else this.#timer = setTimeout(() => this.#connect(), wait);
    this.#handlers.onLost(problem);
  }

  #watchSilence(abort) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => abort.abort(), SILENCE_MS);
  }

  async #read(reader, abort) {
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#watchSilence(abort);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) this.#dispatch(block);
    }
  }

  #dispatch(block) {
    const fields = { event: "message", data: "" };
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
    }
    if (fields.id) this.#lastId = fields.id;
    if (!fields.data) return;
    this.#handlers.onEvent(fields.event, JSON.parse(fields.data), fields.id);
  }
}
