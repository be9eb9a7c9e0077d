// Why an answer is as it is: how usual the sound is, the training clips nearest to it, the features that spoke most.
"use strict";

async function explain(answer) {
  const place = document.getElementById("why");
  place.replaceChildren();
  const reply = await fetch(`/v1/predictions/${encodeURIComponent(answer.request_id)}/explanation?item=${answer.item}`);
  const said = await reply.json();
  if (!reply.ok) { place.append(paragraph(said.detail)); return; }
  if (said.usual === null) { place.append(paragraph(`How usual this is: unknown; ${said.unknown}.`)); return; }
  const share = `${Math.round(1000 * said.usual) / 10}%`;
  const kind = said.usual < 0.01 ? "Unlike the training data" : said.usual < 0.1 ? "Unusual" : "Usual";
  place.append(paragraph(`${kind}: ${share} of the training rows lie as far from every label as this sound, or farther.`));
  if (said.neighbours) place.append(table("Training clips nearest to it", ["Label", "Clip", "Distance", "Listen"], said.neighbours.map(
    (clip) => [clip.label, clip.key, clip.distance.toFixed(1), player(clip)])));
  if (said.features && !said.features.length) place.append(paragraph("No feature alone decided: with any one of them as usual, the model is as sure."));
  else if (said.features) place.append(table("Features that spoke most for it", ["Feature", "Value", "Usual", "Less sure without"], said.features.map(
    (one) => [one.feature.replaceAll("_", " "), number(one.value), one.usual.map(number).join(" to "), `${Math.round(100 * one.share)}%`])));
  else place.append(paragraph(`Which features spoke most: unknown; ${said.unknown}.`));
}

const number = (value) => Number(value.toPrecision(3)).toString();

function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}

function player(clip) {
  if (!clip.address) return "not there any more";
  const made = document.createElement("audio");
  made.controls = true;
  made.preload = "none";
  made.src = `/v1/audio?address=${encodeURIComponent(clip.address)}`;
  made.setAttribute("aria-label", `Listen to ${clip.key}`);
  return made;
}

function table(caption, heads, rows) {
  const made = document.createElement("table");
  made.createCaption().textContent = caption;
  const head = made.createTHead().insertRow();
  for (const text of heads) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = made.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) row.insertCell().append(cell);
  }
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", caption);
  scroll.append(made);
  return scroll;
}
