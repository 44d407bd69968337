// What a conversation looks like: turns on one side, its sources with their quotes on the other.

import { element, link, sentence } from "./dom.js";
import { words } from "./math.js";

const folded = (text) => String(text).split(/\s+/).filter(Boolean).join(" ");

export class Transcript {
  constructor(turns, sources, changed = () => {}) {
    this.turns = turns;
    this.sources = sources;
    this.changed = changed;
    this.clear();
  }

  clear() {
    this.turns.replaceChildren();
    this.sources.replaceChildren();
    this.cards = new Map();
    this.quotes = new Map();
    this.answer = null;
    this.changed(0);
  }

  // A question, and room for what comes of it.
  ask(event) {
    this.claims = 0;
    this.asked = element("article", { class: "turn you", "aria-label": "You asked" }, element("p", {}, words(event, "text")));
    this.turns.append(this.asked);
    this.answer = element("article", { class: "turn tutor", "aria-label": "The tutor answered" });
    this.turns.append(this.answer);
  }

  // The last question was not taken: it is not there.
  takeBack() {
    this.asked?.remove();
    this.answer?.remove();
    this.answer = null;
  }

  waiting(on) {
    if (!this.answer) return;
    this.answer.querySelector(".waiting")?.remove();
    this.answer.setAttribute("aria-busy", String(on));
    if (on) this.answer.append(element("p", { class: "waiting" }, element("span", { class: "visually-hidden" }, "Looking through the sources"), element("i"), element("i"), element("i")));
  }

  show(event) {
    const kind = event.event || event.kind;
    if (kind === "student") { this.ask(event); return; }
    if (!this.answer) this.ask({ text: "" });
    const shown = this[`_${kind}`]?.(event);
    if (shown) {
      const wait = this.answer.querySelector(".waiting");
      if (wait) wait.before(shown); else this.answer.append(shown);
    }
  }

  _piece(event) { return element("p", {}, words(event, "text")); }

  _claim(event) {
    const quoted = folded(event.text) === folded(event.quote);
    const cite = element("button", {
      type: "button", class: "cite", "aria-label": `Source ${event.number}`, onclick: () => this.reveal(event.number),
    }, event.number);
    this._quote(event);
    this.claims += 1;
    return quoted
      ? element("blockquote", { class: "claim" }, element("p", {}, words(event, "quote", { folded: true }), " ", cite))
      : element("p", { class: "claim" }, words(event, "text"), " ", cite);
  }

  _source(event) {
    const heading = element("p", { class: "source-title" }, link(event.url, event.title ? words(event, "title") : event.source_id));
    const where = [];
    if (event.section && event.section !== event.title) where.push(words(event, "section"));
    if (event.source_id && event.source_id !== event.title && event.source_id !== event.section) where.push(event.source_id);
    const card = element("li", { id: `source-${Number(event.number)}`, class: "source", tabindex: "-1" },
      element("span", { class: "number", "aria-hidden": "true" }, event.number),
      element("div", { class: "source-body" }, heading, where.length ? element("p", { class: "faint" }, where[0], where.length > 1 ? " · " : "", where[1]) : null));
    this.cards.set(Number(event.number), card);
    this.sources.append(card);
    for (const quote of this.quotes.get(Number(event.number)) || []) this._place(card, quote);
    this.changed(this.cards.size);
    return null;
  }

  _toolcall(event) {
    const body = event.error
      ? element("p", { class: "error" }, event.error)
      : element("dl", {}, Object.entries(event.result).map(([name, value]) => [
          element("dt", {}, name.replaceAll("_", " ")),
          element("dd", {}, Array.isArray(value) ? value.map((part) => JSON.stringify(part)).join(", ") : value),
        ]));
    return element("div", { class: "tool" },
      element("p", { class: "label" }, "Computed"),
      element("code", {}, `${event.name}(${Object.entries(event.arguments).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(", ")})`),
      body);
  }

  _hint(event) {
    return element("div", { class: "hint" },
      element("p", { class: "label" }, `Hint ${Number(event.level) + 1} of 4 · ${event.name} · ${event.assignment}/${event.task}`),
      element("p", {}, words(event, "text")));
  }

  _refusal(event) {
    const ours = event.kind === "service" || event.kind === "input";
    return element("p", { class: `refusal ${ours ? "error" : ""}` }, ours ? sentence(String(event.text)) : words(event, "text"));
  }

  _done(event) {
    const dropped = event.dropped ? ` · ${event.dropped} unsupported left out` : "";
    const tokens = event.tokens ? ` · ${event.tokens} tokens so far` : "";
    const who = event.provider === "extractive" ? (this.claims ? "quoted from the sources, no model" : "no model was asked") : `${event.provider}: ${event.model}`;
    return element("p", { class: "by" }, `${who}${dropped}${tokens}`);
  }

  _quote(event) {
    const number = Number(event.number);
    const known = this.quotes.get(number) || [];
    if (known.some((other) => folded(other.quote) === folded(event.quote))) return;
    this.quotes.set(number, [...known, event]);
    const card = this.cards.get(number);
    if (card) this._place(card, event);
  }

  _place(card, event) {
    card.querySelector(".source-body").append(element("blockquote", {}, words(event, "quote", { folded: true })));
  }

  // Bring a source into view and into focus.
  reveal(number) {
    const card = this.cards.get(Number(number));
    if (!card) return;
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    card.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "nearest" });
    card.focus({ preventScroll: true });
  }
}
