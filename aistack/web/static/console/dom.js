// Elements from plain calls. Styles are set through the CSSOM: the page's policy allows no style attribute.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function empty(title, ...more) {
  return h("p", { class: "empty" }, h("strong", {}, title), ...more);
}

// Replace the children only if their source has changed: a click or the keyboard focus must not be lost
// because an element was redrawn in between.
const drawn = new WeakMap();
export function redraw(element, from, make) {
  const key = JSON.stringify(from);
  if (drawn.get(element) === key) return;
  drawn.set(element, key);
  element.replaceChildren(...[make()].flat().filter(Boolean));
}

export function options(select, values, preferred) {
  const key = values.join("\n");
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const before = select.value || preferred;
  select.replaceChildren(...values.map((value) => h("option", { value }, value)));
  if (values.includes(before)) select.value = before;
}
