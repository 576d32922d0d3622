// What a swarm has beyond one machine: its nodes, and each plugin's tasks on them. Loaded when the service names nodes.

import { TEXTS } from "./cluster_texts.js";
import { h, icon, setText } from "./dom.js";
import { addTexts, formatMemory, formatNumber, formatTime, t } from "./i18n.js";
import { enumerate, linkTo } from "./needs.js";

addTexts(TEXTS);
document.head.append(h("link", { rel: "stylesheet", href: new URL("./cluster.css", import.meta.url) }));
document.body.classList.add("cluster");

const LOST = ["down", "disconnected"];
/** Docker's word for what a task is → the status whose symbol and colour it has; all others are `starting`. */
const KINDS = {
  running: "running", complete: "stopped", shutdown: "stopped", remove: "stopping",
  failed: "error", rejected: "error", orphaned: "error",
};
const link = h("a.button", { href: "#/nodes" });
document.querySelector("nav").prepend(link);

let app;
let nodes = [];
/** The view that is shown; of a plugin's the id, and the card with the tasks. */
let shown;
let id;
let card;

const isLost = ({ state }) => LOST.includes(state);
const label = (kind, words) => h("b.label", icon(kind), words);

/** Shows what has become of the nodes. */
export function show(page, known) {
  const isFirst = !app;
  app = page;
  nodes = known;
  if (isFirst) {
    app.views[link.hash] = NodesView;
    app.decorate = decorate;
    app.store.placesOf = placesOf;
    app.store.addEventListener("plugins", ({ detail }) => showTasks(detail?.ids));
    app.open(); // the address may be that of the nodes, and the rows say where plugins run
  }
  showNodes();
}

/** Returns the nodes that have a process of a plugin, or may have one. */
function placesOf({ version, tasks = [] }) {
  const places = [...new Set(tasks.filter(({ pid, lost }) => pid || lost).map(({ node }) => node))].join(", ");
  return version && places ? ` · ${places}` : places;
}

/** Adds to a view what only a swarm has. */
function decorate(view, route) {
  shown = view;
  id = route;
  card = undefined;
  if (view.whole) {
    card = h("section.card", { hidden: true });
    view.whole.querySelector(".facts").before(card);
    showTasks();
  }
  showNodes();
}

function showNodes() {
  link.ariaCurrent = shown instanceof NodesView ? "page" : null;
  const lost = nodes.filter(isLost).length;
  setText(link, [t("nodes"), lost && t("lostNodes", formatNumber(lost))].filter(Boolean).join(" · "));
  link.classList.toggle("problem", lost > 0);
  if (shown instanceof NodesView) shown.update();
}

/** Shows the tasks of the plugin whose view is open. */
function showTasks(ids) {
  if (!card || (ids && !ids.includes(id))) return;
  const { tasks = [] } = app.store.plugins.get(id) ?? {};
  const key = JSON.stringify(tasks);
  if (card.dataset.key === key) return;
  card.dataset.key = key;
  card.hidden = !tasks.length;
  card.replaceChildren(h("h2", t("tasks")), h("ul.tasks", tasks.map(makeTask)));
}

function makeTask({ slot, node, state, pid, exit_code, error, lost, at }) {
  const kind = lost ? "error" : KINDS[state] ?? "starting";
  const facts = [node || t("noNode"), pid && `${t("pid")} ${pid}`, exit_code !== undefined && t("exitCode", exit_code), formatTime(at)];
  return h("li", { "data-status": kind },
    label(kind, t(`task_${lost ? "orphaned" : state}`)), " ", slot > 0 && h("span.name", t("replica", slot)),
    h("p.hint", facts.filter(Boolean).join(" · ")),
    lost && h("p.detail", t("mayRun")),
    error && h("p.detail", { lang: "en" }, error));
}

/** The view of the nodes. */
class NodesView {
  #shown;
  #list = h("ul.nodes", { role: "list" });
  title = h("h1", { tabIndex: -1 }, t("nodes"));
  node = h("article.journal", this.title, h("p.hint", t("nodesText")), this.#list);

  constructor() {
    this.update();
  }

  close() {}

  update() {
    const { store } = app;
    const names = nodes.map(({ plugins }) => plugins.map((id) => store.plugins.get(id)?.name));
    const key = JSON.stringify([nodes, names]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#list.replaceChildren(...nodes.map((node) => makeNode(store, node)));
  }
}

function makeNode(store, node) {
  const { name, state, availability, role, leader, address, detail, engine_version, cpus, memory, tasks, plugins } = node;
  const kind = isLost(node) || state === "unknown" ? "error" : availability === "active" ? "healthy" : "stopping";
  const machine = [address, engine_version && `Docker ${engine_version}`, `${t("cpus")} ${formatNumber(cpus)}`, t("memoryOf", formatMemory(memory / 2 ** 20))];
  return h("li.card", { "data-status": kind },
    h("h2", name, h("span.version", [t(role), leader && t("leader")].filter(Boolean).join(" · "))),
    h("p", label(kind, t(`node_${state}`)), availability !== "active" && h("span", ` · ${t(`node_${availability}`)}`)),
    detail && h("p.detail", { lang: "en" }, detail),
    h("p.hint", machine.filter(Boolean).join(" · ")),
    h("p", t("taskCount", formatNumber(tasks)), plugins.length > 0 && " · ", enumerate(plugins.map((id) => linkTo(store, id)))));
}
