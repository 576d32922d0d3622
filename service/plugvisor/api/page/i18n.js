// The page's texts in English and Chinese, and the formats of numbers and times. An English text that is its key with a
// capital letter is left out.

const TEXTS = new Map();

/** Adds texts: a line is `key|English|Chinese`. */
export function addTexts(lines) {
  for (const [key, english, chinese] of lines.trim().split("\n").map((line) => line.split("|"))) {
    TEXTS.set(key, [english || key[0].toUpperCase() + key.slice(1), chinese]);
  }
}

addTexts(`
appName|Plugin manager|插件管理
running||运行中
starting||启动中
stopping||停止中
stopped||已停止
error||出错
disabled||已禁用
flapping|Keeps crashing|反复崩溃
queued|Waiting|等待中
missing||缺失
healthy||健康
unhealthy||不健康
unready|Not ready yet|尚未就绪
waitsFor|Waits for|等待
lacks|Unmet dependencies:|依赖未满足：
listed_suspended|Watching suspended|文件监视已中止
listed_incomplete|Not all files are watched|未监视全部文件
all||全部
changing||变化中
filter|Filter by status|按状态筛选
search|Search plugins|搜索插件
name||名称
status||状态
uptime||运行时长
restarts||重启
cpu|CPU|CPU
memory||内存
start||启动
stop||停止
reload||重载
startPending|Starting|启动中
enable||启用
disable||禁用
forget||不再记住
stopPending|Stopping|停止中
reloadPending|Reloading|重载中
enablePending|Enabling|启用中
disablePending|Disabling|禁用中
select||选择
selectAll|Select all shown|全选
selected|{0} selected|已选 {0} 个
clear||取消选择
killIn|SIGKILL in {0} s|{0} 秒后 SIGKILL
killed|SIGKILL sent|已发送 SIGKILL
retryIn|retry in {0} s|{0} 秒后重试
confirmStop|Stop {0} plugins?|停止 {0} 个插件？
confirmReload|Reload {0} running plugins?|重载 {0} 个运行中的插件？
confirmText|Their work is interrupted.|工作会被中断。
alsoStop|Stop those too|一并停止
cancel||取消
dismiss||关闭
refresh|Look for changes|重新扫描
refreshed|Added {0}, changed {1}, removed {2}, invalid {3}|新增 {0}，更改 {1}，移除 {2}，无效 {3}
signInForJournal|Sign in to see the journal|登录后查看活动记录
signInForLog|Sign in to see its log|登录后查看日志
signIn|Sign in|登录
signOut|Sign out|退出登录
adminCode|Token or admin code|令牌或管理员验证码
signInText|With a token or the admin code from the terminal, kept until this tab is closed.|使用令牌，或终端中显示的管理员验证码。仅保留到此标签页关闭为止。
wrongCode|Wrong token or code.|令牌或验证码不正确。
tooMany|Too many wrong codes. Try again in {0} s.|错误次数过多，请 {0} 秒后再试。
codeRejected|The token or admin code is wrong or no longer valid. Sign in again.|令牌或管理员验证码不正确或已失效，请重新登录。
signedIn|Signed in|已登录
signedOut|Signed out|已退出登录
role_viewer|viewer|查看者
role_operator|operator|操作员
role_admin|admin|管理员
needsRole|This needs the role {0}.|需要“{0}”角色。
notYours|You may see this, but not change it.|你可以查看，但无权更改。
expires|until {0}|有效期至 {0}
locked|Not signed in|未登录
lockedTitle|Sign in to see the plugins|登录后查看插件
wanted_running|Started by {0}, {1}. Starts again after a restart.|由 {0} 于 {1} 启动；重启后仍会启动。
wanted_stopped|Stopped by {0}, {1}. Stays stopped after a restart.|由 {0} 于 {1} 停止；重启后保持停止。
wanted_disabled|Disabled by {0}, {1}. It cannot be started until it is enabled.|由 {0} 于 {1} 禁用；启用之前无法启动。
forgetText|Then plugin.toml decides again|之后重新由 plugin.toml 决定
forgetfulTitle|Changes are not remembered.|更改无法保存。
forgetfulText|They work, but may be lost at a restart, and the journal has a gap.|操作仍会生效，但重启后可能丢失，活动记录也会有缺口。
setAsideTitle|The database was broken.|数据库已损坏。
setAsideText|It is now {0}; a new one has what could be read.|原文件已改名为 {0}，能读出的内容已存入新数据库。
journal||活动记录
journalLost|The journal is interrupted.|活动记录已中断。
older||更早
nothingHappened|Nothing has happened.|暂无记录。
timesSince|{0} times since {1}|自 {1} 起 {0} 次
by|by {0}|操作者 {0}
plugin||插件
kind||类别
add||添加
remove||移除
rotate||更换
recover||恢复
suspend|Suspend watching|中止监视
resumed|Resume watching|恢复监视
install||安装
update||更新
rollback|Roll back|回滚
uninstall|Remove|移除
configure||配置
store||存储
it_started|started|已启动
it_stopped|stopped|已停止
it_restarted|restarted|已重启
it_lost|lost|失去连接
it_back|back|恢复连接
it_available|available|可用
it_unavailable|unavailable|不可用
it_replaced|replaced|已替换
it_incomplete|incomplete|不完整
anyKind|All kinds|所有类别
state|States|状态
operation|Operations|操作
identity|Identities|身份
installation|Installations|安装
service||服务
hours|Time|时间
anyTime|At any time|所有时间
lastHours|Last {0} h|最近 {0} 小时
connecting||连接中
live||实时
lost|Offline|离线
unavailable||不可用
lostTitle|Plugvisor cannot be reached.|无法连接 Plugvisor。
lostText|The plugins may still be running.|插件可能仍在运行。
unavailableTitle|The engine is unavailable.|引擎不可用。
staleAge|The states below are {0} old.|以下是 {0} 前的状态。
restartedTitle|The service was restarted.|服务已重启。
restartedText|The plugins kept running.|插件不受影响。
retry|Try now|立即重试
welcome|All plugins, live|所有插件，实时可见
welcomeText|Changes need a token or the admin code from the terminal. A plugin is a folder with a plugin.toml:|更改时需要令牌或终端中显示的管理员验证码。插件就是一个带有 plugin.toml 的文件夹：
emptyTitle|No plugin yet|还没有插件
emptyText|Create a folder hello in the plugins folder, with your program and this plugin.toml:|在插件目录中新建文件夹 hello，放入你的程序和 plugin.toml：
nothingFound|Nothing matches.|没有匹配的结果。
manifestError|Invalid plugin.toml: |plugin.toml 无效：
manifestLine|Invalid plugin.toml, line {0}: |plugin.toml 第 {0} 行无效：
repair|Correct the file, then reload. The smallest valid one is:|请修正该文件，然后重载。最简示例：
back|All plugins|所有插件
goneTitle|There is no plugin {0}|找不到插件 {0}
goneText|It may have been removed or renamed.|它可能已被移除或改名。
pid|Process id|进程号
none|none|无
exitCode|exit code {0}|退出码 {0}
version||版本
dependencies||依赖关系
dependsOn|Depends on|依赖
neededBy|Needed by|被依赖
dependency||依赖
optional|optional|可选
graph|Dependency graph|依赖图
graphText|What is on the left starts first. Dashed: optional.|左侧的先启动，虚线表示可选依赖。
asList|As a list|以列表显示
close||关闭
checks||健康检查
check_up|Up|通过
check_down|Down|失败
check_starting|Not up yet|尚未通过
ready|ready|就绪
alive|alive|存活
failures|{0} failures in a row|连续失败 {0} 次
limits||资源限制
limit|Limit {0}: {1}|上限 {0}（{1}）
cpus|CPUs|CPU 数
cgroup|the kernel (cgroup)|内核 cgroup
rlimit|the kernel (rlimit)|内核 rlimit
watch|Plugvisor, by measuring|Plugvisor 监测
watched|Plugvisor, by measuring|Plugvisor 监测
unenforced|not enforced here|此处不生效
figures|Last minutes|最近几分钟
threads||线程
chart|{0}: now {1}, at most {2} in the last minutes|{0}：当前 {1}，最近几分钟最高 {2}
most|max {0}|最高 {0}
signInForFigures|Sign in to see usage, journal and log.|登录后查看指标、活动记录和日志
log||日志
searchLog|Search the log|搜索日志
level||级别
anyLevel|All levels|所有级别
pause||暂停
resume||继续
waiting|{0} new lines|{0} 行新日志
download||下载
logLost|The log is interrupted.|日志流已中断。
emptyLog|No output yet.|暂无输出。
language|中文|English
theme|Theme: {0}|主题：{0}
auto|system|跟随系统
light|light|浅色
dark|dark|深色
sort|Sort by|排序
`);

