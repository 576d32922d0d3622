// The page: its head, how far what it shows can be trusted, and which view is open.

import { Actions } from "./actions.js";
import { announce, signIn } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatDuration, language, setLanguage, t } from "./i18n.js";
import { ListView } from "./list.js";
import { Picture } from "./picture.js";
import { PluginView } from "./plugin.js";
import { getCode, onSession, setCode, takeCodeFromAddress } from "./session.js";

const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "plugvisor.theme";

takeCodeFromAddress();
const picture = new Picture();
const app = { picture, actions: new Actions(picture) };
let view;
let route;

// -- which view

function open() {
  // a code may be put into the address of a page that is open already
  takeCodeFromAddress();
  const [, id] = /^#\/plugin\/(.+)$/.exec(location.hash) ?? [];
  const before = route;
  route = id ? decodeURIComponent(id) : "";
  view?.close();
  view = route ? new PluginView(app, route) : new ListView(app);
  document.getElementById("view").replaceChildren(view.node);
  // the focus goes where the person's look goes: into what was opened, and back to where it came from
  if (before === undefined || before === route) return;
  scrollTo(0, 0);
  if (route) (view.whole.hidden ? view.gone.firstChild : view.title).focus();
  else [...document.querySelectorAll(".row")].find((row) => row.dataset.id === before)?.querySelector("a").focus();
}

// -- the head

const connection = h("span", { className: "connection" }, h("i"), h("span"));
const signButton = h("button", { onclick: () => (getCode() ? setCode(null) : signIn()) });
const languageButton = h("button", { onclick: () => { setLanguage(language === "zh" ? "en" : "zh"); speak(); } });
const themeButton = h("button", { onclick: () => setTheme(THEMES[(THEMES.indexOf(getTheme()) + 1) % THEMES.length]) });
const home = h("a", { className: "brand", href: "#/" }, icon("mark"), "Plugvisor");
document.getElementById("top").append(home, connection, h("nav", {}, languageButton, themeButton, signButton));

const getTheme = () => localStorage.getItem(THEME_KEY) ?? "auto";

function setTheme(theme) {
  localStorage.setItem(THEME_KEY, theme);
  showTheme();
  announce(t("theme", t(theme)));
}

function showTheme() {
  const theme = getTheme();
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.replaceChildren(icon("theme"), h("span", {}, t(theme)));
  themeButton.setAttribute("aria-label", t("theme", t(theme)));
}

function showSession() {
  setText(signButton, t(getCode() ? "signOut" : "signIn"));
}

// -- how far what is shown can be trusted

const TITLES = { lost: ["lostTitle", "lostText"], unavailable: ["unavailableTitle"], restarted: ["restartedTitle", "restartedText"] };
const banner = document.getElementById("banner");

function showConnection() {
  const { kind, detail } = picture.connection;
  connection.dataset.kind = kind;
  setText(connection.lastChild, t(kind));
  const isStale = kind !== "live" && kind !== "connecting";
  document.body.classList.toggle("stale", isStale);
  const shown = isStale ? kind : picture.restartedAt ? "restarted" : "";
  if (banner.dataset.kind !== shown || isStale) {
    banner.dataset.kind = shown;
    const [title, ...rest] = TITLES[shown] ?? [];
    const texts = [...rest.map((key) => t(key)), isStale && detail].filter(Boolean);
    banner.replaceChildren(...(title ? [
      h("p", {}, h("b", {}, t(title)), " ", texts.join(" ")),
      isStale && h("span", { className: "age", "aria-live": "off" }),
      isStale && h("button", { onclick: () => picture.retry() }, t("retry")),
    ].filter(Boolean) : []));
  }
  showAge();
}

function showAge() {
  const age = banner.querySelector(".age");
  const { at } = picture.connection;
  if (age && at) setText(age, t("staleAge", formatDuration((Date.now() - at) / 1000)));
}

function showTitle() {
  const failed = [...picture.plugins.values()].filter((item) => item.status === "error").length;
  document.title = (failed ? `(${failed}) ` : "") + (picture.plugins.get(route)?.name ?? t("appName")) + " · Plugvisor";
}

// -- everything in the language that was chosen

function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  setText(languageButton, t("language"));
  languageButton.lang = language === "zh" ? "en" : "zh-CN";
  banner.dataset.kind = "?";
  showTheme();
  showSession();
  showConnection();
  open();
  showTitle();
}

addEventListener("hashchange", () => { open(); showTitle(); });
addEventListener("online", () => picture.retry());
addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "/" && !isTyping && !document.querySelector("dialog") && view.search) {
    event.preventDefault();
    view.search.focus();
  }
});
onSession(() => {
  showSession();
  announce(t(getCode() ? "signedIn" : "signedOut"));
});
picture.addEventListener("connection", showConnection);
picture.addEventListener("plugins", showTitle);
setInterval(showAge, 1000);
speak();
