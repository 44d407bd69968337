// The instructor's page: links, revocation, transcripts.

import { $, element, fetched, keepToken, request, themeButton, when } from "./dom.js";
import { due } from "./homework.js";
import { ASKED, asked, files, reflected } from "./log.js";
import { Transcript } from "./transcript.js";

const transcript = new Transcript($("turns"), $("sources"));

let homework = [];

function failed(error) {
  if (error.status === 401) window.location.reload();
  else $("made").textContent = error.message;
}

// A class in one homework, a line a student.
async function use() {
  const number = $("homework").value;
  $("due").textContent = due(homework.find((each) => each.number === number));
  const where = `/api/instructor/homework/${number}`;
  const rows = await fetched(where);
  const row = (s) => element("tr", {},
    element("th", { scope: "row" }, s.student),
    element("td", {}, s.questions),
    element("td", {}, s.hints),
    element("td", {}, s.refusals),
    element("td", {}, s.tokens),
    element("td", {}, s.reflected ? (s.missing.length ? `${ASKED - s.missing.length} of ${ASKED} answers` : "complete") : "none yet"),
    element("td", {}, element("div", { class: "actions" }, element("button", { type: "button", "aria-label": `Read how ${s.student} used AI`, onclick: () => reads(s.student, number).catch(failed) }, "Read"))));
  $("use").replaceChildren(...(rows.length
    ? [files(where, ["csv", "json", "md"]), element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "How AI was used" }, element("table", {},
        element("thead", {}, element("tr", {}, ["Student", "Questions", "Hints", "Solutions refused", "Tokens", "Reflection", "Actions"].map((t) => element("th", { scope: "col" }, t)))),
        element("tbody", {}, rows.map(row))))]
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
  const row = (s) => element("tr", {},
    element("th", { scope: "row" }, s.student),
    element("td", {}, s.conversations),
    element("td", {}, s.questions),
    element("td", { class: "time" }, when(s.last)),
    element("td", {}, element("div", { class: "actions" },
      element("button", { type: "button", "aria-label": `Read the conversations of ${s.student}`, onclick: () => read(s.student).catch(failed) }, "Read"),
      element("button", { type: "button", class: "danger", "aria-label": `Revoke the links and sessions of ${s.student}`, onclick: () => revoke(s.student).catch(failed) }, "Revoke"))));
  $("class").replaceChildren(all.length
    ? element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Students" }, element("table", {},
        element("thead", {}, element("tr", {}, ["Student", "Conversations", "Questions", "Last", "Actions"].map((t) => element("th", { scope: "col" }, t)))),
        element("tbody", {}, all.map(row))))
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
