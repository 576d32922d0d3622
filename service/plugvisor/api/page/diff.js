// The differences between two texts, line by line, and their display.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/** How many unchanged lines are shown around a change. */
const CONTEXT = 3;
/** Above that many pairs of lines all that is between the first and the last change counts as changed. */
const MOST_PAIRS = 4_000_000;
const SIGNS = { added: "+", removed: "−", same: "\u00a0" };

/** Returns `[kind, line, number]` for each line, in order; `kind` is added, removed or same, `number` that in its text. */
export function compare(before, after) {
  const [old, now] = [before.split("\n"), after.split("\n")];
  let first = 0;
  while (first < old.length && first < now.length && old[first] === now[first]) first += 1;
  let last = 0;
  while (last < old.length - first && last < now.length - first && old.at(-1 - last) === now.at(-1 - last)) last += 1;
  const [oldEnd, nowEnd] = [old.length - last, now.length - last];
  const same = (from, to) => now.slice(from, to).map((line, index) => ["same", line, from + index + 1]);
  return [...same(0, first), ...compareMiddle(old, now, first, oldEnd, nowEnd), ...same(nowEnd, now.length)];
}

/** Finds a longest common subsequence of lines from `first` on. */
function compareMiddle(old, now, first, oldEnd, nowEnd) {
  const [height, width] = [oldEnd - first, nowEnd - first];
  const isSmall = height * width <= MOST_PAIRS;
  // lengths[i * (width + 1) + j]: of the longest one of the last lines of both, from i and j on
  const lengths = new Uint32Array(isSmall ? (height + 1) * (width + 1) : 0);
  const at = (i, j) => i * (width + 1) + j;
  for (let i = height - 1; isSmall && i >= 0; i -= 1) {
    for (let j = width - 1; j >= 0; j -= 1) {
      lengths[at(i, j)] = old[first + i] === now[first + j] ? lengths[at(i + 1, j + 1)] + 1 : Math.max(lengths[at(i + 1, j)], lengths[at(i, j + 1)]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < height || j < width) {
    if (isSmall && i < height && j < width && old[first + i] === now[first + j]) {
      lines.push(["same", now[first + j], first + j + 1]);
      i += 1;
      j += 1;
    } else if (i < height && (j === width || !isSmall || lengths[at(i + 1, j)] >= lengths[at(i, j + 1)])) {
      lines.push(["removed", old[first + i], first + i + 1]);
      i += 1;
    } else {
      lines.push(["added", now[first + j], first + j + 1]);
      j += 1;
    }
  }
  return lines;
}

/** Makes a list of what differs, with signs beside the colours, and says how much it is. */
export function makeDiff(before, after) {
  const lines = compare(before, after);
  const count = (kind) => lines.filter(([one]) => one === kind).length;
  const near = new Set();
  lines.forEach(([kind], index) => {
    for (let other = index - CONTEXT; kind !== "same" && other <= index + CONTEXT; other += 1) near.add(other);
  });
  const rows = lines.flatMap(([kind, line, number], index) => (near.has(index)
    ? [!near.has(index - 1) && index > 0 && h("li.gap", "⋯"),
      h(`li.${kind}`, h("span.number", String(number)), h("b.sign", SIGNS[kind], kind !== "same" && h("span.unseen", t(kind))), h("code", line || "\u200b"))]
    : [])).filter(Boolean);
  return h("div",
    h("p.hint", t("differences", count("added"), count("removed"))),
    h("ol.diff", { tabIndex: 0, ariaLabel: t("review") }, rows));
}
