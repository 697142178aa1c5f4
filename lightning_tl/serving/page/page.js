// The page of the service: asks what models there are, shows the form of the chosen one, and what it answers.
const byId = (id) => document.getElementById(id);
const [status, answer, work] = [byId("status"), byId("answer"), byId("work")];
const FORMS = ["images", "texts", "pairs", "recommendations"];
const FIRST = 8; // classes that are shown at once
let models = [];
let asked = 0; // number of the last question: an answer to an earlier one is dropped

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The service does not answer.");
  }
  const said = await response.json().catch(() => ({ error: `The service answered with ${response.status}.` }));
  if (response.status === 401) {
    askForToken(Boolean(token));
    throw new Error("A token is needed.");
  }
  if (!response.ok) throw new Error(said.error[0].toUpperCase() + said.error.slice(1) + ".");
  return said;
}

function postJson(path, body) {
  return ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

// ---------------------------------------------------------------- models

const chosen = () => models.find((model) => model.model === byId("model").value) ?? models[0];
const pathOf = (name) => `${encodeURIComponent(chosen().model)}/${name}`;

function askForToken(again) {
  work.hidden = true;
  byId("token-form").hidden = false;
  if (again) byId("token-form").querySelector(".hint").textContent = "That token was not accepted.";
  byId("token").focus();
}

async function start() {
  try {
    models = (await ask("models")).models;
  } catch (error) {
    if (byId("token-form").hidden) {
      work.hidden = false;
      showProblem(error);
    }
    return;
  }
  byId("token-form").hidden = true;
  work.hidden = false;
  byId("model").replaceChildren(...models.map(({ model }) => element("option", { value: model, textContent: model })));
  byId("model").hidden = byId("model-label").hidden = models.length < 2;
  chooseModel();
}

function chooseModel() {
  const model = chosen();
  for (const kind of FORMS) byId(kind).hidden = kind !== model.kind;
  const titles = { images: "Classify an image", texts: "Classify a text", pairs: "Classify two texts", recommendations: "Recommend items" };
  byId("ask-title").textContent = titles[model.kind];
  const name = models.length > 1 ? "" : element("b", { textContent: model.model });
  byId("about").replaceChildren(name, models.length > 1 ? "" : " ", `version ${model.version.slice(0, 12)}`);
  const users = model.card.example_users ?? [];
  byId("users").replaceChildren(...users.map((user) => element("option", { value: user })));
  byId("user-hint").textContent = users.length ? `For example ${users.slice(0, 3).join(", ")}.` : "";
  asked += 1;
  answer.replaceChildren();
  answer.classList.remove("stale");
  const empty = model.kind === "recommendations" ? "Items will stand here." : model.task === "values" ? "Values will stand here." : `One of ${model.class_names.length} classes: ${shortList(model.class_names)}.`;
  say(model.task === "several labels" ? empty.replace("One", "Some") : empty);
}

const shortList = (names) => (names.length > FIRST ? `${names.slice(0, FIRST).join(", ")} …` : names.join(", "));

// ---------------------------------------------------------------- answers

function say(text, more = "") {
  status.className = more ? "status said" : "status";
  status.replaceChildren(text, more ? element("small", { textContent: ` ${more}` }) : "");
}

function showProblem(error) {
  status.className = "status problem";
  status.replaceChildren(error.message);
  answer.replaceChildren();
}

async function answerTo(question, show) {
  const number = (asked += 1);
  answer.classList.add("stale");
  const started = performance.now();
  try {
    const said = await question();
    if (number !== asked) return;
    show(said);
    byId("took").textContent = `${said.model}, version ${said.version.slice(0, 12)}, ${Math.round(performance.now() - started)} ms`;
  } catch (error) {
    if (number === asked) showProblem(error);
  } finally {
    if (number === asked) answer.classList.remove("stale");
  }
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function showPrediction(said) {
  const [prediction] = said.predictions;
  if (prediction.values) {
    const rows = Object.entries(prediction.values);
    say(rows.length === 1 ? `${rows[0][1].toPrecision(4)}` : `${rows.length} values`, rows.length === 1 ? rows[0][0] : "for this input");
    answer.replaceChildren(element("ul", { className: "bars" }, ...rows.map(([name, value]) => row(name, value.toPrecision(5)))));
    return;
  }
  const rows = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1]);
  const labels = prediction.labels ?? [prediction.label];
  if (!labels.length) say("None of the classes", "reaches 50 %");
  else say(labels.join(", "), labels.length === 1 ? percent(prediction.probabilities[labels[0]]) : `${labels.length} classes`);
  const list = element("ul", { className: "bars" });
  const fill = (count) => list.replaceChildren(...rows.slice(0, count).map(([name, share]) => row(name, percent(share), share, labels.includes(name))));
  fill(FIRST);
  answer.replaceChildren(list);
  if (rows.length > FIRST) {
    const more = element("button", { type: "button", className: "quiet", textContent: `All ${rows.length} classes` });
    more.addEventListener("click", () => (fill(rows.length), more.remove()));
    answer.append(more);
  }
}

function row(name, number, share, best = false) {
  const made = element("li", { className: best ? "best" : "" }, element("span", { className: "what", textContent: name }), element("span", { className: "number", textContent: number }));
  if (share !== undefined) {
    const bar = element("span", { className: "bar" });
    bar.setAttribute("aria-hidden", "true");
    bar.style.setProperty("--share", share);
    made.append(bar);
  }
  return made;
}

