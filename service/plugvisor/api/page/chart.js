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
  #note = h("p.most");
  #bound = svg("path", { class: "limit" });
  #area = svg("path", { class: "area" });
  #line = svg("path");
  #drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.#bound, this.#area, this.#line);
  /** What the value may be at most; 0 or undefined is no limit. */
  limit;
  /** Text for what enforces the limit. */
  enforcer = "";

  /** @param format turns a value into text */
  constructor(name, format) {
    this.#name = name;
    this.#format = format;
    this.#drawing.ariaLabel = name;
    this.node = h("div.chart", h("h3", name), this.#now, this.#most, this.#drawing, this.#note);
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
    setText(this.#note, this.limit ? t("limit", this.#format(this.limit), this.enforcer) : "");
    this.#drawing.ariaLabel = `${t("chart", this.#name, this.#format(value), this.#format(most))} ${this.#note.textContent}`;
    this.#draw(end, Math.max(SHORTEST_MS, end - this.#points[0][0]), Math.max(most, this.limit ?? 0) * 1.15 || 1);
  }

  #draw(end, span, top) {
    const toY = (value) => (HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1);
    let line = "";
    let area = "";
    this.#points.forEach(([time, value], index, points) => {
      const x = (WIDTH - ((end - time) / span) * WIDTH).toFixed(1);
      const y = toY(value);
      const isStart = !(time - points[index - 1]?.[0] < GAP_MS);
      const isEnd = !(points[index + 1]?.[0] - time < GAP_MS);
      line += `${isStart ? "M" : "L"}${x} ${y}`;
      area += `${isStart ? `M${x} ${HEIGHT}` : ""}L${x} ${y}${isEnd ? `V${HEIGHT}Z` : ""}`;
    });
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
    this.#bound.setAttribute("d", this.limit ? `M0 ${toY(this.limit)}H${WIDTH}` : "");
  }
}
