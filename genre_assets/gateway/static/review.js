// The page "Review": a clip is current, keys label it, and what is labelled is sent together.
"use strict";
const clips = [...document.querySelectorAll(".clip")], done = [];
const byName = document.getElementById("by"), count = document.getElementById("count");
let current = 0;

function go(to) {
  if (!clips.length) return;
  clips[current].querySelector("audio")?.pause();
  clips[current].classList.remove("current");
  current = Math.max(0, Math.min(clips.length - 1, to));
  clips[current].classList.add("current");
  clips[current].scrollIntoView({ block: "center" });
}

function mark(clip, name) {
  for (const button of clip.querySelectorAll(".choices button")) {
    button.setAttribute("aria-pressed", String(button.querySelector("span").textContent === name));
  }
  clip.dataset.label = name;
  clip.classList.toggle("labelled", name !== "");
  show();
}

const labelled = () => clips.filter((clip) => clip.dataset.label && !clip.dataset.sent);

function show() {
  const some = clips.filter((clip) => clip.dataset.label).length, sent = clips.filter((clip) => clip.dataset.sent).length;
  document.getElementById("progress").value = some;
  count.textContent = `${some} of ${clips.length} labelled` + (sent ? `, ${sent} sent` : "");
}

function choose(clip, name) {
  if (clip.dataset.sent) return;
  done.push([clip, clip.dataset.label || ""]);
  mark(clip, name);
  go(clips.indexOf(clip) + 1);
}

function undo() {
  const last = done.pop();
  if (!last) return;
  mark(...last);
  go(clips.indexOf(last[0]));
}

async function send() {
  const some = labelled();
  if (!some.length) { count.textContent = "Nothing is labelled yet."; return; }
  const labels = some.map((clip) => ({ request_id: clip.dataset.request, item: Number(clip.dataset.item), label: clip.dataset.label }));
  const reply = await fetch("/v1/labels", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ labels, by: byName.value }),
  });
  const said = await reply.json();
  if (!reply.ok) { count.textContent = said.detail; return; }
  some.forEach((clip) => { clip.dataset.sent = "yes"; });
  done.length = 0;
  localStorage.setItem("by", byName.value);
  show();
}

if (clips.length) {
  byName.value = localStorage.getItem("by") || "";
  document.getElementById("send").addEventListener("click", send);
  clips.forEach((clip) => clip.querySelectorAll(".choices button").forEach((button) =>
    button.addEventListener("click", () => choose(clip, button.querySelector("span").textContent))));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, button, audio") && event.key !== "u" || event.ctrlKey || event.metaKey || event.altKey) return;
    const player = clips[current].querySelector("audio");
    const buttons = clips[current].querySelectorAll(".choices button");
    if (/^[0-9]$/.test(event.key)) {
      const button = buttons[(Number(event.key) + 9) % 10];
      if (button) choose(clips[current], button.querySelector("span").textContent);
    } else if (event.key === " " && player) player.paused ? player.play() : player.pause();
    else if (event.key === "n") go(current + 1);
    else if (event.key === "u" && !event.target.matches("input")) undo();
    else if (event.key === "Enter") send();
    else return;
    event.preventDefault();
  });
  go(0);
}
