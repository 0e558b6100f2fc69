"use strict";
const byId = (id) => document.getElementById(id);
const LABELS = {question: "Question", answer: "Answer", rejected: "Rejected answer", rejected_kind: "How it contradicts", verdict: "Verdict", facts: "Facts that an answer must say"};
const STATES = {unread: "to read", read: "read by anybody", keep: "kept", edit: "edited", drop: "dropped", add: "added", every: "all"};
const SETS = {D_sft: "question and answer", D_pref: "right and wrong answer", questions: "evaluation question", probes: "probe of the rules"};
const KINDS = {edit: "one thing in it is changed", clause: "the answer to another situation", base: "the base model's own answer", contradiction: "every statement is turned round", verdict: "the opposite yes or no", exception: "an exception that the clause does not have", scope: "it reaches too far, or not far enough", holder: "another person's right or duty", consequence: "another consequence"};
const ROW_KINDS = {auto: "made from the clause", claim: "is a statement right?", fact: "asks for one fact", phrase: "asks for a phrase", recite: "asks for the clause's own words", question: "the teacher's own", factual: "asks for a fact", everyday: "told by somebody", comparison: "of two clauses", conflict: "two clauses pull apart", edge_inside: "just inside a limit", edge_outside: "just outside a limit", pressure: "just this once", paraphrase: "in other words", elsewhere: "at another institution", silent: "what the document does not say"};
const DONE = {keep: "kept", edit: "edited", drop: "dropped", add: "added"};
const all = {rows: [], states: new Map(), clauses: {}, since: 0};
let queue = [], place = 0, busy = false, mode = "read", opened = ""; // opened: the row's last decision when its editor opened

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function say(text, wrong = false) {
  byId("status").className = wrong ? "wrong" : "";
  byId("status").textContent = text;
}
async function call(path, body) {
  const options = body === undefined ? {} : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const reply = await fetch(path, options);
  if (!reply.ok) throw Object.assign(new Error(await reply.text()), {status: reply.status});
  return reply.json();
}
function take(news) {
  all.since = news.since;
  for (const [key, state] of Object.entries(news.states)) {
    if (state === null) {
      all.states.delete(key);
      all.rows = all.rows.filter((row) => row.key !== key || !row.added);
      continue;
    }
    if (state.row && !all.rows.some((row) => row.key === key)) all.rows.push({...state.row, added: true});
    all.states.set(key, state);
  }
}
// Rows ------------------------------------------------------------------------------------------------------------
const shownState = (row) => all.states.get(row.key)?.action ?? "unread";
const shownRow = (row) => ({...row, ...(all.states.get(row.key)?.change ?? {})});
const chosen = (name) => byId(`by-${name}`).value;
function fits(row) {
  const state = all.states.get(row.key), wanted = chosen("state");
  return (chosen("set") === "" || row.set === chosen("set"))
    && (chosen("clause") === "" || row.clauses.includes(chosen("clause")))
    && (chosen("kind") === "" || row.kind === chosen("kind"))
    && (chosen("reviewer") === "" || (state?.readers ?? []).includes(chosen("reviewer")))
    && (wanted === "every" || (wanted === "read" ? state !== undefined : shownState(row) === wanted));
}
function refill(key) {
  queue = all.rows.filter(fits);
  const found = key === undefined ? -1 : queue.findIndex((row) => row.key === key);
  place = Math.max(0, Math.min(found >= 0 ? found : place, queue.length - 1));
}
function choices(name, values, first) {
  const select = byId(`by-${name}`), before = select.value;
  const options = first === undefined ? values : [["", first], ...values];
  if (select.options.length === options.length && options.every(([value], i) => select.options[i].value === value)) return;
  select.replaceChildren(...options.map(([value, text]) => element("option", text, {value})));
  if (options.some(([value]) => value === before)) select.value = before;
}
const named = (set) => SETS[set] ? `${SETS[set]} (${set})` : set;
const kindSaid = (kind) => ROW_KINDS[kind] ? `${kind}: ${ROW_KINDS[kind]}` : kind;
function headed(clause) {
  const heading = (all.clauses[clause]?.[0]?.heading ?? "").split(" > ").pop();
  return heading ? `${clause.split("/").slice(1).join("/") || clause}: ${heading}` : clause;
}
function fillChoices() {
  const distinct = (values) => [...new Set(values)].map((value) => [value, value]);
  choices("set", [...new Set(all.rows.map((row) => row.set))].map((set) => [set, named(set)]), "all");
  choices("state", Object.entries(STATES));
  choices("clause", Object.keys(all.clauses).filter((clause) => all.rows.some((row) => row.clauses.includes(clause))).map((clause) => [clause, headed(clause)]), "all");
  choices("kind", [...new Set(all.rows.map((row) => row.kind))].sort().map((kind) => [kind, kindSaid(kind)]), "all");
  choices("reviewer", distinct([...all.states.values()].flatMap((state) => state.readers)).sort(), "anybody");
}
// Showing ---------------------------------------------------------------------------------------------------------
function quoted(passage, row) {
  const box = element("blockquote", undefined, {dir: "auto"});
  const near = row.start - passage.start;
  let at = -1;
  for (let i = row.quote ? passage.text.indexOf(row.quote) : -1; i >= 0; i = passage.text.indexOf(row.quote, i + 1)) {
    if (at < 0 || Math.abs(i - near) < Math.abs(at - near)) at = i;
  }
  if (at < 0) { box.textContent = passage.text; return box; }
  box.append(passage.text.slice(0, at), element("mark", row.quote), passage.text.slice(at + row.quote.length));
  return box;
}
const factLines = (facts) => (facts ?? []).map((fact) => fact.join(" | ")).join("\n");
const asText = (name, value) => name === "facts" ? factLines(value) : name === "verdict" ? value ?? "none (no question of yes or no)" : name === "rejected_kind" && KINDS[value] ? `${value}: ${KINDS[value]}` : value;
function pairs(list, entries) {
  list.replaceChildren(...entries.filter(([, text]) => text !== "" && text !== undefined).flatMap(([label, text]) => [element("dt", label), element("dd", text, {dir: "auto"})]));
}
function stateSaid(row) {
  const state = all.states.get(row.key);
  return state ? `${DONE[state.action][0].toUpperCase()}${DONE[state.action].slice(1)} by ${state.reviewer}, ${state.at.slice(0, 16).replace("T", " ")} UTC; read by ${state.readers.join(", ")}.` : "Nobody has read this row.";
}
function changesOf(row) {
  const state = all.states.get(row.key);
  return state?.change && !row.added ? Object.keys(state.change).map((name) => [`${LABELS[name]}, as it was written`, asText(name, row[name])]) : [];
}
// On paper: the chosen rows one below the other, as a record of the review.
function printed(row, i) {
  const box = element("article"), texts = element("dl"), now = shownRow(row);
  pairs(texts, [...row.changeable.map((name) => [LABELS[name], asText(name, now[name])]), ...changesOf(row), ["Id", row.name]]);
  box.append(element("h2", `${i + 1}. ${named(row.set)}, ${kindSaid(row.kind)}`), element("p", stateSaid(row)),
    ...row.doubts.map((doubt) => element("p", doubt)),
    ...row.clauses.flatMap((clause) => all.clauses[clause] ?? []).flatMap((passage) => [element("p", `${passage.clause}: ${passage.heading}`), quoted(passage, row)]), texts);
  return box;
}
function show(focus = false) {
  mode = "read";
  // A hidden field keeps the focus until the page is next drawn, and would swallow the key that comes before that.
  if (document.activeElement.closest("#editor, #adder")) document.activeElement.blur();
  byId("editor").hidden = byId("adder").hidden = true;
  byId("texts").hidden = byId("actions").hidden = false;
  const read = all.rows.filter((row) => !row.added && all.states.has(row.key)).length;
  const count = (action) => [...all.states.values()].filter((state) => state.action === action).length;
  const total = all.rows.filter((row) => !row.added).length;
  byId("title").textContent = `Review: ${all.title}`;
  byId("progress").textContent = `${read} of ${total} rows read (${Object.entries(DONE).map(([action, word]) => `${count(action)} ${word}`).join(", ")}). You are ${all.reviewer}.`
    + (all.stale ? ` ${all.stale} earlier decisions do not apply: their row or clause is another now.` : "");
  fillChoices();
  const row = queue[place];
  byId("row").hidden = !row;
  byId("nothing").hidden = !!row;
  for (const id of ["keep", "drop", "edit", "next", "previous"]) byId(id).disabled = !row;
  if (!row) { if (focus) byId("title").focus(); return; }
  const now = shownRow(row), state = all.states.get(row.key);
  byId("place").textContent = `Row ${place + 1} of ${queue.length}: ${named(row.set)}, ${kindSaid(row.kind)}`;
  byId("state").textContent = stateSaid(row);
  byId("row").className = state?.action === "drop" ? "dropped" : "";
  byId("doubts").replaceChildren(...row.doubts.map((doubt) => element("li", doubt)));
  byId("clauses").replaceChildren(...row.clauses.flatMap((clause) => all.clauses[clause] ?? []).flatMap((passage) => [
    element("p", `${passage.clause}: ${passage.heading}`, {class: "soft", dir: "auto"}), quoted(passage, row)]));
  pairs(byId("texts"), row.changeable.map((name) => [LABELS[name], asText(name, now[name])]));
  pairs(byId("origin"), [...changesOf(row), ["Id", row.name], ["Written by", row.teacher], ["Prompt", row.template], ["Quote", row.quote],
    ["Filters", Object.entries(row.scores).map(([name, value]) => `${name} ${value}`).join(", ")]]);
  if (focus) window.scrollTo(0, 0);
}
const spoken = () => queue[place] ? `Row ${place + 1} of ${queue.length}. ${shownRow(queue[place]).question}` : "No row is left here.";
// Deciding --------------------------------------------------------------------------------------------------------
async function act(path, body, said, go) {
  if (busy) return false;
  busy = true;
  try {
    const news = await call(path, {...body, since: all.since});
    take(news);
    go(news);
    show(true);
    say(`${said(news)} ${spoken()}`);
    return true;
  } catch (error) {
    if (error.status === 409) take(await call(`changes?since=${all.since}`));
    if (error.status === 409 && mode === "read") lookAgain(body.key);
    if (error.status === 409 && mode === "edit") { opened = lastOf(queue[place]); byId("state").textContent = stateSaid(queue[place]); }
    say(error.status ? `Not saved: ${error.message}` : "Not saved: the command does not answer. If it was closed, start it again and open the address that it prints.", true);
    return false;
  } finally { busy = false; }
}
// A row that somebody else has decided about stays in view until one goes on, though the choice of rows has it no more.
function lookAgain(key) {
  const row = queue[place];
  refill(key);
  if (row?.key === key && queue[place]?.key !== key) queue.splice(place, 0, row);
  show();
}
function onward(key) {
  const before = queue.map((row) => row.key);
  refill();
  const still = queue.findIndex((row) => row.key === key);
  if (still >= 0) place = Math.min(still + 1, queue.length - 1);
  else place = Math.max(0, Math.min(before.indexOf(key), queue.length - 1));
}
const lastOf = (row) => all.states.get(row.key)?.last ?? "";
function decide(action, change, seen) {
  const row = queue[place];
  if (!row) return Promise.resolve(false);
  const body = {action, key: row.key, seen: seen ?? lastOf(row), ...(change ? {change} : {})};
  return act("decide", body, () => `${DONE[action][0].toUpperCase()}${DONE[action].slice(1)}.`, () => onward(row.key));
}
const undo = () => act("undo", {}, (news) => news.key ? "Undone." : "There is nothing of yours to undo.", (news) => {
  if (news.key && !all.rows.filter(fits).some((row) => row.key === news.key)) byId("by-state").value = all.states.has(news.key) ? "every" : "unread";
  refill(news.key || undefined);
});
function move(step) {
  if (!queue.length) return;
  place = (place + step + queue.length) % queue.length;
  show(true);
  say(spoken());
}
// Writing ---------------------------------------------------------------------------------------------------------
function fieldOf(form, name, value) {
  let input;
  if (name === "verdict" || name === "rejected_kind") {
    input = element("select");
    const options = name === "verdict" ? [["", "none"], ["yes", "yes"], ["no", "no"]] : [...new Set([...(value ? [value] : []), ...all.contradictions])].map((one) => [one, asText(name, one)]);
    input.append(...options.map(([one, text]) => element("option", text, {value: one})));
    input.value = value ?? "";
  } else {
    input = element("textarea", undefined, {dir: "auto", rows: name === "question" ? 3 : 5});
    input.value = asText(name, value) ?? "";
  }
  input.name = name;
  labelled(form, name === "facts" ? `${LABELS[name]} (one a line; other wordings behind |)` : LABELS[name], input);
}
function labelled(form, text, input) {
  const box = element("div", undefined, {class: "field"});
  input.id = `field-${input.name}`;
  box.append(element("label", text, {for: input.id}), input);
  form.append(box);
}
function written(form) {
  return Object.fromEntries([...form.elements].filter((input) => LABELS[input.name]).map((input) => [input.name,
    input.name === "verdict" ? input.value || null
      : input.name === "facts" ? input.value.split("\n").filter((line) => line.trim()).map((line) => line.split("|").map((word) => word.trim()).filter(Boolean)).filter((fact) => fact.length)
        : input.value]));
}
function buttons(form, text) {
  form.append(element("button", text, {type: "submit"}), " ", Object.assign(element("button", "Leave (Esc)", {type: "button"}), {onclick: leave}));
}
function leave() {
  if (busy) return; // what was saved is on its way
  const back = mode === "add" ? "add" : "edit";
  show();
  byId(back).focus();
  say(`Nothing changed. ${spoken()}`);
}
function edit() {
  const row = queue[place];
  if (!row || busy) return;
  show();
  mode = "edit";
  opened = lastOf(row);
  const form = byId("editor"), now = shownRow(row);
  byId("adder").replaceChildren();
  form.replaceChildren();
  for (const name of row.changeable) fieldOf(form, name, now[name]);
  buttons(form, "Save (Ctrl+Enter)");
  form.hidden = false;
  byId("texts").hidden = byId("actions").hidden = true;
  form.elements[0].focus();
  say("Editing. Control and Enter save, Escape leaves.");
}
function add() {
  if (busy) return;
  const near = queue[place];
  show();
  mode = "add";
  const form = byId("adder");
  byId("editor").replaceChildren();
  form.replaceChildren(element("h2", "A new row"));
  const set = element("select", undefined, {name: "set"}), clause = element("select", undefined, {name: "clause"});
  set.append(...Object.keys(all.new).map((name) => element("option", named(name), {value: name})));
  clause.append(...Object.keys(all.clauses).map((name) => element("option", headed(name), {value: name})));
  if (near && all.new[near.set]) set.value = near.set;
  if (near) clause.value = near.clauses[0];
  const words = element("blockquote", undefined, {dir: "auto"}), fields = element("div");
  const fill = () => { words.textContent = (all.clauses[clause.value] ?? []).map((passage) => passage.text).join("\n"); };
  const lay = () => { fields.replaceChildren(); for (const name of all.new[set.value]) fieldOf(fields, name, name === "rejected_kind" ? all.contradictions[0] : ""); };
  labelled(form, "Set of the new row", set);
  labelled(form, "Clause that it is about", clause);
  form.append(words, fields);
  set.onchange = lay; clause.onchange = fill;
  fill(); lay();
  buttons(form, "Add (Ctrl+Enter)");
  form.hidden = false;
  byId("actions").hidden = true;
  set.focus();
  say("A new row. Control and Enter add it, Escape leaves.");
}
async function save() {
  if (mode === "edit") await decide("edit", written(byId("editor")), opened);
  else if (mode === "add") {
    const form = byId("adder");
    await act("add", {set: form.elements.set.value, clause: form.elements.clause.value, change: written(form)}, () => "Added.", () => refill(queue[place]?.key));
  }
}
// Wiring ----------------------------------------------------------------------------------------------------------
const KEYS = {k: () => decide("keep"), d: () => decide("drop"), e: edit, u: undo, a: add, n: () => move(1), arrowright: () => move(1), b: () => move(-1), arrowleft: () => move(-1),
  f: () => byId("by-set").focus(), "?": () => { byId("help").open = !byId("help").open; }};
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || event.repeat || event.isComposing) return;
  if (mode !== "read") {
    if (event.key === "Escape") { event.preventDefault(); leave(); }
    if (event.key === "Enter" && event.ctrlKey) { event.preventDefault(); save(); }
    return;
  }
  if (event.target.closest("select, textarea, input")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.toLowerCase();
  if (event.ctrlKey || !Object.hasOwn(KEYS, key)) return;
  event.preventDefault();
  KEYS[key]();
});
for (const [id, key] of Object.entries({keep: "k", drop: "d", edit: "e", undo: "u", previous: "b", next: "n", add: "a"})) byId(id).addEventListener("click", () => { if (mode === "read") KEYS[key](); });
for (const form of ["editor", "adder"]) byId(form).addEventListener("submit", (event) => { event.preventDefault(); save(); });
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("change", () => { place = 0; refill(); show(); say(`${queue.length} rows. ${spoken()}`); });
window.addEventListener("beforeprint", () => byId("printed").replaceChildren(
  element("p", `${queue.length} rows: set ${chosen("set") ? named(chosen("set")) : "all"}, state ${STATES[chosen("state")]}, clause ${chosen("clause") ? headed(chosen("clause")) : "all"}, kind ${chosen("kind") ? kindSaid(chosen("kind")) : "all"}, reviewer ${chosen("reviewer") || "anybody"}. Decisions: ${all.file}`), ...queue.map(printed)));
window.addEventListener("afterprint", () => byId("printed").replaceChildren());
async function poll() {
  if (document.hidden || busy) return;
  const since = all.since;
  try {
    const news = await call(`changes?since=${since}`);
    if (busy || all.since !== since || !Object.keys(news.states).length) return; // asked again: a decision of ours came between
    const key = queue[place]?.key, gone = key in news.states;
    take(news);
    if (mode !== "read") return;
    refill(key);
    show();
    if (gone) say(`Somebody else decided about the row that was here. ${spoken()}`);
  } catch { /* said when something is to be saved */ }
}
(async () => {
  try {
    const found = await call("rows");
    Object.assign(all, {rows: found.rows, title: found.title, file: found.file, reviewer: found.reviewer, clauses: found.clauses, new: found.new, contradictions: found.contradictions, stale: found.stale});
    take(found);
    fillChoices();
    refill();
    show();
    say(spoken());
    setInterval(poll, 3000);
  } catch (error) { say(`The rows cannot be shown: ${error.message}`, true); }
})();
