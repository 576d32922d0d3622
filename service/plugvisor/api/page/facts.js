// The cards beside a plugin's log: its process, and what its manifest says. Fetched with the first plugin that is opened.

import { h } from "./dom.js";
import { addTexts, formatMemory, formatTime, t } from "./i18n.js";
import { watchOf } from "./item.js";
import { describeExit } from "./journal.js";
import { linkTo } from "./needs.js";

addTexts(`
process||进程
program||程序
manifest||清单
since|Started|启动于
auto_start|Starts with Plugvisor|自动启动
exits|Last exits|最近退出
command||命令
entry||入口
environment||环境变量
bracketed| ({0})|（{0}）
fromFile|from a file|来自文件
folder||文件夹
warnings||警告
author||作者
yes|yes|是
no|no|否
comma|, |，
until_started|once started|待其启动
until_ready|once ready|待其就绪
until_completed|once completed|待其完成
processes|Processes, threads|进程和线程
open_files|Open files|打开文件
enforcedBy|Enforced by|执行方
notEnforced|Not enforced here|此处不生效
logFiles|Log files|日志文件
maxSize|Rotated at|轮转大小
backups|Earlier files kept|旧文件保留数
watching|Watching|文件监视
watch_active|on|监视中
watch_incomplete|on, but not for all files|已开启，但并非所有文件
watch_suspended|suspended|已中止监视
watch_paused|paused until it is started|已暂停，插件启动后继续
watch_off|off|未监视
watchText|The plugin seems to change these files itself: they have reloaded it three times within ten seconds. List what it writes in ignore, then reload it: that resumes watching. The journal names the files.|插件似乎在自行修改这些文件，10 秒内已因此重载 3 次。请把它写入的文件加入 ignore，再重载插件即可恢复监视。具体文件见活动记录。
watchedPaths|Paths|路径
ignored|Ignored|忽略
debounce|Reload after|重载延迟
seconds|{0} s without a change|停止变化 {0} 秒后
`);

/** What applies to a manifest that does not say otherwise; the service leaves it out. */
const LOGS = { max_size: 10 * 2 ** 20, backups: 3 };
const DEBOUNCE_SECONDS = 0.3;

export class Facts {
  #store;
  #shown;
  #node;

  constructor(node, store) {
    this.#node = node;
    this.#store = store;
  }

  /** @param answer of `GET /plugin/{id}/manifest`, if it is known */
  update(item, answer) {
    const sections = this.#describe(item, answer ?? {});
    const shown = JSON.stringify([sections, t("process")]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#node.replaceChildren(...Object.entries(sections).filter(([, facts]) => facts).map(([name, { note, ...facts }]) =>
      h("section.card", h("h2", t(name)), note && h("p.hint", note), h("dl", Object.entries(facts).map(([fact, value]) => {
        const values = [value ?? []].flat().map((one) =>
          h("dd", one.id ? linkTo(this.#store, one.id) : String(one.text ?? one), one.note && t("bracketed", one.note)));
        return values.length > 0 && h("div", h("dt", t(fact)), values);
      })))));
  }

  #nameOf(id) {
    return this.#store.plugins.get(id)?.name;
  }

  #describe(item, { manifest, folder, warnings }) {
    const isCommand = manifest?.command.length;
    return {
      process: {
        pid: item.pid ?? t("none"),
        since: item.startedAt && formatTime(item.startedAt),
        restarts: item.restarts,
        supervisord: item.state,
        exits: item.exits.length ? item.exits.map((exit) => `${formatTime(exit.at)} · ${describeExit(exit)}`) : t("none"),
      },
      dependencies: (item.depends_on?.length || item.dependents?.length) && {
        dependsOn: item.depends_on?.map(({ id, condition, required }) =>
          ({ id, name: this.#nameOf(id), note: [t(`until_${condition}`), !required && t("optional")].filter(Boolean).join(t("comma")) })),
        neededBy: item.dependents?.map((id) => ({ id, name: this.#nameOf(id) })),
      },
      limits: item.limits && describeLimits(item.limits),
      program: manifest && {
        [isCommand ? "command" : "entry"]: isCommand ? manifest.command.map(quote).join(" ") : manifest.entry,
        Python: manifest.python.version,
        environment: manifest.environment.length ? manifest.environment.map((text) =>
          ({ text, note: manifest.environment_files.includes(text) && t("fromFile") })) : t("none"),
        ...manifest.supervisor,
        ...manifest.restart,
        critical: manifest.critical ? t("yes") : undefined,
        replicas: manifest.replicas > 1 ? manifest.replicas : undefined,
        ...manifest.placement,
      },
      watching: manifest?.watch.paths && describeWatch(item, manifest.watch),
      logFiles: manifest && describeLogs(manifest.logs, this.#store.placesOf),
      manifest: {
        id: item.id,
        folder,
        version: item.version || undefined,
        author: item.author?.name,
        dependencies: item.dependencies?.map((one) => one.id ?? one.entry)
          .filter((one) => one && !item.depends_on?.some(({ id }) => id === one)),
        auto_start: manifest && t(manifest.auto_start ? "yes" : "no"),
        warnings,
      },
    };
  }
}

const describeLimits = ({ memory, cpus, processes, open_files, enforced_by, watched = [], unenforced = [] }) => ({
  memory: memory && formatMemory(memory / 2 ** 20),
  cpus,
  processes,
  open_files,
  enforcedBy: [...new Set([t(enforced_by), ...watched.map(() => t("watched"))])],
  notEnforced: unenforced.map((name) => t(name)),
});

/** @param isCluster there the machines decide what a manifest leaves out */
function describeLogs(logs, isCluster) {
  const { max_size, backups } = isCluster ? logs : { ...LOGS, ...logs };
  if (max_size === undefined && backups === undefined) return undefined;
  return { maxSize: max_size && formatMemory(max_size / 2 ** 20), backups };
}

function describeWatch(item, { paths, ignore, debounce = DEBOUNCE_SECONDS }) {
  const kind = watchOf(item);
  return {
    note: kind === "suspended" && t("watchText"),
    status: t(`watch_${kind}`),
    watchedPaths: paths,
    ignored: ignore,
    debounce: t("seconds", debounce),
  };
}

/** Quotes a word of a command for a shell. */
const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
