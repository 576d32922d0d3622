// The journal: what has happened, and by whom. A card on each plugin's view, and a view of its own with filters.

import { describeRefresh } from "./actions.js";
import { ask } from "./api.js";
import { signIn, textOf } from "./dialogs.js";
import { arrange, h, icon, setText } from "./dom.js";
import { formatNumber, formatTime, t } from "./i18n.js";
import { healthOf, symbolOf } from "./item.js";
import { linkTo } from "./needs.js";
import { getCode, onSession } from "./session.js";
import { Stream } from "./stream.js";

const KINDS = ["state", "check", "limit", "operation", "identity", "installation", "service"];
const nameOf = (kind) => t({ check: "checks", limit: "limits" }[kind] ?? kind);
const HOURS = [1, 24, 168];
/** How many are fetched at once. */
const PAGE_ENTRIES = 50;
const MOST_ENTRIES = 500;

/** Returns how a process ended: a signal or an exit code, and why. */
export const describeExit = ({ signal, code, reason }) => [signal ?? t("exitCode", code), reason].filter(Boolean).join(" · ");

/** The entries that match a filter: first those that have happened last. Older ones come on demand. */
export class Entries {
  #store;
  #filter;
  #stream;
  /** id → entry, with its `node`. */
  #entries = new Map();
  /** The cursor of the next, older page; empty if there is none, undefined before the first. */
  #after;
  #most;
  #list = h("ol.entries");
  #note = h("p.note", { role: "status" });
  #older = h("button", { hidden: true, onclick: () => this.load(true) }, t("older"));
  node = h("div", this.#note, this.#list, this.#older);

  /**
   * @param filter the parameters of `GET /journal`
   * @param most how many are shown, beside the older ones that were asked for
   */
  constructor(store, filter, most) {
    this.#store = store;
    this.#filter = filter;
    this.#most = most;
  }

  /** Shows what happens as it happens. A browser opens few connections, so that not every card has a stream. */
  follow() {
    const { plugin_id, kind } = this.#filter;
    this.#stream = new Stream(`journal/stream?${encode({ plugin_id, kind })}`, {
      // what happens meanwhile comes by the stream: nothing is missed
      onOpen: () => this.load(),
      onEvent: (name, entry) => this.#take(name, entry),
      onLost: (problem) => setText(this.#note, problem.status ? textOf(problem) : t("journalLost")),
    });
  }

  close() {
    this.#stream?.close();
  }

