// A line chart of the last minutes.

import { h, setText, svg } from "./dom.js";
import { t } from "./i18n.js";

const [SHORTEST_MS, LONGEST_MS] = [60_000, 300_000];
/** Points that are farther apart are not connected: there was no sample between them. */
const GAP_MS = 15_000;
const [WIDTH, HEIGHT] = [300, 56];

export class Chart {
  #name;
  #format;
  #points = [];
  #now = h("b");
  #most = h("span.most");
  #area = svg("path", { class: "area" });
  #line = svg("path");
  #drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.#area, this.#line);

  /** @param format turns a value into text */
  constructor(name, format) {
    this.#name = name;
    this.#format = format;
    this.node = h("div.chart", h("h3", name), this.#now, this.#most, this.#drawing);
  }

  /** Adds points `[time in ms, value]`, ordered by time; ignores those that it has. */
  add(points) {
    const last = this.#points.at(-1)?.[0] ?? 0;
    const all = [...this.#points, ...points.filter(([time]) => time > last)];
    const [end, value] = all.at(-1);
    this.#points = all.filter(([time]) => time > end - LONGEST_MS);
    const most = Math.max(...this.#points.map((point) => point[1]));
    setText(this.#now, this.#format(value));
    setText(this.#most, t("most", this.#format(most)));
    this.#drawing.ariaLabel = t("chart", this.#name, this.#format(value), this.#format(most));
    this.#draw(end, Math.max(SHORTEST_MS, end - this.#points[0][0]), most * 1.15 || 1);
  }

  #draw(end, span, top) {
    let line = "";
    let area = "";
    this.#points.forEach(([time, value], index, points) => {
      const x = (WIDTH - ((end - time) / span) * WIDTH).toFixed(1);
      const y = (HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1);
      const isStart = !(time - points[index - 1]?.[0] < GAP_MS);
      const isEnd = !(points[index + 1]?.[0] - time < GAP_MS);
      line += `${isStart ? "M" : "L"}${x} ${y}`;
      area += `${isStart ? `M${x} ${HEIGHT}` : ""}L${x} ${y}${isEnd ? `V${HEIGHT}Z` : ""}`;
    });
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
  }
}
