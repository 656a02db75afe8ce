// Elements made of data. Texts become text nodes and nothing else: names and labels come from devices and may be hostile.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// An element; attributes that are functions listen to the event of their name.
export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// An element of a drawing.
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// A form field with its label.
export function field(title, input) {
  return el("label", { class: "field" }, el("span", null, title), input);
}
