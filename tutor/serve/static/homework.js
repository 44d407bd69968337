// The homework one works on: assignment, task, due date, and the rung of the ladder one has come to.

import { $, element, fetched } from "./dom.js";

const day = (date) => new Date(`${date}T12:00:00`).toLocaleDateString([], { dateStyle: "medium" });
const DAYS = { 0: "today", 1: "tomorrow" };

// "is due in 5 days (Dec 1, 2026)", "was due on Dec 1, 2026: ...".
export function due(assignment) {
  if (!assignment.due) return "has no due date";
  if (assignment.over) return `was due on ${day(assignment.due)}: its solution may be spoken of now`;
  return `is due ${DAYS[assignment.days] ?? `in ${assignment.days} days`} (${day(assignment.due)})`;
}

const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* storage is switched off */ } };

export class Homework {
  constructor() {
    this.known = [];
    this.levels = new Map();
    this.paused = false;
    $("assignment").addEventListener("change", () => { this.choose($("assignment").value); keep("assignment", this.assignment); });
    $("task").addEventListener("change", () => this.draw());
  }

  get assignment() { return $("assignment").value || ""; }
  get task() { return $("task").value || ""; }
  get chosen() { return this.known.find((each) => each.number === this.assignment); }

  async load() {
    this.known = await fetched("/api/assignments");
    $("assignment").replaceChildren(element("option", { value: "" }, "No homework"),
      ...this.known.map((each) => element("option", { value: each.number }, `${each.number} ${each.title}`)));
    $("homework").hidden = this.known.length === 0;
    this.choose(kept("assignment") ?? "");
  }

  choose(number, task = "") {
    const chosen = this.known.find((each) => each.number === number);
    $("assignment").value = chosen ? number : "";
    const tasks = chosen?.tasks ?? [];
    $("task").replaceChildren(...tasks.map((each) => element("option", { value: each.name }, each.name)));
    $("task").value = tasks.some((each) => each.name === task) ? task : tasks[0]?.name ?? "";
    this.draw();
  }

  // Another conversation begins its ladders anew.
  forget() {
    this.levels.clear();
    this.draw();
  }

  pause(on) {
    this.paused = on;
    this.draw();
  }

  heard(event) {
    const kind = event.event || event.kind;
    if (kind === "student" && event.assignment && event.assignment !== this.assignment) this.choose(event.assignment);
    if (kind !== "hint") return;
    this.levels.set(`${event.assignment}/${event.task}`, Number(event.level));
    if (event.assignment === this.assignment && event.task !== this.task) $("task").value = event.task;
    this.draw();
  }

  draw() {
    const chosen = this.chosen;
    for (const id of ["task", "hint", "due"]) $(id).hidden = !chosen;
    if (!chosen) return;
    const had = (this.levels.get(`${chosen.number}/${this.task}`) ?? -1) + 1;
    const asks = chosen.tasks.find((each) => each.name === this.task)?.what ?? "";
    $("hint").textContent = had === 0 ? "First hint" : had < chosen.rungs ? `Next hint (${had} of ${chosen.rungs} had)` : `Last hint again (${had} of ${chosen.rungs} had)`;
    $("hint").disabled = this.paused;
    $("due").replaceChildren(element("span", { class: chosen.over ? "over" : "" }, `Assignment ${chosen.number} ${due(chosen)}.`), element("span", { class: "asks" }, asks.startsWith(this.task) ? ` ${asks}` : ` ${this.task}: ${asks}`));
  }
}
