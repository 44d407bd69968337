// The instructor's page: links, revocation, transcripts.

import { $, element, fetched, keepToken, request, themeButton, when } from "./dom.js";
import { Transcript } from "./transcript.js";

const transcript = new Transcript($("turns"), $("sources"));

function failed(error) {
  if (error.status === 401) window.location.reload();
  else $("made").textContent = error.message;
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

async function list() {
  const all = await fetched("/api/instructor/students");
  const row = (s) => element("tr", {},
    element("th", { scope: "row" }, s.student),
    element("td", {}, s.conversations),
    element("td", {}, s.questions),
    element("td", { class: "time" }, when(s.last)),
    element("td", { class: "actions" },
      element("button", { type: "button", onclick: () => read(s.student).catch(failed) }, "Read"),
      element("button", { type: "button", class: "danger", onclick: () => revoke(s.student).catch(failed) }, "Revoke")));
  $("class").replaceChildren(all.length
    ? element("div", { class: "table" }, element("table", {},
        element("thead", {}, element("tr", {}, ["Student", "Conversations", "Questions", "Last", ""].map((t) => element("th", { scope: "col" }, t)))),
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
themeButton($("theme"));

async function begin() {
  keepToken((await fetched("/api/instructor/me")).csrf);
  await list();
  document.body.dataset.ready = "yes";
}
begin().catch(failed);
