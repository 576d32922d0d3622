// Elements, made by hand: what a plugin says of itself is only ever text, never markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element: `h("p.note", { lang: "en" }, "text", child)`. Strings become text; what is false or missing is left
 * out. The second argument may be missing; it holds properties, or attributes where there is no such property.
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  if (props?.constructor !== Object) children.unshift(props);
  else {
    for (const [key, value] of Object.entries(props)) {
      if (key in node) node[key] = value;
      else node.setAttribute(key, value);
    }
  }
  node.append(...children.flat().filter((child) => child || child === 0));
  return node;
}

/** A drawing of index.html; it is decoration, for the words beside it say the same. */
export function icon(name) {
  return svg("svg", { class: `icon ${name}`, "aria-hidden": "true" }, svg("use", { href: `#${name}` }));
}

/** Makes an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Writes text only where it differs, so that nothing is laid out, or read aloud, for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Puts `nodes` into `parent` in this order, touching only those that are not where they belong. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

/** Runs `work` once before the next frame, however often it is asked for until then. */
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // a page in the background has no frames, and must not pile up what happens meanwhile
    const run = () => { asked = false; work(); };
    document.hidden ? setTimeout(run, 500) : requestAnimationFrame(run);
  };
}
