(() => {
  "use strict";
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  all("[data-script]").forEach((element) => { element.hidden = false; });

  const pick = document.getElementById("heat-metric");
  const layers = document.getElementById("heat-data");
  if (pick && layers) {
    const data = JSON.parse(layers.textContent);
    const rows = all("#heat-rows tr");
    const colour = document.getElementById("heat-colour");
    const span = (className, text) => {
      const element = document.createElement("span");
      if (className) element.className = className;
      element.textContent = text;
      return element;
    };
    const changed = (change, side) => {
      const element = span("change", "");
      if (side) {
        const sign = span("", side === "better" ? "▲" : "▼");
        sign.setAttribute("aria-hidden", "true");
        element.append(sign, " ", change, span("hidden", ` ${side}`));
      } else {
        element.append(change);
      }
      return element;
    };
    const draw = () => {
      const layer = data[pick.value];
      const byChange = Boolean(colour) && colour.value === "change";
      rows.forEach((row, i) => all("[data-heat]", row).forEach((cell, j) => {
        const [text, step, change, changeStep, side] = layer.cells[i][j];
        cell.replaceChildren(text, ...(change ? [changed(change, side)] : []));
        const found = byChange ? changeStep : step;
        cell.className = found === null ? "heat" : `heat ${byChange ? "change" : "heat"}-${found}`;
      }));
      document.getElementById("heat-name").textContent = layer.label;
      document.getElementById("heat-legend").textContent = byChange ? layer.change_legend : layer.legend;
    };
    for (const control of [pick, colour]) if (control) control.addEventListener("change", draw);
  }

  const form = document.getElementById("filters");
  if (form) {
    const groups = all(".clause-group");
    const questions = all(".question").map((element) => ({
      element,
      clause: element.closest(".clause-group").dataset.clause,
      tags: element.dataset.tags.split(" "),
      text: [element.closest(".clause-group").dataset.clause, ...all(":scope > *:not(.cards)", element).map((part) => part.textContent)]
        .join(" ").toLowerCase(),
      cards: all(".card", element).map((card) => ({
        element: card, arm: card.dataset.arm, score: card.dataset.score, text: card.textContent.toLowerCase(),
      })),
    }));
    const boxes = all("[name=arm]", form);
    const status = document.getElementById("filter-status");
    const apply = () => {
      const clause = form.elements.clause.value;
      const tag = form.elements.show.value;
      const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const arms = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      let shown = 0;
      for (const question of questions) {
        const cards = question.cards.filter((card) => !boxes.length || arms.has(card.arm));
        for (const card of question.cards) card.element.hidden = !cards.includes(card);
        const tagged = tag === "disagree"
          ? new Set(cards.map((card) => card.score).filter(Boolean)).size > 1
          : !tag || question.tags.includes(tag);
        const keep = (!clause || question.clause === clause) && tagged
          && words.every((word) => question.text.includes(word) || cards.some((card) => card.text.includes(word)));
        question.element.hidden = !keep;
        shown += keep;
      }
      const active = Boolean(clause || tag || words.length);
      const some = boxes.length > arms.size ? `, ${arms.size} of ${boxes.length} arms` : "";
      for (const group of groups) {
        const left = group.querySelector(".question:not([hidden])") !== null;
        group.hidden = !left;
        if (active) group.open = left && shown <= 12;
      }
      status.textContent = (active ? `${shown} of ${questions.length} questions` : `All ${questions.length} questions`) + some;
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
      if (target.closest("[hidden]")) form.reset();
      setTimeout(() => {
        for (let fold = target; fold; fold = fold.parentElement.closest("details")) fold.open = true;
        target.scrollIntoView();
      });
    };
    window.addEventListener("hashchange", reveal);
    apply();
    reveal();
  }
})();
