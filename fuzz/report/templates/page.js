"use strict";

// Steps through an exhibit's trace.  Everything is drawn already: a box knows the states in which
// it is there (data-b up to, and without, data-d), and this shows and hides.
function stepper(exhibit) {
  const slider = exhibit.querySelector("input[type=range]");
  const told = exhibit.querySelector("output");
  const list = exhibit.querySelector(".trace");
  const lines = [...list.children];
  const picture = exhibit.querySelector("svg.over-time");
  const cursor = picture.querySelector(".cursor");
  const boxes = [...exhibit.querySelectorAll("svg.every-state [data-b]")];
  const first = Number(slider.min);
  const left = Number(picture.dataset.left);
  const step = Number(picture.dataset.step);

  function show() {
    const state = Number(slider.value);
    for (const box of boxes) {
      const there = box.dataset.b <= state && state < box.dataset.d;
      box.classList.toggle("away", !there);
    }
    cursor.setAttribute("x", left + (state - first) * step);
    let text = state ? `after operation ${state - 1}` : "at the start";
    for (const line of lines) {
      const chosen = Number(line.dataset.state) === state;
      line.setAttribute("aria-selected", chosen);
      if (chosen) {
        text = line.dataset.told;
        list.setAttribute("aria-activedescendant", line.id);
        if (line.offsetTop < list.scrollTop) list.scrollTop = line.offsetTop;
        const below = line.offsetTop + line.offsetHeight - list.clientHeight;
        if (below > list.scrollTop) list.scrollTop = below;
      }
    }
    told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  function go(state) {
    slider.value = state;
    show();
  }

  list.setAttribute("role", "listbox");
  for (const line of lines) {
    line.setAttribute("role", "option");
    line.addEventListener("click", () => go(line.dataset.state));
  }
  list.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
    if (event.key in moves) go(Number(slider.value) + moves[event.key]);
    else if (event.key === "Home") go(slider.min);
    else if (event.key === "End") go(slider.max);
    else return;
    event.preventDefault();
  });
  picture.addEventListener("click", (event) => {
    const place = picture.getBoundingClientRect();
    const x = (event.clientX - place.left) * picture.viewBox.baseVal.width / place.width;
    go(first + Math.floor((x - left) / step));
  });
  slider.addEventListener("input", show);
  show();
}

document.querySelectorAll(".exhibit").forEach(stepper);
