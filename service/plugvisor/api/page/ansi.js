// Turns terminal colours (ECMA-48, "select graphic rendition") into CSS classes and removes all other control codes.

// CSI; OSC, DCS, SOS, PM and APC with their content; other escapes; C0 and C1; bidirectional controls
const CONTROLS =
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;
const STYLES = { 1: "bold", 2: "dim" };

/** Returns a text without control codes. */
export const plainText = (text) => text.replace(CONTROLS, "");

/** Splits a text into pieces `[text, classes]`; `classes` is a string such as `bold fg1 bg4`. */
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
    // foreground 30 to 37 and 90 to 97, background 40 to 47 and 100 to 107; 38 and 48 are extended, 39 and 49 reset
    else if ([3, 4, 9, 10].includes(tens)) {
      const kind = tens % 6 === 3 ? "fg" : "bg";
      const colour = ones < 8 ? ones : ones === 8 ? readColour(codes) : undefined;
      style[kind] = colour === undefined ? "" : kind + colour;
    }
  }
  return style;
}

/** Reads the rest of `38;5;n` or `38;2;r;g;b` as the nearest of eight colours, which are legible in both themes. */
function readColour(codes) {
  if (codes.shift() === 2) return nearest(codes.splice(0, 3), 128);
  const index = codes.shift() ?? 0;
  if (index < 16) return index % 8;
  const cube = index - 16;
  return index > 231 ? 7 : nearest([cube / 36, (cube / 6) % 6, cube % 6], 3);
}

const nearest = ([red, green, blue], half) => (red >= half) + 2 * (green >= half) + 4 * (blue >= half);
