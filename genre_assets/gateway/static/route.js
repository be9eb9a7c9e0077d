// The page "Models": moves the route, or goes back to a version, and says when the books have it.
"use strict";
const said = document.getElementById("said");
const PATIENCE = 60, PAUSE = 1000; // looks, and milliseconds between two

function tell(text, link) {
  said.textContent = text;
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.textContent = "its run in Dagster";
    said.append(" ", anchor);
  }
}

async function send(event) {
  event.preventDefault();
  const form = event.target, wanted = Object.fromEntries(new FormData(form));
  if ("version" in wanted) wanted.version = Number(wanted.version);
  if (form.id === "move") wanted.pinned = form.elements.pinned.checked;
  form.querySelector("button").disabled = true;
  tell("Asked for.");
  try {
    const reply = await fetch(form.dataset.to, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted),
    });
    const answer = await reply.json();
    if (!reply.ok) { tell(answer.detail); return; }
    tell(form.id === "move" ? `The ${wanted.route} is asked for:` : `Version ${wanted.version} is being released:`, answer.run);
    if (form.id === "move") await follow(wanted, answer.run);
  } catch (error) {
    tell(`The gateway does not answer: ${error.message}`);
  } finally {
    form.querySelector("button").disabled = false;
  }
}

async function follow(wanted, run) {
  for (let look = 0; look < PATIENCE; look += 1) {
    await new Promise((done) => setTimeout(done, PAUSE));
    const reply = await fetch("/v1/route");
    if (!reply.ok) continue;
    const now = await reply.json();
    if (now.serving?.route === wanted.route && now.serving.pinned === wanted.pinned && !now.open) {
      tell(`The ${wanted.route} serves${wanted.pinned ? ", pinned" : ""}.`, run);
      return;
    }
  }
  tell(`The ${wanted.route} does not serve yet:`, run);
}

for (const form of document.querySelectorAll("form[data-to]")) form.addEventListener("submit", send);