  /** Fetches the newest entries, or older ones than those that are shown. */
  async load(isOlder) {
    try {
      const { entries, after } = await ask(`journal?${encode({ ...this.#filter, limit: PAGE_ENTRIES, after: isOlder && this.#after })}`);
      if (isOlder) this.#most += entries.length;
      if (isOlder || this.#after === undefined) {
        this.#after = after ?? "";
        this.#older.hidden = !after;
      }
      this.#add(entries);
      if (!entries.length && !this.#entries.size) setText(this.#note, t("nothingHappened"));
    } catch (problem) {
      setText(this.#note, textOf(problem));
    }
  }

  #take(name, entry) {
    if (name === "gap") {
      this.#entries.clear();
      this.#after = undefined;
    } else this.#add([entry]);
    if (this.#after === undefined) this.load();
  }

  #add(entries) {
    for (const entry of entries) {
      const known = this.#entries.get(entry.id);
      // an answer may be older than what the stream has brought
      if (known && (known.times ?? 1) >= (entry.times ?? 1)) continue;
      entry.time = Date.parse(entry.until ?? entry.at);
      entry.node = this.#makeEntry(entry);
      this.#entries.set(entry.id, entry);
    }
    const sorted = [...this.#entries.values()].sort((one, other) => other.time - one.time || other.id - one.id);
    for (const { id } of sorted.splice(this.#most)) {
      this.#entries.delete(id);
      this.#after = String(Math.max(this.#after, id + 1));
      this.#older.hidden = false;
    }
    arrange(this.#list, sorted.map(({ node }) => node));
    if (sorted.length) setText(this.#note, "");
  }

  #makeEntry(entry) {
    const { plugin_id, at, until = at, times, address, request_id } = entry;
    const parts = [
      plugin_id && !this.#filter.plugin_id && linkTo(this.#store, plugin_id), ...describe(entry),
      times && h("b", t("timesSince", formatNumber(times), formatTime(at))),
    ].filter(Boolean);
    return h("li", { "data-status": healthOf(entry) ?? entry.status ?? "" },
      h("time", { dateTime: until, title: [at, address, request_id].filter(Boolean).join("\n") }, formatTime(until)),
      h("div", parts.flatMap((part, index) => [index > 0 && " · ", part])));
  }
}

/** Returns the parts of an entry's text. */
function describe({ kind, status, health, last_exit, identity, verb, outcome, milliseconds, changes, subject, detail }) {
  const label = (symbol, word = symbol) => h("b.label", icon(symbol), t(word));
  const verdict = healthOf({ health });
  const isService = kind === "service";
  return [
    !verb ? !status && !health && nameOf(kind) : h("b", isService ? `${t(subject)} ${t(`it_${verb}`)}` : t(verb === "resume" ? "resumed" : verb)),
    status && label(symbolOf(status), status),
    verdict && label(verdict),
    subject && !isService && h("span.name", subject),
    last_exit && describeExit(last_exit),
    identity && h("span", t("by", identity)),
    changes && describeRefresh(changes),
    outcome && outcome !== "ok" && h("span.problem", outcome),
    detail && h("span.detail", { lang: "en" }, detail),
    milliseconds !== undefined && h("span.hint", `${formatNumber(milliseconds)}\u00a0ms`),
  ];
}

/** Returns the query string of the parameters that are not empty. */
const encode = (parameters) => new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));

/** The view of the whole journal; its filters are in the address. */
export class JournalView {
  #store;
  #entries;
  #forget;
  #filter = Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  #content = h("div");
  title = h("h1", { tabIndex: -1 }, t("journal"));

  constructor({ store }) {
    this.#store = store;
    const ids = h("datalist", { id: "ids" });
    const choose = (name) => ({ target }) => {
      this.#filter[name] = target.value.trim();
      const query = String(encode(this.#filter));
      history.replaceState(null, "", `#/journal${query && `?${query}`}`);
      this.#show();
    };
    const select = (name, any, options) => h("select", { ariaLabel: t(name), onchange: choose(name) },
      h("option", { value: "" }, t(any)),
      options.map(([value, text]) => h("option", { value, selected: this.#filter[name] === String(value) }, text)));
    this.search = h("input", {
      type: "search", placeholder: t("plugin"), ariaLabel: t("plugin"), value: this.#filter.plugin_id ?? "", onchange: choose("plugin_id"),
      onfocus: () => ids.replaceChildren(...[...store.plugins.keys()].sort().map((value) => h("option", { value }))),
    });
    this.search.setAttribute("list", "ids");
    this.node = h("article.journal", this.title,
      h("div.toolbar", this.search, ids,
        select("kind", "anyKind", KINDS.map((kind) => [kind, nameOf(kind)])),
        select("hours", "anyTime", HOURS.map((hours) => [hours, t("lastHours", hours)]))),
      this.#content);
    this.#forget = onSession(() => this.#show());
    this.#show();
  }

  /** Ends all subscriptions. */
  close() {
    this.#entries?.close();
    this.#forget();
  }

  #show() {
    this.#entries?.close();
    if (!getCode()) {
      const button = h("button.primary", { onclick: signIn }, t("signIn"));
      return this.#content.replaceChildren(h("section.card.empty", h("p", t("signInForJournal")), button));
    }
    const { plugin_id, kind, hours } = this.#filter;
    const since = hours && Math.floor(Date.now() / 1000 - hours * 3600);
    this.#entries = new Entries(this.#store, { plugin_id, kind, since }, MOST_ENTRIES);
    this.#entries.follow();
    this.#content.replaceChildren(h("section.card", this.#entries.node));
  }
}
