// The graph of dependencies: what is on the left starts before what is on the right.

import { showWide } from "./dialogs.js";
import { h, icon, oncePerFrame, setText, svg } from "./dom.js";
import { t } from "./i18n.js";
import { follow, healthOf, kindOf, needsOf, symbolOf } from "./item.js";
import { enumerate, linkTo } from "./needs.js";

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [140, 34, 36, 14];
const SWEEPS = 8;

/**
 * Places plugins in columns, each to the right of what it depends on, in an order in which few lines cross.
 * @param needs id → ids; of a cycle, one line leads back
 * @returns `cells`: id → `{x, y}`, the middle of its left side; `lines`: `[id, id, path]`; `width`; `height`
 */
function place(needs) {
  const ranks = new Map();
  const rankOf = (id) => {
    if (!ranks.has(id)) {
      ranks.set(id, -1); // for a cycle, which comes back here
      ranks.set(id, Math.max(-1, ...needs.get(id).map(rankOf)) + 1);
    }
    return ranks.get(id);
  };
  const columns = [];
  const add = (rank, height) => {
    const cell = { x: rank * (WIDTH + GAP_X), y: 0, height, before: [], after: [] };
    (columns[rank] ??= []).push(cell);
    return cell;
  };
  const cells = new Map([...needs.keys()].map((id) => [id, add(rankOf(id), HEIGHT)]));
  const lines = [];
  for (const [id, ids] of needs) {
    for (const other of ids) {
      // a line that passes a column has a place of its own there, between the plugins
      const points = [cells.get(other)];
      for (let rank = ranks.get(other) + 1; rank < ranks.get(id); rank++) points.push(add(rank, 0));
      points.push(cells.get(id));
      points.slice(1).forEach((cell, index) => {
        cell.before.push(points[index]);
        points[index].after.push(cell);
      });
      lines.push([other, id, points]);
    }
  }
  const measure = (column) => column.reduce((sum, { height }) => sum + height + GAP_Y, 0);
  const height = Math.max(...columns.map(measure));
  const stack = (column) => {
    let y = (height - measure(column)) / 2;
    for (const cell of column) {
      cell.y = y + (cell.height + GAP_Y) / 2;
      y += cell.height + GAP_Y;
    }
  };
  columns.forEach(stack);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const column of sweep % 2 ? columns.toReversed() : columns) {
      for (const cell of column) {
        const others = sweep % 2 ? cell.after : cell.before;
        cell.wish = others.length ? others.reduce((sum, { y }) => sum + y, 0) / others.length : cell.y;
      }
      column.sort((one, other) => one.wish - other.wish);
      stack(column);
    }
  }
  const paths = lines.map(([from, to, points]) => [from, to, draw(points)]);
  return { cells, lines: paths, width: columns.length * (WIDTH + GAP_X) - GAP_X, height };
}

function draw([first, ...rest]) {
  let { x, y } = first;
  let path = `M${x + WIDTH} ${y}`;
  for (const cell of rest) {
    const [from, to] = [x + WIDTH + GAP_X / 2, cell.x - GAP_X / 2];
    path += `C${from} ${y} ${to} ${cell.y} ${cell.x} ${cell.y}`;
    if (!cell.height) path += `h${WIDTH}`;
    ({ x, y } = cell);
  }
  return path;
}

/** The graph of some plugins, and the same as a list; hidden if none depends on another. */
class Graph {
  #store;
  #choose;
  #shown;
  #boxes = new Map();
  #drawing = h("div.graph", { tabIndex: 0, role: "group", ariaLabel: t("graph") });
  #list = h("ul");
  node = h("section.card", { hidden: true },
    h("h2", t("graph")), h("p.hint", t("graphText")), this.#drawing, h("details", h("summary", t("asList")), this.#list));

  /** @param choose returns the ids of the plugins to show */
  constructor(store, choose) {
    this.#store = store;
    this.#choose = choose;
  }

  /** Shows the current states; draws the graph again if dependencies or names have changed. */
  update = oncePerFrame(() => {
    const { plugins } = this.#store;
    const ids = this.#choose();
    const needs = new Map([...ids].sort().map((id) => [id, needsOf(plugins, id).filter((one) => ids.has(one.id))]));
    this.node.hidden = ids.size < 2;
    if (this.node.hidden) return;
    const shown = JSON.stringify([...needs].map(([id, all]) => [id, all, plugins.get(id)?.name]));
    if (shown !== this.#shown) this.#build(needs);
    this.#shown = shown;
    for (const [id, { box, words }] of this.#boxes) {
      const item = plugins.get(id);
      const kind = kindOf(item);
      const health = healthOf(item);
      const text = health ? `${t(kind)}, ${t(health)}` : t(kind);
      if (words.textContent === text) continue;
      setText(words, text);
      box.dataset.status = kind;
      box.replaceChildren(
        icon(symbolOf(kind)), h("span.description", item?.name ?? id), h("span.unseen", text),
        ...(health ? [h("b", { "data-status": health }, icon(health))] : []));
    }
  });

  #build(needs) {
    this.#boxes.clear();
    const { cells, lines, width, height } = place(new Map([...needs].map(([id, all]) => [id, all.map((one) => one.id)])));
    const boxes = [...cells].map(([id, { x, y }]) => {
      const box = linkTo(this.#store, id, "box");
      this.#boxes.set(id, { box, words: h("span.hint") });
      return svg("foreignObject", { x, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT }, box);
    });
    const paths = lines.map(([from, to, d]) =>
      svg("path", { d, class: needs.get(to).find((one) => one.id === from).required ? "" : "optional" }));
    this.#drawing.replaceChildren(svg("svg", { width, height }, ...paths, ...boxes));
    this.#list.replaceChildren(...[...needs].map(([id, all]) => h("li",
      linkTo(this.#store, id), " ", this.#boxes.get(id).words,
      all.length > 0 && [h("span.hint", ` · ${t("dependsOn")}: `), enumerate(all.map((one) => linkTo(this.#store, one.id)))])));
  }
}

/** Makes the graph of a plugin, of what it needs, and of what needs it. */
export const makeGraphOf = (store, id) => new Graph(store, () => new Set([
  ...follow([id], (one) => needsOf(store.plugins, one).map((need) => need.id)),
  ...follow([id], (one) => store.plugins.get(one)?.dependents ?? []),
]));

/** Shows the graph of all plugins in a dialog. */
export async function showGraph(store) {
  const needs = (id) => needsOf(store.plugins, id).map((need) => need.id);
  const graph = new Graph(store, () => follow([...store.plugins.keys()].filter((id) => needs(id).length), needs));
  store.addEventListener("plugins", graph.update);
  graph.update();
  await showWide(graph.node);
  store.removeEventListener("plugins", graph.update);
}
