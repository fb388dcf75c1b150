// Moves every picture of a search to the step that its slider names. The page is complete without.
"use strict";
for (const root of document.querySelectorAll(".tn-search")) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const find = (name) => root.querySelector(name);
  const slider = find("input"), output = find("output");
  const [back, forth] = root.querySelectorAll(".stepper button");
  const network = find("svg.tn-network");
  const bonds = network.querySelectorAll(".tn-bond, .tn-hyper");
  const nodes = network.querySelectorAll(".tn-at");
  const rows = root.querySelectorAll("tr[data-step]");
  const ring = find(".tn-ring"), boxes = root.querySelectorAll(".tn-box");
  const show = (element, seen) =>
    seen ? element.removeAttribute("display") : element.setAttribute("display", "none");
  const at = (place) => `translate(${place[0].toFixed(1)} ${place[1].toFixed(1)})`;

  function drawBond(element, bond, along, rank, before, places) {
    show(element, rank > 0);
    element.classList.toggle("changed", rank !== before);
    if (!rank) return;
    const ends = bond.map((node) => places[node]);
    const hyper = ends.length > 2;
    const middle = [0, 1].map((k) => hyper
      ? ends.reduce((sum, end) => sum + end[k], 0) / ends.length
      : ends[0][k] + along * (ends[1][k] - ends[0][k]));
    const pairs = hyper ? ends.map((end) => [middle, end]) : [ends];
    const line = element.querySelector(".tn-line");
    line.setAttribute("d", pairs.map(([a, b]) => `M${a[0]} ${a[1]}L${b[0]} ${b[1]}`).join(" "));
    line.setAttribute("stroke-width", (1.2 + 1.6 * Math.log2(rank)).toFixed(2));
    element.querySelector(".tn-rank").setAttribute("transform", at(middle));
    element.querySelector("text").textContent = rank;
    const half = 6 + 3.2 * String(rank).length, plate = element.querySelector(".tn-plate");
    plate.setAttribute("x", -half);
    plate.setAttribute("width", 2 * half);
  }

  function go(step) {
    const frame = data.frames[step], places = data.layouts[frame.at];
    const before = step ? data.frames[step - 1].ranks : frame.ranks;
    bonds.forEach((element, k) =>
      drawBond(element, data.bonds[k], data.along[k], frame.ranks[k], before[k], places));
    nodes.forEach((element, k) => {
      show(element, places[k] !== null);
      if (places[k] === null) return;
      element.setAttribute("transform", at(places[k]));
      element.querySelector(".tn-name").textContent = frame.names[k];
    });
    network.setAttribute("aria-label", frame.label);
    if (ring) {
      show(ring, frame.point !== null);
      if (frame.point) ring.setAttribute("transform", at(frame.point));
    }
    for (const box of boxes) box.setAttribute("x", data.left + step * data.room);
    for (const row of rows) row.classList.toggle("now", row.dataset.step === String(step));
    output.textContent = frame.text;
    slider.setAttribute("aria-valuetext", frame.text);
    back.disabled = step === 0;
    forth.disabled = step === data.frames.length - 1;
  }

  const move = (step) => {
    slider.value = Math.min(Math.max(step, 0), data.frames.length - 1);
    go(Number(slider.value));
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  back.addEventListener("click", () => move(Number(slider.value) - 1));
  forth.addEventListener("click", () => move(Number(slider.value) + 1));
  root.addEventListener("click", (event) => {
    const target = event.target.closest("[data-step]");
    if (target) move(Number(target.dataset.step));
  });
  find(".stepper").hidden = false;
  move(Number(slider.value));
}
