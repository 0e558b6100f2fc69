(() => {
  "use strict";
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  all("[data-script]").forEach((element) => { element.hidden = false; });

  const pick = document.getElementById("heat-metric");
  const layers = document.getElementById("heat-data");
  if (pick && layers) {
    const data = JSON.parse(layers.textContent);
    const rows = all("#heat-rows tr");
    pick.addEventListener("change", () => {
      const layer = data[pick.value];
      rows.forEach((row, i) => all("[data-heat]", row).forEach((cell, j) => {
        const [text, step] = layer.cells[i][j];
        cell.textContent = text;
        cell.className = step === null ? "heat" : `heat heat-${step}`;
      }));
      document.getElementById("heat-name").textContent = layer.label;
      document.getElementById("heat-legend").textContent = layer.legend;
    });
  }

  const form = document.getElementById("filters");
  if (form) {
    const groups = all(".clause-group");
    const questions = all(".question").map((element) => ({
      element,
      clause: element.closest(".clause-group").dataset.clause,
      tags: element.dataset.tags.split(" "),
      text: `${element.closest(".clause-group").dataset.clause} ${element.textContent}`.toLowerCase(),
    }));
    const status = document.getElementById("filter-status");
    const apply = () => {
      const clause = form.elements.clause.value;
      const tag = form.elements.show.value;
      const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const question of questions) {
        const keep = (!clause || question.clause === clause)
          && (!tag || question.tags.includes(tag))
          && words.every((word) => question.text.includes(word));
        question.element.hidden = !keep;
        shown += keep;
      }
      const active = Boolean(clause || tag || words.length);
      for (const group of groups) {
        const some = group.querySelector(".question:not([hidden])") !== null;
        group.hidden = !some;
        if (active) group.open = some && shown <= 12;
      }
      status.textContent = active ? `${shown} of ${questions.length} questions` : `All ${questions.length} questions`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => {
      apply();
      groups.forEach((group) => { group.open = false; });
    }));
    const toggle = (open) => groups.forEach((group) => { if (!group.hidden) group.open = open; });
    document.getElementById("open-all").addEventListener("click", () => toggle(true));
    document.getElementById("close-all").addEventListener("click", () => toggle(false));
    const reveal = () => {
      const target = location.hash.startsWith("#clause-") && document.getElementById(location.hash.slice(1));
      if (!target) return;
      if (target.hidden) form.reset();
      setTimeout(() => { target.open = true; target.scrollIntoView(); });
    };
    window.addEventListener("hashchange", reveal);
    apply();
    reveal();
  }
})();
