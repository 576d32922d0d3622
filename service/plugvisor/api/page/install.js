// The dialog that installs or updates a plugin from a package.

import { BASE, Problem } from "./api.js";
import { announce, show, signIn, textOf } from "./dialogs.js";
import { h, setText } from "./dom.js";
import { formatMemory, formatNumber, t } from "./i18n.js";
import { describeProblem } from "./operations.js";
import { getCode, setCode } from "./session.js";

const MEGABYTE = 1_000_000;
/** The first bytes of a package → its type; a name can be wrong, and browsers know several types for each. */
const TYPES = { "80,75": "application/zip", "31,139": "application/gzip" };

/** The dialog that is open, to which another file can be given. */
let opened;

/**
 * Asks for a package and sends it.
 * @param installation of `GET /server/info`: `on`, `reason`, `package_mb`
 * @param options `id`, if the package is to update that plugin; `file`, if it is known already
 */
export function open(app, installation, options) {
  if (opened) return options.file && opened.choose(options.file);
  opened = new InstallDialog(app, installation, options);
  opened.run().finally(() => { opened = undefined; });
}

class InstallDialog {
  #app;
  #most;
  #id;
  #file;
  #type;
  #sha256 = "";
  #replaces;
  #upload;
  #title = h("h2");
  #chooser = h("input", { type: "file", accept: ".zip,.gz,.tgz,application/zip,application/gzip", autofocus: true });
  #facts = h("dl", { hidden: true });
  #start = h("input", { type: "checkbox", checked: true });
  #replace = h("input", { type: "checkbox" });
  #problem = h("div", { role: "alert" });
  #bar = h("progress", { max: 1, value: 0, hidden: true });
  #progress = h("p.hint", { role: "status" });
  #cancel = h("button", { type: "button", onclick: () => this.#dialog.close() });
  #send = h("button.primary", { ariaDisabled: "true" });
  #dialog = h("dialog.install");

