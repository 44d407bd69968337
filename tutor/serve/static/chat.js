// A conversation: asking, stopping, and finding an answer again whose connection was lost.

import { $, element, fetched, keepToken, lines, pause, request, sentence } from "./dom.js";
import { Transcript } from "./transcript.js";

const turns = $("turns");
const question = $("question");
export const welcome = $("welcome");

const HELP = "Ask in words, or: /hint TASK · /fit x=1,2,3 y=2,4,6.1 y_err=1,1,1 degree=1 · /posterior (the same, and prior_std=10) · /convert 3 pc lyr · /dataset NAME";

export class Chat {
  constructor(homework) {
    this.homework = homework;
    this.current = null;
    this.busy = false;
    this.student = "";
    this.shown = 0;
    this.transcript = new Transcript(turns, $("sources"), (count) => {
      $("source-count").textContent = String(count);
      $("no-sources").hidden = count > 0;
      $("source-panel").dataset.empty = String(count === 0);
    });
  }

  // --- what is going on, beside the conversation ---

  say(text) { $("status").textContent = text; }

  note(text, { bad = false, label = "", act = null } = {}) {
    $("note").hidden = !text;
    $("note").dataset.bad = String(bad);
    $("note").replaceChildren(element("span", {}, text), ...(act ? [element("button", { type: "button", onclick: act }, label)] : []));
  }

  failed(error) {
    if (error.status === 401) this.loggedOut();
    else this.note(sentence(error.message), { bad: true, ...(error.lost ? { label: "Try again", act: () => this.again() } : {}) });
  }

  loggedOut() {
    this.note("Your session has ended. What was said is kept, and what you have typed stays here. Open a new link from your instructor in this browser, then go on.",
      { bad: true, label: "Go on", act: () => this.again() });
  }

  async again() {
    try {
      await this.whoAmI();
      this.note("");
      await this.list();
      await this.refresh();
      question.focus();
    } catch (error) { this.failed(error); }
  }

  // The token follows from the session: a new session in another tab has a new one.
  async whoAmI() {
    const me = await fetched("/api/me");
    if (this.student && this.student !== me.student) { window.location.reload(); return me; }
    this.student = me.student;
    keepToken(me.csrf);
    $("who").textContent = me.student;
    return me;
  }

  async change(path, sent) {
    try {
      return await request(path, sent);
    } catch (error) {
      if (error.status !== 403) throw error;
      await this.whoAmI();
      return request(path, sent);
    }
  }

  // --- which conversation ---

  greet() {
    this.transcript.clear();
    turns.append(welcome);
  }

  async list() {
    const kept = await fetched("/api/conversations");
    const options = kept.map((c) => element("option", { value: c.id }, `${c.title || "(nothing asked yet)"}`));
    $("conversations").replaceChildren(element("option", { value: "" }, "New conversation"), ...options);
    $("conversations").value = this.current === null ? "" : String(this.current);
  }

  choose(number) {
    this.current = number;
    this.shown = 0;
    this.homework.forget();
    $("export").hidden = number === null;
    if (number !== null) $("export").href = `/api/conversations/${number}/export`;
    else $("export").removeAttribute("href");
  }

  begin() {
    this.choose(null);
    this.greet();
    this.note("");
    $("conversations").value = "";
    question.focus();
  }

  async open(number) {
    if (number === null) { this.begin(); return; }
    this.choose(number);
    this.note("");
    this.say("");
    await this.redraw();
    this.atEnd(true);
  }

  async redraw() {
    const entries = await fetched(`/api/conversations/${this.current}`);
    if (entries.length === this.shown) return;
    this.transcript.clear();
    this.homework.forget();
    for (const entry of entries) this.show(entry);
    this.shown = entries.length;
  }

  // Another tab may have gone on with this conversation.
  async refresh() {
    if (this.busy || this.current === null) return;
    await this.redraw();
  }

  show(event) {
    this.transcript.show(event);
    this.homework.heard(event);
    this.shown += 1;
  }

  atEnd(anyway = false) {
    if (anyway || turns.scrollHeight - turns.scrollTop - turns.clientHeight < 160) turns.scrollTop = turns.scrollHeight;
  }

  // --- asking ---

  work(on) {
    this.busy = on;
    this.transcript.waiting(on);
    $("send").hidden = on;
    $("stop").hidden = !on;
    $("stop").disabled = false;
    $("stop").textContent = "Stop";
    for (const id of ["conversations", "new"]) $(id).disabled = on;
    this.homework.pause(on);
  }

  async ask(text) {
    if (this.busy || !text.trim()) return;
    if (text.trim() === "/help") { this.note(HELP); return; }
    this.note("");
    try {
      if (this.current === null) {
        const begun = await (await this.change("/api/conversations", {})).json();
        this.transcript.clear();
        this.choose(begun.id);
      }
      this.transcript.ask({ text });
      this.work(true);
      this.atEnd(true);
      this.say("The tutor is looking through the sources.");
      await this.answered(text);
    } catch (error) {
      if (error.lost) await this.resume().catch((other) => this.failed(other));
      else { this.transcript.takeBack(); this.failed(error); }
    } finally {
      this.work(false);
      this.atEnd();
      question.focus();
      if ($("note").hidden || $("note").dataset.bad === "false") this.list().catch((error) => this.failed(error));
    }
  }

  async answered(text) {
    const reply = await this.change(`/api/conversations/${this.current}/say`, { text, assignment: this.homework.assignment });
    if (question.value.trim() === text.trim()) { question.value = ""; grow(); }
    this.shown += 1;
    for await (const event of lines(reply)) {
      this.show(event);
      this.atEnd();
    }
    this.say("The answer is complete.");
  }

  async stop() {
    $("stop").disabled = true;
    $("stop").textContent = "Stopping…";
    try { await this.change(`/api/conversations/${this.current}/stop`, {}); } catch (error) { this.failed(error); $("stop").disabled = false; $("stop").textContent = "Stop"; }
  }

  // The answer goes on without us: look for it until it is whole.
  async resume() {
    for (let tries = 0; ; tries += 1) {
      try {
        const me = await this.whoAmI();
        await this.redraw();
        this.atEnd();
        if (me.answering !== this.current) break;
        this.transcript.waiting(true);
        this.note("The answer is still being given.");
        tries = 0;
      } catch (error) {
        if (!error.lost) throw error;
        this.note("The connection is lost. The answer goes on without it, and is looked for again.", { bad: true });
      }
      await pause(Math.min(500 * 2 ** tries, 8000));
    }
    this.note("");
    this.say("The answer is complete.");
  }

  // Open a conversation in which a question is still being answered, and wait for the answer.
  async follow(number) {
    this.choose(number);
    this.work(true);
    try { await this.resume(); } catch (error) { this.failed(error); } finally { this.work(false); }
    await this.list();
  }
}

export function grow() {
  question.rows = Math.min(8, Math.max(1, question.value.split("\n").length, Math.ceil(question.value.length / 70)));
}