/** `en` or `zh`: the language chosen in the page, else the browser's first that the page has. */
export let language =
  localStorage.getItem("plugvisor.language") ??
  navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "zh" || tag === "en") ??
  "en";

/** Sets the language and remembers it. */
export function setLanguage(chosen) {
  language = chosen;
  localStorage.setItem("plugvisor.language", chosen);
}

/** Returns a text with `{0}`, `{1}` … filled in; a key without a text, such as a supervisord option, is its own text. */
export function t(key, ...values) {
  return (TEXTS.get(key)?.[language === "zh" ? 1 : 0] ?? key).replace(/\{(\d)\}/g, (_, index) => values[index]);
}

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");
const UNITS = { en: "dhms", zh: "天时分秒" };
const SIZES = [86400, 3600, 60, 1];

/** Formats a duration with its two largest units: `3d 04h`, `4h 05m`, `5m 07s`, `7s`. */
export function formatDuration(seconds) {
  const first = SIZES.findIndex((size) => seconds >= size || size === 1);
  const parts = SIZES.slice(first, first + 2).map((size, index) => {
    const count = String(Math.floor((index ? seconds % SIZES[first] : seconds) / size));
    return count.padStart(1 + index, 0) + UNITS[language][first + index];
  });
  return parts.join(language === "zh" ? "" : " ");
}

export const formatNumber = (number, digits = 0) =>
  new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(number);

export const formatPercent = (percent) => `${formatNumber(percent, percent < 10 ? 1 : 0)} %`;

export const formatMemory = (megabytes) =>
  megabytes < 1024 ? `${formatNumber(megabytes, megabytes < 10 ? 1 : 0)} MB` : `${formatNumber(megabytes / 1024, 1)} GB`;

/** Formats a time of day, with the date unless it is today's. */
export function formatTime(time) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString(locale(), isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" });
}
