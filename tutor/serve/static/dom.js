// Elements and requests. Text enters as text nodes alone: nothing here or elsewhere parses markup.

export const $ = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === "") continue;
    made.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return made;
}

// A link only where the address is http or https; anything else stays text.
export function link(address, text) {
  let url = null;
  try { url = new URL(address); } catch { return element("span", {}, text); }
  if (url.protocol !== "https:" && url.protocol !== "http:") return element("span", {}, text);
  return element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, text);
}

let token = "";
export function keepToken(value) { token = value; }

// `status` of an error is what the server answered; `lost` is true where it could not be reached.
export async function request(path, sent) {
  const options = sent === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token },
    body: JSON.stringify(sent),
  };
  let reply;
  try {
    reply = await fetch(path, { ...options, credentials: "same-origin" });
  } catch {
    throw Object.assign(new Error("the server cannot be reached"), { lost: true });
  }
  if (!reply.ok) {
    let detail = `the server answered ${reply.status}`;
    try { detail = (await reply.json()).detail || detail; } catch { /* no JSON: the status says it */ }
    throw Object.assign(new Error(detail), { status: reply.status });
  }
  return reply;
}

export const fetched = async (path, sent) => (await request(path, sent)).json();

// Lines of JSON as they arrive.
export async function* lines(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try { piece = await reader.read(); } catch { throw Object.assign(new Error("the connection was lost"), { lost: true }); }
    const { done, value } = piece;
    if (done) break;
    rest += value;
    const whole = rest.split("\n");
    rest = whole.pop();
    for (const line of whole) if (line) yield JSON.parse(line);
  }
  if (rest) yield JSON.parse(rest);
}

// A table that can be scrolled by keys and, on a phone, read line by line. A cell is what stands in it, or [class, what].
export function table(label, headings, rows) {
  const cell = (value, n) => {
    const [name, held] = Array.isArray(value) ? value : ["", value];
    return element("td", { class: name || null, "data-label": headings[n] }, held);
  };
  return element("div", { class: "table", tabindex: "0", role: "region", "aria-label": label }, element("table", {},
    element("thead", {}, element("tr", {}, headings.map((t) => element("th", { scope: "col" }, t)))),
    element("tbody", {}, rows.map((cells) => element("tr", {}, cells.map(cell))))));
}

export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

// Wait, but no longer than until the network is back.
export const pause = (milliseconds) => new Promise((go) => {
  setTimeout(go, milliseconds);
  window.addEventListener("online", go, { once: true });
});

export const when = (at) => {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? "" : time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
};

// Light, dark, or as the system has it.
export function themeButton(button) {
  const root = document.documentElement;
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* storage is switched off */ }
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
  });
}
