// A small chart of the last minutes.

import { h, setText, svg } from "./dom.js";
import { t } from "./i18n.js";

const WINDOW_MS = 5 * 60_000;
/** Between points that are farther apart nothing is known, and nothing is drawn. */
const GAP_MS = 15_000;
const [WIDTH, HEIGHT] = [300, 56];

export class Chart {
  #name;
  #format;
  #points = [];
  #now = h("b");
  #most = h("span", { className: "most" });
  #line = svg("path", { class: "line" });
  #area = svg("path", { class: "area" });
  #drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.#area, this.#line);

  /** @param format how a value is written */
  constructor(name, format) {
    this.#name = name;
    this.#format = format;
    this.node = h("div", { className: "chart" }, h("h3", {}, name), this.#now, this.#most);
    this.node.append(this.#drawing);
  }

  /** Adds points `[time in ms, value]`, in the order of their times; those known already are left out. */
  add(points) {
    const last = this.#points.at(-1)?.[0] ?? 0;
    this.#points.push(...points.filter(([time]) => time > last));
    const end = this.#points.at(-1)?.[0] ?? 0;
    this.#points = this.#points.filter(([time]) => time > end - WINDOW_MS);
    this.#draw(end);
  }

  #draw(end) {
    if (!this.#points.length) return;
    const most = Math.max(...this.#points.map(([, value]) => value));
    const now = this.#format(this.#points.at(-1)[1]);
    setText(this.#now, now);
    setText(this.#most, t("most", this.#format(most)));
    this.#drawing.setAttribute("aria-label", t("chart", this.#name, now, this.#format(most)));
    const place = ([time, value]) => [
      WIDTH - ((end - time) / WINDOW_MS) * WIDTH,
      HEIGHT - 1 - (value / (most * 1.15 || 1)) * (HEIGHT - 3),
    ].map((number) => number.toFixed(1));
    let line = "";
    let area = "";
    this.#points.forEach((point, index) => {
      const isStart = !index || point[0] - this.#points[index - 1][0] > GAP_MS;
      const isEnd = !this.#points[index + 1] || this.#points[index + 1][0] - point[0] > GAP_MS;
      const [x, y] = place(point);
      line += `${isStart ? "M" : "L"}${x} ${y}`;
      area += `${isStart ? `M${x} ${HEIGHT}L` : "L"}${x} ${y}${isEnd ? `L${x} ${HEIGHT}Z` : ""}`;
    });
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
  }
}
