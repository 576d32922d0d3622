// The page's header, connection banner and views.

import { Actions } from "./actions.js";
import { announce, signIn, toast } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatDuration, language, setLanguage, t } from "./i18n.js";
import { isUnhealthy } from "./item.js";
import { ListView } from "./list.js";
import { PluginStore } from "./store.js";
import { PluginView } from "./plugin.js";
import { getCode, onSession, setCode, takeCodeFromAddress } from "./session.js";

const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "plugvisor.theme";
const root = document.documentElement;
const [top, banner, main] = ["top", "banner", "view"].map((id) => document.getElementById(id));

takeCodeFromAddress();
const store = new PluginStore();
const app = { store, actions: new Actions(store) };
let view;
let route;

// -- views

/** Decodes a part of the address; one that was typed by hand may have a % that encodes nothing. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function open() {
  takeCodeFromAddress(); // also when the address of an open page is changed
  const before = route;
  route = decode(/^#\/plugin\/(.+)$/.exec(location.hash)?.[1] ?? "");
  view?.close();
  view = route ? new PluginView(app, route) : new ListView(app);
  main.replaceChildren(view.node);
  showTitle();
  // the focus moves to the heading of an opened plugin, and back to its row
  if (before === undefined || before === route) return;
  scrollTo(0, 0);
  if (route) (view.whole.hidden ? view.gone.firstChild : view.title).focus();
  else [...document.querySelectorAll(".row")].find((row) => row.dataset.id === before)?.querySelector("a").focus();
}

function showTitle() {
  const failed = [...store.plugins.values()].filter((item) => item.status === "error" || isUnhealthy(item)).length;
  document.title = `${failed ? `(${failed}) ` : ""}${store.plugins.get(route)?.name ?? t("appName")} · Plugvisor`;
}

// -- the header

const connection = h("span.connection", h("i"), h("span"));
const signButton = h("button", { onclick: () => (getCode() ? setCode(null) : signIn()) });
const languageButton = h("button", { onclick: () => { setLanguage(language === "zh" ? "en" : "zh"); translate(); } });
const themeButton = h("button", { onclick: () => {
  localStorage.setItem(THEME_KEY, THEMES[(THEMES.indexOf(getTheme()) + 1) % THEMES.length]);
  showTheme();
} });
top.append(h("a.brand", { href: "#/" }, icon("mark"), "Plugvisor"), connection, h("nav", languageButton, themeButton, signButton));

const getTheme = () => localStorage.getItem(THEME_KEY) ?? "auto";

function showTheme() {
  const theme = getTheme();
  root.dataset.theme = theme;
  themeButton.replaceChildren(icon("theme"), h("span", t(theme)));
  themeButton.ariaLabel = t("theme", t(theme));
}

const showSession = () => setText(signButton, t(getCode() ? "signOut" : "signIn"));

// -- the connection

function showConnection() {
  const { kind, detail } = store.connection;
  connection.dataset.kind = kind;
  setText(connection.lastChild, t(kind));
  const isStale = kind === "lost" || kind === "unavailable";
  document.body.classList.toggle("stale", isStale);
  const shown = isStale ? kind : store.wasRestarted ? "restarted" : "";
  if (banner.dataset.kind !== shown || banner.dataset.detail !== (detail ?? "")) {
    Object.assign(banner.dataset, { kind: shown, detail: detail ?? "" });
    banner.replaceChildren();
    const text = isStale && detail ? h("span", { lang: "en" }, detail) : t(`${shown}Text`);
    if (shown) banner.append(h("p", h("b", t(`${shown}Title`)), " ", text));
    if (isStale) banner.append(h("span", { ariaLive: "off" }), h("button", { onclick: () => store.retry() }, t("retry")));
  }
  showAge();
}

function showAge() {
  const { at } = store.connection;
  const age = banner.querySelector("p + span");
  if (age && at) setText(age, t("staleAge", formatDuration((Date.now() - at) / 1000)));
}

/** Shows everything in the current language. */
function translate() {
  root.lang = language === "zh" ? "zh-CN" : "en";
  setText(languageButton, t("language"));
  languageButton.lang = language === "zh" ? "en" : "zh-CN";
  banner.dataset.kind = "?";
  showTheme();
  showSession();
  showConnection();
  open();
}

addEventListener("hashchange", open);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || document.activeElement.matches("input, select") || !view.search) return;
  event.preventDefault();
  view.search.focus();
});
onSession((isRejected) => {
  showSession();
  if (isRejected) toast(t("codeRejected"), true);
  else announce(t(getCode() ? "signedIn" : "signedOut"));
});
store.addEventListener("connection", showConnection);
store.addEventListener("plugins", showTitle);
setInterval(showAge, 1000);
translate();
