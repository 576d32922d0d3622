// Makes and updates elements. Text from plugins never becomes markup: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element: `h("p.note", { lang: "en" }, "text", child)`. Strings become text; false and missing children are
 * left out. The optional second argument sets properties, or attributes if there is no such property.
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
  node.append(...children.flat(9).filter((child) => child || child === 0));
  return node;
}

/** Makes a symbol of index.html, hidden from screen readers: the text beside it has the same meaning. */
export function icon(name) {
  return svg("svg", { class: `icon ${name}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("use", { href: `#${name}` }));
}

/** Makes an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Sets an element's text if it differs: an unnecessary write causes a layout, and may be read aloud. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes `nodes` the children of `parent`, in this order, moving only those that are out of place. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

/** Returns a function that runs `work` before the next frame, once however often it is called. */
export function oncePerFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // a page in the background gets no frames
    const run = () => { asked = false; work(); };
    document.hidden ? setTimeout(run, 500) : requestAnimationFrame(run);
  };
}
