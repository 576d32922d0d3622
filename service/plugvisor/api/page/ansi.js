// Colours of terminals (ECMA-48, "select graphic rendition") as classes; every other control code is left out.

// CSI …; OSC and its kin up to their end; any other escape; C0 and C1 controls; marks that turn text around
const CONTROLS =
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;
const STYLES = { 1: "bold", 2: "dim" };

/** A text without any control code. */
export const plainText = (text) => text.replace(CONTROLS, "");

/** A text as pieces `[text, classes]`, where `classes` are such as `bold fg1 bg4`. */
export function parseAnsi(text) {
  const pieces = [];
  let style = {};
  let end = 0;
  for (const match of [...text.matchAll(CONTROLS), { index: text.length, 0: "" }]) {
    if (match.index > end) pieces.push([text.slice(end, match.index), Object.values(style).filter(Boolean).join(" ")]);
    end = match.index + match[0].length;
    if (match[2] === "m") style = applyCodes({ ...style }, match[1].split(/[;:]/).map(Number));
  }
  return pieces;
}

function applyCodes(style, codes) {
  while (codes.length) {
    const code = codes.shift();
    const [tens, ones] = [Math.floor(code / 10), code % 10];
    if (!code) style = {};
    else if (STYLES[code]) style[code] = STYLES[code];
    else if (code === 22) style[1] = style[2] = "";
    // 30 to 37 and bright 90 to 97; 40 to 47 and 100 to 107 behind the text; 8 is any colour, 9 none
    else if ([3, 4, 9, 10].includes(tens)) {
      const kind = tens % 6 === 3 ? "fg" : "bg";
      const colour = ones < 8 ? ones : ones === 8 ? readColour(codes) : undefined;
      style[kind] = colour === undefined ? "" : kind + colour;
    }
  }
  return style;
}

/** The nearest of the eight colours for what is left of `38;5;n` or `38;2;r;g;b`: those are legible in both themes. */
function readColour(codes) {
  if (codes.shift() === 2) return nearest(codes.splice(0, 3), 128);
  const index = codes.shift() ?? 0;
  if (index < 16) return index % 8;
  const cube = index - 16;
  return index > 231 ? 7 : nearest([cube / 36, (cube / 6) % 6, cube % 6], 3);
}

const nearest = ([red, green, blue], half) => (red >= half) + 2 * (green >= half) + 4 * (blue >= half);
