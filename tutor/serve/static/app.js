// The student's page: its two views and what its controls do.

import { $, request, themeButton } from "./dom.js";
import { Chat, grow, welcome } from "./chat.js";
import { Homework } from "./homework.js";
import { Log } from "./log.js";

const question = $("question");
const homework = new Homework();
const chat = new Chat(homework);
const log = new Log(chat, homework);
const failed = (error) => chat.failed(error);

function view(name) {
  for (const each of ["chat", "log"]) {
    $(`view-${each}`).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  if (name === "log") log.open().catch(failed);
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
$("ask").addEventListener("submit", (event) => { event.preventDefault(); chat.ask(question.value); });
question.addEventListener("input", grow);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); chat.ask(question.value); }
});
$("stop").addEventListener("click", () => chat.stop());
$("hint").addEventListener("click", () => chat.ask(`/hint ${homework.task}`));
$("conversations").addEventListener("change", (event) => chat.open(event.target.value ? Number(event.target.value) : null).catch(failed));
$("new").addEventListener("click", () => chat.begin());
$("leave").addEventListener("click", () => request("/logout", {}).then(() => window.location.reload()).catch(failed));
// Through the welcome itself: a transcript begins empty, with the welcome out of the document.
for (const button of welcome.querySelectorAll("button")) {
  button.addEventListener("click", () => chat.ask(button.textContent));
}
window.addEventListener("focus", () => chat.refresh().catch(failed));
window.addEventListener("beforeunload", (event) => { if (log.unsaved) event.preventDefault(); });
themeButton($("theme"));

async function begin() {
  chat.greet();
  const me = await chat.whoAmI();
  await homework.load();
  await chat.list();
  question.focus();
  document.body.dataset.ready = "yes";
  if (me.answering !== null) await chat.follow(me.answering);
}
begin().catch(failed);
