// The page's header, connection banner and views.

import { Actions } from "./actions.js";
import { announce, signIn, textOf, toast } from "./dialogs.js";
import { h, icon, setText } from "./dom.js";
import { formatDuration, formatTime, language, setLanguage, t } from "./i18n.js";
import { isUnhealthy } from "./item.js";
import { JournalView } from "./journal.js";
import { ListView } from "./list.js";
import { PluginStore } from "./store.js";
import { PluginView } from "./plugin.js";
import { getCode, onSession, setCode, takeCodeFromAddress } from "./session.js";

const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "plugvisor.theme";
const JOURNAL = "#/journal";
const root = document.documentElement;
const [top, banner, main] = ["top", "banner", "view"].map((id) => document.getElementById(id));

takeCodeFromAddress();
const store = new PluginStore();
const views = { __proto__: null, [JOURNAL]: JournalView }; // a plugin may be called `constructor`
const app = { store, actions: new Actions(store), views, open };
let view;
/** The id of the plugin that is shown, the address of one of `views`, or empty for the list. */
let route;
let isLocked = false;
/** The module of what only admins can do, once there is one. */
let administration;

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
  const [path] = location.hash.split("?");
  route = views[path] ? path : decode(/^#\/plugin\/(.+)$/.exec(location.hash)?.[1] ?? "");
  view?.close();
  view = isLocked ? makeLockedView() : views[route] ? new views[route](app) : route ? new PluginView(app, route) : new ListView(app);
  main.replaceChildren(view.node);
  administer();
  journalLink.ariaCurrent = route === JOURNAL ? "page" : null;
  app.decorate?.(view, route);
  showTitle();
  // the focus moves to the heading of an opened plugin, and back to its row
  if (before === undefined || before === route) return;
  scrollTo(0, 0);
  if (route) (view.whole?.hidden ? view.gone.firstChild : view.title).focus();
  else [...document.querySelectorAll(".row")].find((row) => row.dataset.id === before)?.querySelector("a").focus();
}

/** Adds to the view what only admins can do, or removes it. */
async function administer() {
  if (store.identity?.role === "admin") administration ??= await import("./administration.js").catch(() => undefined);
  administration?.administer(app, view, route);
}

function showTitle() {
  const failed = [...store.plugins.values()].filter((item) => item.status === "error" || isUnhealthy(item)).length;
  document.title = `${failed ? `(${failed}) ` : ""}${store.plugins.get(route)?.name ?? t(views[route] ? route.slice(2) : "appName")} · Plugvisor`;
}

/** Makes the view of a Plugvisor whose reads need a sign-in. */
function makeLockedView() {
  const title = h("h1", { tabIndex: -1 }, t("lockedTitle"));
  return { title, node: h("div.empty", title, h("button.primary", { onclick: signIn }, t("signIn"))), close() {} };
}

// -- the header

/** The name of a broken database whose notice was dismissed. */
let dismissed;
const connection = h("span.connection", h("i"), h("span"));
const journalLink = h("a.button", { href: JOURNAL });
const who = h("span.who");
const signButton = h("button", { onclick: () => (getCode() ? setCode(null) : signIn()) });
const languageButton = h("button", { onclick: () => { setLanguage(language === "zh" ? "en" : "zh"); translate(); } });
const themeButton = h("button", { onclick: () => {
  localStorage.setItem(THEME_KEY, THEMES[(THEMES.indexOf(getTheme()) + 1) % THEMES.length]);
  showTheme();
} });
top.append(h("a.brand", { href: "#/" }, icon("mark"), "Plugvisor"), connection, h("nav", journalLink, languageButton, themeButton), who, signButton);

const getTheme = () => localStorage.getItem(THEME_KEY) ?? "auto";

function showTheme() {
  const theme = getTheme();
  root.dataset.theme = theme;
  themeButton.replaceChildren(icon("theme"), h("span", t(theme)));
  themeButton.ariaLabel = t("theme", t(theme));
}

function showSession() {
  setText(signButton, t(getCode() ? "signOut" : "signIn"));
  const { name, role, plugins = [], expires_at } = store.identity ?? {};
  setText(who, [name, name !== role && role && t(`role_${role}`)].filter(Boolean).join(" · "));
  who.title = [plugins.join(" "), expires_at && t("expires", formatTime(expires_at))].filter(Boolean).join(" · ");
}

// -- the connection

function showConnection() {
  const { kind } = store.connection;
  if (isLocked !== (kind === "locked")) {
    isLocked = !isLocked;
    open();
    if (isLocked) signIn();
  }
  const { status, set_aside } = store.memory;
  const isForgetful = kind === "live" && status === "unavailable";
  const { detail = "" } = isForgetful ? store.memory : store.connection;
  connection.dataset.kind = kind;
  setText(connection.lastChild, t(kind));
  const isStale = kind === "lost" || kind === "unavailable";
  document.body.classList.toggle("stale", isStale);
  const shown = isStale ? kind : isForgetful ? "forgetful" : store.wasRestarted ? "restarted" : set_aside && set_aside !== dismissed ? "setAside" : "";
  const key = detail + set_aside;
  if (banner.dataset.kind !== shown || banner.dataset.key !== key) {
    Object.assign(banner.dataset, { kind: shown, key });
    banner.replaceChildren();
    const text = isStale && detail ? "" : t(`${shown}Text`, set_aside);
    if (shown) banner.append(h("p", h("b", t(`${shown}Title`)), " ", text, " ", detail && h("span", { lang: "en" }, detail)));
    if (shown === "setAside") banner.append(h("button", { onclick: () => { dismissed = set_aside; showConnection(); } }, t("dismiss")));
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
  setText(journalLink, t("journal"));
  languageButton.lang = language === "zh" ? "en" : "zh-CN";
  banner.dataset.kind = "?";
  showTheme();
  showSession();
  showConnection();
  open();
}

addEventListener("hashchange", open);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input:not([type^=c]),textarea") || !view.search) return;
  event.preventDefault();
  view.search.focus();
});
onSession((isRejected) => {
  showSession();
  if (isRejected) toast(t("codeRejected"), true);
  else announce(t(getCode() ? "signedIn" : "signedOut"));
});
store.addEventListener("connection", showConnection);
store.addEventListener("identity", ({ detail: { problem } }) => {
  showSession();
  administer();
  // without a connection the banner says so
  if (problem && problem.code !== "network") toast(textOf(problem), true);
});
store.addEventListener("plugins", showTitle);
// without it until the nodes change
store.addEventListener("nodes", ({ detail }) => import("./cluster.js").then(({ show }) => show(app, detail.nodes), () => {}));
setInterval(showAge, 1000);
translate();
