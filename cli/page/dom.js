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

// Makes the children of a node those given, and keeps nodes that stay: with them focus, scrolling and selection. The old
// listeners stay, so what they need must not be of one answer. Nodes of different `data-key` are different ones.
export function update(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  patch(node, fill(node.cloneNode(false), null, children));
  if (!focused || node.contains(document.activeElement)) return;
  // What had the keyboard is elsewhere now, or gone: then the table has it, and not the beginning of the page.
  const href = focused.getAttribute("href");
  const same = [...node.querySelectorAll(focused.nodeName)].find((one) => href && one.getAttribute("href") === href);
  (same ?? node.querySelector("[tabindex]"))?.focus();
}

function patch(node, next) {
  const wanted = [...next.childNodes];
  wanted.forEach((child, index) => {
    const old = node.childNodes[index];
    if (!old) node.append(child);
    else if (old.nodeName !== child.nodeName || old.dataset?.key !== child.dataset?.key) old.replaceWith(child);
    else if (child instanceof Text) {
      if (old.data !== child.data) old.data = child.data;
    } else {
      attributes(old, child);
      patch(old, child);
    }
  });
  while (node.childNodes.length > wanted.length) node.lastChild.remove();
}

function attributes(node, next) {
  for (const { name } of [...node.attributes]) if (!next.hasAttribute(name)) node.removeAttribute(name);
  for (const { name, value } of next.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// A form field with its label.
export function field(title, input, kind) {
  return el("label", { class: kind ? `field ${kind}` : "field" }, el("span", null, title), input);
}