function pictureOf({ item, picture }) {
  const none = element("span", { className: "thumb" });
  if (!picture) return none;
  const shown = element("img", { className: "thumb", alt: "", loading: "lazy", decoding: "async" });
  shown.addEventListener("error", () => shown.replaceWith(none));
  const path = `${pathOf("items")}/${encodeURIComponent(item)}/picture`;
  const token = sessionStorage.getItem("token");
  if (token) showWithToken(shown, path, token);
  else shown.src = path;
  return shown;
}

async function showWithToken(shown, path, token) {
  try {
    const response = await fetch(path, { headers: { authorization: `Bearer ${token}` } });
    if (!response.ok) throw new Error(response.statusText);
    shown.src = URL.createObjectURL(await response.blob());
    shown.addEventListener("load", () => URL.revokeObjectURL(shown.src), { once: true });
  } catch {
    shown.dispatchEvent(new Event("error"));
  }
}

function showItems(said, heading) {
  const by = { history: "by the history", profile: "by the profile", popularity: "what is popular of late" };
  say(heading ?? `${said.items.length} items`, heading ? "" : by[said.by]);
  if (heading) status.className = "status said";
  const names = Object.fromEntries(said.history.map(({ item, title }) => [item, title || item]));
  const pictured = [...said.items, ...said.history].some(({ picture }) => picture);
  const thumb = (one) => (pictured ? [pictureOf(one)] : []);
  const items = said.items.map(({ item, title, score, because, picture }) => {
    const line = element("span", { className: "title" }, title || item);
    if (title) line.append(element("small", { textContent: item }));
    const number = element("span", { className: "number", textContent: said.by === "popularity" ? String(score) : score.toFixed(3) });
    const similar = element("button", { type: "button", className: "quiet more", textContent: "Similar" });
    similar.setAttribute("aria-label", `Similar to ${title || item}`);
    similar.addEventListener("click", () => showSimilar(item, title || item));
    const made = element("li", {}, ...thumb({ item, picture }), line, number);
    if (because && !heading) made.append(element("span", { className: "why", textContent: `near to ${names[because] ?? because}` }));
    made.append(similar);
    return made;
  });
  const parts = [];
  if (said.note) parts.push(element("p", { className: "note", textContent: said.note }));
  if (said.history.length && !heading) {
    const past = said.history.slice(-12);
    const title = past.length < said.history.length ? `History, the last ${past.length} of ${said.history.length}` : "History, oldest first";
    parts.push(element("h3", { textContent: title }), element("ul", { className: "chips" }, ...past.map((one) => element("li", {}, ...(one.picture ? thumb(one) : []), one.title || one.item))));
  }
  parts.push(element("h3", { textContent: heading ? "Nearest first" : "Recommended" }), element("ol", { className: pictured ? "items pictured" : "items" }, ...items));
  answer.replaceChildren(...parts);
}

function showSimilar(item, title) {
  const k = Number(byId("k").value) || 10;
  answerTo(() => ask(`${pathOf("similar")}/${encodeURIComponent(item)}?k=${k}`), (said) => showItems(said, `Similar to ${title}`));
}

// ---------------------------------------------------------------- questions

function takePicture(file) {
  if (!file) return;
  const picture = byId("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.alt = `The chosen image, ${file.name}`;
  picture.onload = () => picture.classList.toggle("small", picture.naturalWidth < 200);
  picture.onerror = () => picture.parentElement.setAttribute("hidden", ""); // such as a TIFF, which browsers do not show
  byId("picture-name").textContent = file.name;
  byId("shown").hidden = false;
  byId("images").classList.add("shown");
  const form = new FormData();
  form.append("image", file);
  answerTo(() => ask(pathOf("classify"), { method: "POST", body: form }), showPrediction);
}

byId("file").addEventListener("change", ({ target }) => (takePicture(target.files[0]), (target.value = "")));
byId("images").addEventListener("submit", (event) => event.preventDefault());
const canDrop = (event) => !byId("images").hidden && !work.hidden && event.dataTransfer?.types.includes("Files");
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    if (!canDrop(event)) return;
    event.preventDefault();
    byId("drop").classList.toggle("over", over);
    if (name === "drop") takePicture(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  if (!byId("images").hidden) takePicture([...(event.clipboardData?.files ?? [])][0]);
});

function onSubmit(id, question, show) {
  byId(id).addEventListener("submit", (event) => (event.preventDefault(), answerTo(question, show)));
  byId(id).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId(id).requestSubmit();
  });
}

onSubmit("texts", () => postJson(pathOf("classify"), { text: byId("text").value }), showPrediction);
onSubmit("pairs", () => postJson(pathOf("classify"), { pairs: [[byId("first").value, byId("second").value]] }), showPrediction);
onSubmit("recommendations", () => {
  const wish = { k: Number(byId("k").value), diversity: Number(byId("diversity").value) };
  if (byHistory()) wish.history = byId("history").value.split(/[,\n]/).map((item) => item.trim()).filter(Boolean);
  else wish.user = byId("user").value.trim();
  return postJson(pathOf("recommend"), wish);
}, (said) => showItems(said));

const byHistory = () => document.querySelector("input[name=by]:checked").value === "history";
for (const input of document.querySelectorAll("input[name=by]")) {
  input.addEventListener("change", () => {
    byId("by-user").hidden = byHistory();
    byId("user").required = !byHistory();
    byId("by-history").hidden = !byHistory();
  });
}
byId("diversity").addEventListener("input", ({ target }) => (byId("diversity-said").textContent = target.value));
byId("model").addEventListener("change", chooseModel);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  start();
});
start();
