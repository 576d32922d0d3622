// What only admins can do: install, update, roll back, remove and configure plugins. Loaded when an admin has signed in.

import { TEXTS } from "./administration_texts.js";
import { ask } from "./api.js";
import { toast } from "./dialogs.js";
import { h } from "./dom.js";
import { addTexts, t } from "./i18n.js";
import { Operations } from "./operations.js";
import { Versions } from "./versions.js";

addTexts(TEXTS);
const style = h("link", { rel: "stylesheet", href: new URL("./administration.css", import.meta.url) });
document.head.append(style);
await new Promise((resolve) => { style.onload = style.onerror = resolve; });

let app;
let operations;
/** The view that is shown, the id of its plugin if it has one, and what was added to it. */
let shown = {};

/** Adds to a view what only admins can do; removes it if there is none signed in. */
export function administer(page, view, id) {
  app ??= { ...page, install };
  operations ??= app.operations = new Operations(app);
  const isAdmin = app.store.identity?.role === "admin";
  operations.show(isAdmin);
  const isPlugin = Boolean(view.whole);
  const mayInstall = isAdmin && (!isPlugin || app.actions.mayChange(id));
  // a translation makes a view anew; that somebody signs in does not
  if (shown.view === view && shown.mayInstall === mayInstall) return;
  shown.panel?.close();
  for (const node of shown.nodes ?? []) node.remove();
  shown = { view, mayInstall, id: isPlugin ? id : undefined, nodes: [] };
  if (!mayInstall) return;
  if (isPlugin) {
    shown.panel = new Versions(app, id);
    shown.nodes = [shown.panel.node];
    view.whole.querySelector(".facts").before(shown.panel.node);
  } else if (view.refresh) {
    const makeButton = () => h("button", { onclick: () => install() }, t("installPackage"));
    // the toolbar is hidden while there is no plugin
    shown.nodes = [makeButton(), h("p.first", makeButton())];
    view.graph.before(shown.nodes[0]);
    view.nothing.after(shown.nodes[1]);
  }
}

/** Asks for a package, unless it is given, and sends it. */
async function install(options = {}) {
  try {
    const { open } = await import("./install.js");
    const { installation = { on: true } } = await ask("server/info").catch(() => ({}));
    open(app, installation, options);
  } catch {
    toast(t("lostTitle"), true);
  }
}

// -- a package that is dropped anywhere: without this a browser leaves the page to show it

const isFile = (event) => shown.mayInstall && event.dataTransfer?.types.includes("Files");

/** Whether the page is below a file that is being dragged; a timer, as browsers do not always say that it has left. */
let leaving;

function markTarget(isOver) {
  document.body.classList.toggle("dropping", isOver);
  document.body.dataset.drop = t("dropHere");
}

addEventListener("dragover", (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  const isBusy = document.querySelector("dialog[open]:not(.install)");
  event.dataTransfer.dropEffect = isBusy ? "none" : "copy";
  markTarget(!isBusy);
  clearTimeout(leaving);
  leaving = setTimeout(() => markTarget(false), 300);
});
addEventListener("drop", (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  markTarget(false);
  if (document.querySelector("dialog[open]:not(.install)")) return;
  if (event.dataTransfer.files.length === 1) install({ id: shown.id, file: event.dataTransfer.files[0] });
  else toast(t("onePackage"), true);
});
