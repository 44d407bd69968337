// Formulas as MathML, node by node from trees of the server: [tag, {attribute: value}, child, ...].
// What is on no list here is not made; the formula then stays as its TeX.

import { element } from "./dom.js";

const SPACE = "http://www.w3.org/1998/Math/MathML";
const TAGS = new Set(["mrow", "mi", "mn", "mo", "mtext", "mspace", "msub", "msup", "msubsup", "munder", "mover",
  "munderover", "mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd", "mstyle", "mphantom", "mmultiscripts", "mprescripts"]);
const TRUTH = /^(true|false)$/;
const LENGTH = /^(-?[0-4](\.\d{1,4})?em|0)$/;
const ATTRIBUTES = new Map(Object.entries({
  stretchy: TRUTH, fence: TRUTH, accent: TRUTH, accentunder: TRUTH, displaystyle: TRUTH, largeop: TRUTH, movablelimits: TRUTH,
  form: /^(prefix|infix|postfix)$/, scriptlevel: /^[+-]?[0-3]$/, mathvariant: /^normal$/, class: /^(left|right|center|over)$/,
  linethickness: LENGTH, width: LENGTH, minsize: LENGTH, maxsize: LENGTH,
}));
const DEEPEST = 30;

function node(tree, deep = 0) {
  if (!Array.isArray(tree) || !TAGS.has(tree[0]) || deep > DEEPEST) throw new TypeError("no formula");
  const made = document.createElementNS(SPACE, tree[0]);
  for (const [name, value] of Object.entries(tree[1] ?? {})) {
    if (!ATTRIBUTES.get(name)?.test(value)) throw new TypeError("no formula");
    made.setAttribute(name, value);
  }
  for (const child of tree.slice(2)) made.append(typeof child === "string" ? document.createTextNode(child) : node(child, deep + 1));
  return made;
}

// What runs out of its line is scrolled by keys too.
function reachable(made) {
  if (!(made.scrollWidth > made.clientWidth)) return;
  for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", "Formula"]]) made.setAttribute(name, value);
}

function formula(part) {
  const tex = String(part.tex);
  const dollars = part.block ? "$$" : "$";
  try {
    const math = document.createElementNS(SPACE, "math");
    if (part.block) math.setAttribute("display", "block");
    math.append(node(part.math));
    const wide = part.block || tex.length > 40;
    const made = element("span", { class: part.block ? "formula block" : wide ? "formula wide" : "formula", title: tex }, math);
    if (wide) setTimeout(() => reachable(made), 0);
    return made;
  } catch {
    return `${dollars}${tex}${dollars}`;
  }
}

const MARKS = new Set(["strong", "em", "code"]);

function piece(part, fold) {
  if (typeof part === "string") return fold(part);
  if (MARKS.has(part.as)) return element(part.as, {}, fold(String(part.text)));
  return formula(part);
}

// The words of one field of an event, with its formulas and marks where the server has read any.
export function words(event, field, { folded = false } = {}) {
  const fold = (text) => (folded ? text.replace(/\s+/g, " ") : text);
  const parts = event.shown?.[field];
  if (!Array.isArray(parts)) return fold(String(event[field] ?? "")).trim();
  return parts.map((part) => piece(part, fold));
}
