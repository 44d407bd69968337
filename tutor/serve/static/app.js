// The student's page.

import { $, element, fetched, keepToken, lines, request, themeButton, when } from "./dom.js";
import { Transcript } from "./transcript.js";

const turns = $("turns");
const question = $("question");
const welcome = $("welcome");
const transcript = new Transcript(turns, $("sources"), (count) => {
  $("source-count").textContent = String(count);
  $("no-sources").hidden = count > 0;
});
let current = null;
let busy = false;

function say(text) { $("status").textContent = text; }

function failed(error) {
  if (error.status === 401) { window.location.reload(); return; }
  say(error.message);
  if (!transcript.answer) transcript.ask("");
  transcript.show({ event: "refusal", kind: "service", text: error.message });
}

function atEnd() { turns.scrollTop = turns.scrollHeight; }

function greet() {
  transcript.clear();
  turns.append(welcome);
}

async function list() {
  const kept = await fetched("/api/conversations");
  const options = kept.map((c) => element("option", { value: c.id }, `${c.title || "(nothing asked yet)"}`));
  $("conversations").replaceChildren(element("option", { value: "" }, "New conversation"), ...options);
  $("conversations").value = current === null ? "" : String(current);
}

function choose(number) {
  current = number;
  $("export").hidden = number === null;
  if (number !== null) $("export").href = `/api/conversations/${number}/export`;
  else $("export").removeAttribute("href");
}

async function open(number) {
  choose(number);
  if (number === null) { greet(); return; }
  say("");
  const entries = await fetched(`/api/conversations/${number}`);
  transcript.clear();
  for (const entry of entries) transcript.show(entry);
  atEnd();
}

async function ask(text) {
  if (busy || !text.trim()) return;
  busy = true;
  $("send").disabled = true;
  $("conversations").disabled = true;
  $("new").disabled = true;
  try {
    if (current === null) {
      const begun = await fetched("/api/conversations", {});
      transcript.clear();
      choose(begun.id);
    }
    transcript.ask(text);
    transcript.waiting(true);
    atEnd();
    say("The tutor is looking through the sources.");
    const reply = await request(`/api/conversations/${current}/say`, { text });
    question.value = "";
    grow();
    for await (const event of lines(reply)) {
      transcript.show(event);
      atEnd();
    }
    say("The answer is complete.");
  } catch (error) {
    failed(error);
  } finally {
    transcript.waiting(false);
    busy = false;
    $("send").disabled = false;
    $("conversations").disabled = false;
    $("new").disabled = false;
    question.focus();
    list().catch(failed);
  }
}

function grow() {
  question.rows = Math.min(8, Math.max(1, question.value.split("\n").length, Math.ceil(question.value.length / 70)));
}

// What became of a question, in a few words.
function outcome(line) {
  const said = [];
  if (line.claims) said.push(`${line.claims} quoted`);
  if (line.dropped) said.push(`${line.dropped} unsupported left out`);
  for (const hint of line.hints) said.push(`hint ${hint}`);
  for (const tool of line.tools) said.push(`computed ${tool}`);
  for (const refusal of line.refusals) said.push({ unsupported: "no support in the sources", assignment: "no solution before the due date" }[refusal] || refusal);
  return said.join(", ") || "no answer";
}

async function showLog() {
  const asked = await fetched("/api/log");
  const row = (line) => element("tr", {},
    element("td", { class: "time" }, when(line.at)),
    element("td", { class: "prompt" }, line.prompt),
    element("td", {}, outcome(line)),
    element("td", {}, line.answered_by, line.tokens ? ` (${line.tokens} tokens)` : ""));
  $("log").replaceChildren(asked.length
    ? element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "AI-use log" }, element("table", {},
        element("thead", {}, element("tr", {}, ["When", "You asked", "What came of it", "Answered by"].map((t) => element("th", { scope: "col" }, t)))),
        element("tbody", {}, asked.map(row))))
    : element("p", { class: "notice" }, "You have asked nothing yet."));
}

function view(name) {
  for (const each of ["chat", "log"]) {
    $(`view-${each}`).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  if (name === "log") showLog().catch(failed);
}

for (const name of ["chat", "log"]) {
  $(`tab-${name}`).addEventListener("click", () => view(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    const other = name === "chat" ? "log" : "chat";
    view(other);
    $(`tab-${other}`).focus();
  });
}
$("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(question.value); });
question.addEventListener("input", grow);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); ask(question.value); }
});
$("conversations").addEventListener("change", (event) => open(event.target.value ? Number(event.target.value) : null).catch(failed));
$("new").addEventListener("click", () => { choose(null); greet(); $("conversations").value = ""; question.focus(); });
$("leave").addEventListener("click", () => request("/logout", {}).then(() => window.location.reload()).catch(failed));
// Through the welcome itself: a transcript begins empty, with the welcome out of the document.
for (const button of welcome.querySelectorAll("button")) {
  button.addEventListener("click", () => ask(button.textContent));
}
themeButton($("theme"));

async function begin() {
  greet();
  const me = await fetched("/api/me");
  keepToken(me.csrf);
  $("who").textContent = me.student;
  await list();
  question.focus();
  document.body.dataset.ready = "yes";
}
begin().catch(failed);
