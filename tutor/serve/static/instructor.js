// The instructor's page: links, revocation, transcripts.

import { $, element, fetched, keepToken, request, table, themeButton, when } from "./dom.js";
import { due } from "./homework.js";
import { ASKED, asked, files, reflected } from "./log.js";
import { Transcript } from "./transcript.js";

const transcript = new Transcript($("turns"), $("sources"));

let homework = [];

function failed(error) {
  if (error.status === 401) window.location.reload();
  else $("made").textContent = error.message;
}

function button(text, label, act, name = null) {
  return element("button", { type: "button", class: name, "aria-label": label, onclick: () => act().catch(failed) }, text);
}

// A class in one homework, a line a student.
async function use() {
  const number = $("homework").value;
  $("due").textContent = `Assignment ${number} ${due(homework.find((each) => each.number === number))}.`;
  const where = `/api/instructor/homework/${number}`;
  const rows = await fetched(where);
  const row = (s) => [
    ["name", s.student], s.questions, s.hints, s.refusals, s.tokens,
    s.reflected ? (s.missing.length ? `${ASKED - s.missing.length} of ${ASKED} answers` : "complete") : "none yet",
    button("Read", `Read how ${s.student} used AI`, () => reads(s.student, number)),
  ];
  $("use").replaceChildren(...(rows.length
    ? [files(where, ["csv", "json", "md"]), table("How AI was used", ["Student", "Questions", "Hints", "Solutions refused", "Tokens", "Reflection", "Actions"], rows.map(row))]
    : [element("p", { class: "notice" }, "Nobody has asked anything for this homework yet.")]));
}

async function reads(student, number) {
  const where = `/api/instructor/students/${encodeURIComponent(student)}/homework/${number}`;
  const used = await fetched(where);
  $("read").hidden = false;
  $("read-title").textContent = `${student}, assignment ${number}`;
  transcript.clear();
  $("turns").append(element("div", { class: "logged" },
    files(where, ["md", "json"]), reflected(used.reflection), asked(used.questions, "Nothing was asked.")));
  $("read-title").focus();
}

async function read(student, number) {
  const where = `/api/instructor/students/${encodeURIComponent(student)}/conversations`;
  if (number === undefined) {
    const kept = await fetched(where);
    $("read").hidden = false;
    $("read-title").textContent = `Conversations of ${student}`;
    transcript.clear();
    $("turns").append(element("ul", { class: "plain" }, kept.map((c) => element("li", {},
      element("button", { type: "button", class: "linklike", onclick: () => read(student, c.id).catch(failed) },
        `${when(c.at)}: ${c.title || "(nothing asked)"}`)))));
  } else {
    const entries = await fetched(`${where}/${Number(number)}`);
    $("read-title").textContent = `Conversation ${number} of ${student}`;
    transcript.clear();
    for (const entry of entries) transcript.show(entry);
  }
  $("read-title").focus();
}

async function revoke(student) {
  const done = await fetched("/api/instructor/revoke", { student });
  $("made").textContent = `Ended ${done.ended} sessions and links of ${student}.`;
}

async function choices() {
  homework = await fetched("/api/instructor/homework");
  $("homework").replaceChildren(...homework.map((each) => element("option", { value: each.number }, `${each.number} ${each.title}`)));
  if (!homework.length) return;
  $("homework").value = homework[0].number;
  await use();
}

async function list() {
  const all = await fetched("/api/instructor/students");
  const row = (s) => [
    ["name", s.student], s.conversations, s.questions, ["time", when(s.last)],
    ["actions", [
      button("Read", `Read the conversations of ${s.student}`, () => read(s.student)),
      button("Revoke", `Revoke the links and sessions of ${s.student}`, () => revoke(s.student), "danger"),
    ]],
  ];
  $("class").replaceChildren(all.length
    ? table("Students", ["Student", "Conversations", "Questions", "Last", "Actions"], all.map(row))
    : element("p", { class: "notice" }, "Nobody has asked anything yet."));
}

$("link").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await fetched("/api/instructor/links", { student: $("student").value.trim() });
    $("made").replaceChildren(`For ${made.student}, once, within ${made.minutes} minutes: `, element("code", {}, made.link));
    $("student").value = "";
  } catch (error) { failed(error); }
});
$("leave").addEventListener("click", () => request("/instructor/logout", {}).then(() => window.location.reload()).catch(failed));
$("homework").addEventListener("change", () => use().catch(failed));
themeButton($("theme"));

async function begin() {
  keepToken((await fetched("/api/instructor/me")).csrf);
  await list();
  await choices();
  document.body.dataset.ready = "yes";
}
begin().catch(failed);