  constructor(app, { on, reason = "", package_mb: most }, { id, file }) {
    this.#app = app;
    this.#id = id;
    this.#most = most;
    const name = app.store.plugins.get(id)?.name ?? id;
    const title = id ? t("updateTitle", name) : t("installTitle");
    setText(this.#title, title);
    setText(this.#cancel, t(on ? "cancel" : "close"));
    setText(this.#send, t(id ? "update" : "install"));
    this.#dialog.ariaLabel = title;
    this.#bar.ariaLabel = t("uploading");
    this.#replace.checked = Boolean(id);
    this.#chooser.onchange = () => this.#chooser.files.length && this.choose(this.#chooser.files[0]);
    const parts = on ? [
      h("p", h("label", t("package"), this.#chooser), h("span.hint", t("packageText", most ?? "–"))),
      this.#facts,
      !id && h("p", h("label", this.#start, " ", t("startAfter"))),
      !id && h("p", h("label", this.#replace, " ", t("replaceIt"))),
      h("p", t(id ? "updateText" : "installText", name)),
    ] : [h("p", t("installationOff", reason))];
    this.#dialog.append(h("form", { onsubmit: (event) => this.#submit(event) }, this.#title, parts, this.#problem, this.#bar, this.#progress,
      h("div.buttons", this.#cancel, on && this.#send)));
    if (on && file) this.choose(file);
  }

  /** Shows the dialog until it is closed. */
  async run() {
    const stop = new AbortController();
    addEventListener("beforeunload", (event) => this.#upload && event.preventDefault(), { signal: stop.signal });
    await show(this.#dialog);
    stop.abort();
    this.#upload?.abort();
  }

  /** Shows what is known of a file, before anything is sent. */
  async choose(file) {
    if (this.#upload) return;
    this.#file = file;
    if (this.#chooser.files[0] !== file) { // it was dropped
      const transfer = new DataTransfer();
      transfer.items.add(file);
      this.#chooser.files = transfer.files;
    }
    this.#type = undefined;
    this.#sha256 = "";
    this.#replaces = false;
    this.#send.ariaDisabled = "true";
    this.#problem.replaceChildren();
    if (!this.#id) setText(this.#send, t("install"));
    const digest = h("dd", t("computing"));
    const fact = (name, value) => h("div", h("dt", name), value);
    this.#facts.replaceChildren(fact(t("file"), h("dd", file.name)), fact(t("size"), h("dd", formatSize(file.size))), fact("SHA-256", digest));
    this.#facts.hidden = false;
    try {
      if (file.size > this.#most * MEGABYTE) throw new Problem({ detail: t("tooLarge", this.#most), code: "large" });
      const type = TYPES[String(new Uint8Array(await file.slice(0, 2).arrayBuffer()))];
      if (!type) throw new Problem({ detail: t("noPackage"), code: "type" });
      // it is there for https and for this machine only
      const sha256 = crypto.subtle ? toHex(await crypto.subtle.digest("SHA-256", await file.arrayBuffer())) : "";
      if (this.#file !== file) return; // another was chosen meanwhile
      [this.#type, this.#sha256] = [type, sha256];
      setText(digest, sha256 || t("notComputed"));
      this.#send.ariaDisabled = "false";
      if (this.#dialog.open) this.#send.focus();
    } catch (problem) {
      if (this.#file !== file) return;
      setText(digest, "–");
      this.#show(problem instanceof Problem ? problem : new Problem({ detail: t("unreadable"), code: "file" }));
    }
  }

  #show(problem) {
    this.#problem.replaceChildren(...describeProblem(problem));
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#send.ariaDisabled === "true" || !(await signIn())) return;
    const options = {
      wait: 0, source: this.#file.name.replace(/[\p{C}\p{Z}]/gu, " ").slice(-200), sha256: this.#sha256, plugin_id: this.#id ?? "",
      start: !this.#id && this.#start.checked, replace: this.#replace.checked || this.#replaces,
    };
    this.#problem.replaceChildren();
    this.#send.ariaDisabled = "true";
    this.#chooser.disabled = true;
    this.#bar.hidden = false;
    this.#showProgress(0);
    try {
      await this.#begin(options);
      this.#dialog.close();
    } catch (problem) {
      if (!this.#dialog.open) return; // cancelled
      this.#show(problem);
      this.#replaces = problem.code === "already_installed";
      if (this.#replaces) setText(this.#send, t("updateInstead"));
      this.#send.ariaDisabled = "false";
    }
    this.#upload = undefined;
    this.#chooser.disabled = false;
    this.#bar.hidden = true;
    setText(this.#progress, "");
  }

  /** Sends the package; an operation that then finds the plugin installed can be begun again as an update. */
  async #begin(options) {
    const [file, type, app] = [this.#file, this.#type, this.#app];
    this.#upload = new AbortController();
    const operation = await upload(options, file, type, this.#upload.signal, (share) => this.#showProgress(share));
    const replace = async () => {
      try {
        app.operations.take(await upload({ ...options, replace: true }, file, type), { label: file.name });
      } catch (problem) {
        announce(textOf(problem));
        open(app, { on: true, package_mb: this.#most }, { id: this.#id, file });
        opened.#show(problem);
      }
    };
    app.operations.take(operation, { label: file.name, replace });
  }

  #showProgress(share) {
    this.#bar.value = share;
    // not each percent: it is read aloud
    setText(this.#progress, share < 1 ? `${t("uploading")} ${Math.floor(share * 10) * 10} %` : t("waitingForAnswer"));
  }
}

/** Sends a package; `fetch` does not say how much of a body was sent. Throws `Problem`. */
function upload(options, file, type, signal, onProgress = () => {}) {
  const query = new URLSearchParams(Object.entries(options).filter(([, value]) => value !== ""));
  const code = getCode();
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", new URL(`plugins/install?${query}`, BASE));
    sending.setRequestHeader("Authorization", `Bearer ${code}`);
    sending.setRequestHeader("Content-Type", type);
    sending.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    sending.onerror = sending.onabort = () => reject(new Problem({}));
    sending.onload = () => {
      const { status, responseText } = sending;
      if (status === 401 && getCode() === code) setCode(null, true);
      try {
        const answer = JSON.parse(responseText);
        if (status < 300) resolve(answer);
        else reject(new Problem({ ...answer, status }));
      } catch {
        reject(new Problem({ code: `http_${status}`, detail: `HTTP ${status}`, status }));
      }
    };
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}

const formatSize = (bytes) => (bytes < MEGABYTE ? `${formatNumber(bytes / 1000, 1)} kB` : formatMemory(bytes / MEGABYTE));

const toHex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
