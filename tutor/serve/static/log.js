// The log of AI use by homework: what was asked, what came of it, and what the student says of it.

import { $, element, fetched, table, when } from "./dom.js";

const FIELDS = [
  ["purpose", "What did you use it for?"],
  ["what_accepted", "What did you take over?"],
  ["what_rejected", "What did you reject, and why?"],
  ["how_verified", "How did you check what it said?"],
  ["effect_on_answer", "What did it change in your answer?"],
];
export const ASKED = FIELDS.length + 1;
const NAMES = Object.fromEntries([...FIELDS.map(([name, label]) => [name, label.replace("?", "").toLowerCase()]), ["confidence", "how sure you are"]]);
const REASONS = { unsupported: "no support in the sources", assignment: "no solution before the due date", stopped: "stopped" };

// What became of a question, in a few words.
function outcome(line) {
  const said = [];
  if (line.claims) said.push(`${line.claims} quoted`);
  if (line.dropped) said.push(`${line.dropped} unsupported left out`);
  for (const hint of line.hints) said.push(`hint ${hint}`);
  for (const tool of line.tools) said.push(`computed ${tool}`);
  for (const refusal of line.refusals) said.push(REASONS[refusal] || refusal);
  return said.join(", ") || "no answer";
}

export function asked(lines, nothing) {
  if (!lines.length) return element("p", { class: "notice" }, nothing);
  return table("Questions", ["When", "Asked", "Homework", "What came of it", "Answered by"], lines.map((line) => [
    ["time", when(line.at)], ["prompt", line.prompt], line.assignment || "–", outcome(line),
    `${line.answered_by}${line.tokens ? ` (${line.tokens} tokens)` : ""}`,
  ]));
}

function missing(reflection) {
  return reflection.missing.length ? `Still to say: ${reflection.missing.map((name) => NAMES[name] ?? name).join("; ")}.` : "Complete.";
}

// A reflection to read.
export function reflected(reflection) {
  if (!reflection.changed_at) return element("p", { class: "notice" }, "No reflection yet.");
  return element("dl", { class: "said" },
    FIELDS.map(([name, label]) => [element("dt", {}, label), element("dd", {}, reflection[name] || "(not said)")]),
    element("dt", {}, "How sure, from 0 to 1?"), element("dd", {}, reflection.confidence ?? "(not said)"));
}

// Files of `where`, by kind.
export function files(where, kinds) {
  const names = { md: "Markdown", json: "JSON", csv: "CSV" };
  return element("span", { class: "files" }, "Export: ", kinds.map((kind) => element("a", { class: "button", href: `${where}/export.${kind}`, download: true }, names[kind])));
}

export class Log {
  constructor(chat, homework) {
    this.chat = chat;
    this.homework = homework;
    this.unsaved = false;
    $("log-homework").addEventListener("change", () => this.show().catch((error) => chat.failed(error)));
    $("reflection").addEventListener("submit", (event) => { event.preventDefault(); this.save(); });
    $("reflection").addEventListener("input", () => { this.unsaved = true; $("reflection-state").textContent = "Not saved yet."; });
  }

  async open() {
    const before = $("log-homework").value || this.homework.assignment;
    $("log-homework").replaceChildren(element("option", { value: "" }, "All questions"),
      ...this.homework.known.map((each) => element("option", { value: each.number }, `${each.number} ${each.title}`)));
    $("log-homework").value = before;
    if (!this.unsaved) await this.show();
  }

  async show() {
    const number = $("log-homework").value;
    this.unsaved = false;
    $("reflection").hidden = !number;
    $("log-files").replaceChildren(...(number ? [files(`/api/homework/${number}`, ["md", "json"])] : []));
    if (!number) {
      $("log").replaceChildren(asked(await fetched("/api/log"), "You have asked nothing yet."));
      return;
    }
    const used = await fetched(`/api/homework/${number}`);
    for (const [name] of FIELDS) $(name).value = used.reflection[name];
    $("confidence").value = used.reflection.confidence ?? "";
    this.state(used.reflection);
    $("log").replaceChildren(asked(used.questions, "You have asked nothing for this homework: choose it under the question before you ask."));
  }

  state(reflection) {
    $("reflection-state").textContent = reflection.changed_at ? `Saved ${when(reflection.changed_at)}. ${missing(reflection)}` : "Nothing saved yet.";
  }

  async save() {
    const said = Object.fromEntries(FIELDS.map(([name]) => [name, $(name).value]));
    const sure = $("confidence").value.trim();
    try {
      const reply = await this.chat.change(`/api/homework/${$("log-homework").value}`, { ...said, confidence: sure === "" ? null : Number(sure) });
      this.unsaved = false;
      this.state(await reply.json());
    } catch (error) {
      $("reflection-state").textContent = error.status === 401 ? "Your session has ended: open a new link in this browser, then save again." : `Not saved: ${error.message}`;
    }
  }
}
