// A document of plain objects that knows no markup: what the page's own modules make of events, without a browser.
// Arguments: the folder of the modules, the ids of the page as JSON, and a scenario as JSON on standard input.

import { pathToFileURL } from "node:url";

class Text { constructor(data) { this.data = data; } }
class Element {
  constructor(tag, space = "") { this.tag = tag; this.space = space; this.attributes = {}; this.children = []; this.listeners = {}; this.style = {}; this.dataset = {}; }
  #adopt(nodes) { return nodes.map((n) => (n instanceof Element || n instanceof Text ? n : new Text(String(n)))); }
  append(...nodes) { for (const n of this.#adopt(nodes)) { if (n instanceof Element) n.remove(); n.parent = this; this.children.push(n); } }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  before(...nodes) { const at = this.parent.children.indexOf(this); const made = this.#adopt(nodes); for (const n of made) n.parent = this.parent; this.parent.children.splice(at, 0, ...made); }
  remove() { if (this.parent) { this.parent.children = this.parent.children.filter((c) => c !== this); this.parent = null; } }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  addEventListener(name, call) { this.listeners[name] = call; }
  get textContent() { return this.children.map((c) => (c instanceof Text ? c.data : c.textContent)).join(""); }
  set textContent(text) { this.children = [new Text(String(text))]; }
  set innerHTML(_) { throw new Error("innerHTML was set"); }
  set outerHTML(_) { throw new Error("outerHTML was set"); }
  insertAdjacentHTML() { throw new Error("insertAdjacentHTML was called"); }
  *walk() { for (const c of this.children) if (c instanceof Element) { yield c; yield* c.walk(); } }
  querySelector(selector) { const name = selector.slice(1); for (const e of this.walk()) if ((e.attributes.class || "").split(" ").includes(name)) return e; return null; }
  querySelectorAll(tag) { return [...this.walk()].filter((e) => e.tag === tag); }
  focus() { this.focused = true; }
  scrollIntoView() {}
  plain() { return { tag: this.tag, space: this.space, attributes: this.attributes, children: this.children.map((c) => (c instanceof Text ? c.data : c.plain())) }; }
}

const [folder, ids] = [process.argv[2], new Set(JSON.parse(process.argv[3]))];
let input = "";
for await (const piece of process.stdin) input += piece;
const scenario = JSON.parse(input);

const made = new Map();
globalThis.Node = class { static [Symbol.hasInstance](value) { return value instanceof Element || value instanceof Text; } };
globalThis.document = {
  documentElement: new Element("html"),
  body: new Element("body"),
  createElement: (tag) => new Element(tag),
  createElementNS: (space, tag) => new Element(tag, space),
  createTextNode: (data) => new Text(data),
  getElementById(id) {
    if (!ids.has(id)) throw new Error(`the page has no id ${id}`);
    if (!made.has(id)) made.set(id, Object.assign(new Element("div"), { value: "" }));
    return made.get(id);
  },
};
globalThis.window = { location: { reload() { throw new Error("reloaded"); } }, matchMedia: () => ({ matches: false }), addEventListener() {} };
globalThis.localStorage = { getItem: () => null, setItem() {} };
const asked = [];
globalThis.fetch = async (path, options = {}) => {
  asked.push({ path, method: options.method || "GET", headers: options.headers || {}, body: options.body || null });
  const [status, body] = scenario.replies[`${options.method || "GET"} ${path}`] ?? [404, { detail: "nothing there" }];
  return new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
};
const settled = async () => { for (let n = 0; n < 50; n++) await new Promise((go) => setTimeout(go, 0)); };

const $ = document.getElementById;
await import(pathToFileURL(`${folder}/${scenario.script}`));
await settled();
for (const step of scenario.steps) {
  const target = $(step.id);
  if (step.value !== undefined) target.value = step.value;
  target.listeners[step.event]?.({ preventDefault() {}, key: step.key, target, shiftKey: false });
  await settled();
}
console.log(JSON.stringify({ asked, shown: Object.fromEntries([...made].map(([id, e]) => [id, { ...e.plain(), text: e.textContent, hidden: !!e.hidden, value: e.value }])) }));
