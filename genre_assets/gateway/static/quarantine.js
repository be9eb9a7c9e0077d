// The page "Quarantine": a button of a row asks why, and sends the decision.
"use strict";
const dialog = document.getElementById("ask"), said = document.getElementById("said");
const NAMES = { "put-back": "Put back", drop: "Drop" };
let asked = null;

function ask(button) {
  asked = button;
  document.getElementById("what").textContent = `${NAMES[button.dataset.to]} ${button.dataset.key}`;
  document.getElementById("yes").textContent = NAMES[button.dataset.to];
  dialog.querySelector("input").value = "";
  dialog.returnValue = "";
  dialog.showModal();
}

async function decide() {
  if (dialog.returnValue !== "yes") return;
  const button = asked, cell = button.closest(".decide"), buttons = [...cell.querySelectorAll("button")];
  const wanted = { key: button.dataset.key, reason: dialog.querySelector("input").value };
  buttons.forEach((one) => { one.disabled = true; });
  said.textContent = "Asked for.";
  try {
    const reply = await fetch(`/v1/quarantine/${button.dataset.to}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted),
    });
    const answer = await reply.json();
    said.textContent = reply.ok ? answer.said : answer.detail;
    if (!reply.ok) buttons.forEach((one) => { one.disabled = false; });
    else offer(cell, button);
  } catch (error) {
    said.textContent = `The gateway does not answer: ${error.message}`;
    buttons.forEach((one) => { one.disabled = false; });
  }
}

// What was dropped may be put back at once.
function offer(cell, button) {
  cell.replaceChildren();
  if (button.dataset.to !== "drop") { cell.textContent = "put back"; return; }
  const undo = document.createElement("button");
  undo.type = "button";
  undo.textContent = "Undo";
  undo.dataset.to = "put-back";
  undo.dataset.key = button.dataset.key;
  undo.setAttribute("aria-label", `Undo: put back ${button.dataset.key}`);
  cell.append(undo);
  undo.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-to]");
  if (button) ask(button);
});
dialog.addEventListener("close", decide);
