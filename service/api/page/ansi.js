// Colours of terminals (ECMA-48, "select graphic rendition") as classes; every other control code is left out.

// CSI …; OSC and its kin up to their end; any other escape; C0 and C1 controls; marks that turn text around
const CONTROLS =
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** A text without any control code. */
export const plainText = (text) => text.replace(CONTROLS, "");

/** A text as pieces `[text, classes]`, where `classes` are such as `bold fg1 bg4`. */
export function parseAnsi(text) {
  const pieces = [];
  let style = {};
  let end = 0;
  const push = (piece) => piece && pieces.push([piece, Object.values(style).filter(Boolean).join(" ")]);
  for (const match of text.matchAll(CONTROLS)) {
    push(text.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[2] === "m") style = applyCodes(style, match[1].split(/[;:]/).map(Number));
  }
  push(text.slice(end));
  return pieces;
}

function applyCodes(style, codes) {
  style = { ...style };
  while (codes.length) {
    const code = codes.shift();
    if (!code) style = {};
    else if (code === 1) style.weight = "bold";
    else if (code === 2) style.weight = "dim";
    else if (code === 3) style.slant = "italic";
    else if (code === 4) style.line = "underline";
    else if (code === 22) style.weight = "";
    else if (code === 23) style.slant = "";
    else if (code === 24) style.line = "";
    else if (code === 38 || code === 48) style[code] = nameColour(code, readColour(codes));
    else if (code === 39 || code === 49) style[code - 1] = "";
    else if (code >= 30 && code <= 37) style[38] = nameColour(38, code - 30);
    else if (code >= 40 && code <= 47) style[48] = nameColour(48, code - 40);
    else if (code >= 90 && code <= 97) style[38] = nameColour(38, code - 82);
    else if (code >= 100 && code <= 107) style[48] = nameColour(48, code - 92);
  }
  return style;
}

const nameColour = (code, colour) => (colour === undefined ? "" : `${code === 38 ? "fg" : "bg"}${colour % 8}`);

/** One of the sixteen for the rest of `38;5;n` or `38;2;r;g;b`: those are legible in both themes. */
function readColour(codes) {
  const [kind] = codes.splice(0, 1);
  if (kind === 2) return nearest(codes.splice(0, 3), 128);
  if (kind !== 5) return undefined;
  const [index] = codes.splice(0, 1);
  if (!(index < 256)) return undefined;
  if (index < 16) return index;
  if (index >= 232) return index < 244 ? 0 : 7;
  const cube = index - 16;
  return nearest([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6], 3);
}

const nearest = ([red, green, blue], half) => (red >= half) + 2 * (green >= half) + 4 * (blue >= half);
