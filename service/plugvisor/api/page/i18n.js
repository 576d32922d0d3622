// The page's texts in English and Chinese, and the formats of numbers and times.

const TEXTS = new Map(`
appName|Plugin manager|插件管理
running|Running|运行中
starting|Starting|启动中
stopping|Stopping|停止中
stopped|Stopped|已停止
error|Error|出错
disabled|Disabled|已禁用
flapping|Keeps crashing|反复崩溃
queued|Waiting|等待中
missing|Missing|缺失
healthy|Healthy|健康
unhealthy|Unhealthy|不健康
unready|Not ready yet|尚未就绪
waitsFor|Waits for|等待
lacks|Unmet dependencies:|依赖未满足：
all|All|全部
changing|Changing|变化中
filter|Filter by status|按状态筛选
search|Search plugins|搜索插件
name|Name|名称
status|Status|状态
uptime|Uptime|运行时长
restarts|Restarts|重启
cpu|CPU|CPU
memory|Memory|内存
start|Start|启动
stop|Stop|停止
reload|Reload|重载
startPending|Starting|启动中
stopPending|Stopping|停止中
reloadPending|Reloading|重载中
select|Select|选择
selectAll|Select all shown|全选
selected|{0} selected|已选 {0} 个
clear|Clear|取消选择
killIn|SIGKILL in {0} s|{0} 秒后 SIGKILL
killed|SIGKILL sent|已发送 SIGKILL
retryIn|retry in {0} s|{0} 秒后重试
confirmStop|Stop {0} running plugins?|停止 {0} 个运行中的插件？
confirmReload|Reload {0} running plugins?|重载 {0} 个运行中的插件？
confirmText|Their work is interrupted.|工作会被中断。
alsoStop|Stop those too|也停止它们
cancel|Cancel|取消
dismiss|Dismiss|关闭
refresh|Look for changes|重新扫描
refreshed|Added {0}, changed {1}, removed {2}, invalid {3}|新增 {0}，更改 {1}，移除 {2}，无效 {3}
signInForLog|Sign in to see its log|登录后查看日志
signIn|Sign in|登录
signOut|Sign out|退出登录
adminCode|Admin code|管理员验证码
signInText|Changes, logs and usage need the admin code from the terminal. It is kept until this tab is closed.|更改、日志和指标需要终端里的管理员验证码，保留到此标签页关闭为止。
wrongCode|Wrong code.|验证码不正确。
tooMany|Too many wrong codes. Try again in {0} s.|错误次数过多，请 {0} 秒后再试。
codeRejected|The admin code is wrong or has changed. Sign in again.|管理员验证码不正确或已更改，请重新登录。
signedIn|Signed in|已登录
signedOut|Signed out|已退出登录
connecting|Connecting|连接中
live|Live|实时
lost|Offline|离线
unavailable|No supervisord|supervisord 不可达
lostTitle|Plugvisor cannot be reached.|无法连接 Plugvisor。
lostText|The plugins may still be running.|插件可能仍在运行。
unavailableTitle|supervisord is unavailable.|supervisord 不可用。
staleAge|The states below are {0} old.|所见为 {0} 前的状态。
restartedTitle|The service was restarted.|服务已重启。
restartedText|The plugins kept running.|插件不受影响。
retry|Try now|立即重试
welcome|All plugins, live|所有插件，实时可见
welcomeText|Viewing needs no sign-in; changes need the admin code from the terminal. A plugin is a folder with a plugin.toml:|查看无需登录，更改需要管理员验证码。插件就是一个带有 plugin.toml 的文件夹：
emptyTitle|No plugin yet|还没有插件
emptyText|Create a folder hello in the plugins folder, with your program and this plugin.toml:|在插件目录中新建文件夹 hello，放入你的程序和 plugin.toml：
nothingFound|Nothing matches.|没有符合的内容。
manifestError|Invalid plugin.toml: |plugin.toml 无效：
manifestLine|Invalid plugin.toml, line {0}: |plugin.toml 第 {0} 行无效：
repair|Correct the file, then reload. The smallest valid one is:|请修正该文件后重载。最少只需：
back|All plugins|所有插件
goneTitle|There is no plugin {0}|没有插件 {0}
goneText|It was removed or renamed.|它已被移除或改名。
process|Process|进程
program|Program|程序
manifest|Manifest|清单
pid|Process id|进程号
none|none|无
since|Started|启动于
auto_start|Starts with Plugvisor|自动启动
exits|Last exits|最近退出
exitCode|exit code {0}|退出码 {0}
command|Command|命令
entry|Entry|入口
environment|Environment|环境变量
folder|Folder|文件夹
warnings|Warnings|警告
version|Version|版本
author|Author|作者
dependencies|Dependencies|依赖关系
dependsOn|Depends on|依赖
neededBy|Needed by|被依赖
dependency|Dependency|依赖
optional|optional|可选
until_started|started|已启动
until_ready|ready|已就绪
until_completed|completed|已完成
graph|Dependency graph|依赖图
graphText|What is on the left starts first. Dashed: optional.|左侧的先启动。虚线表示可选。
asList|As a list|以列表显示
close|Close|关闭
checks|Checks|检查
check_up|Up|通过
check_down|Down|失败
check_starting|Not up yet|尚未通过
ready|ready|就绪
alive|alive|存活
failures|{0} failures in a row|连续失败 {0} 次
limits|Limits|限制
limit|Limit {0}: {1}|限制 {0}：{1}
cpus|CPUs|CPU 数
processes|Processes, threads|进程和线程
open_files|Open files|打开文件
enforcedBy|Enforced by|执行者
cgroup|the kernel (cgroup)|内核（cgroup）
rlimit|the kernel (rlimit)|内核（rlimit）
watch|Plugvisor, by measuring|Plugvisor（测量）
watched|Plugvisor, by measuring|Plugvisor（测量）
unenforced|not enforced here|此处未强制
notEnforced|Not enforced here|此处未强制
figures|Last minutes|最近几分钟
threads|Threads|线程
chart|{0}: now {1}, at most {2} in the last minutes|{0}：当前 {1}，最近几分钟最高 {2}
most|max {0}|最高 {0}
signInForFigures|Sign in to see usage, program and log.|登录后可见指标、程序和日志。
log|Log|日志
searchLog|Search the log|搜索日志
level|Level|级别
anyLevel|All levels|所有级别
pause|Pause|暂停
resume|Resume|继续
waiting|{0} new lines|{0} 行新日志
download|Download|下载
logLost|The log is interrupted.|日志流已中断。
emptyLog|No output yet.|还没有输出。
language|中文|English
theme|Theme: {0}|主题：{0}
auto|system|跟随系统
light|light|浅色
dark|dark|深色
sort|Sort by|排序`.trim().split("\n").map((line) => line.split("|")).map(([key, ...texts]) => [key, texts]));

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
  return parts.join(" ");
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
