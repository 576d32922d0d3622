// The texts of what only admins can do; see i18n.js.

export const TEXTS = `
operations||操作
aPlugin|a plugin|插件
running_install|Installing {0}|正在安装 {0}
running_update|Updating {0}|正在更新 {0}
running_rollback|Rolling back {0}|正在回滚 {0}
running_uninstall|Removing {0}|正在移除 {0}
succeeded_install|{0} is installed|已安装 {0}
succeeded_update|{0} is updated|已更新 {0}
succeeded_rollback|{0} is rolled back|已回滚 {0}
succeeded_uninstall|{0} is removed|已移除 {0}
failed_install|{0} could not be installed|无法安装 {0}
failed_update|{0} could not be updated|无法更新 {0}
failed_rollback|{0} could not be rolled back|无法回滚 {0}
failed_uninstall|{0} could not be removed|无法移除 {0}
cancelled|Cancelled: {1} {0}|已取消：{1} {0}
interrupted|Interrupted: {1} {0}|已中断：{1} {0}
phase_received|Received|已接收
phase_verified|Verified|已验证
phase_environment|Environment|构建环境
phase_swap|Switch over|切换版本
phase_start|Start|启动
unchanged|this package was current already|该插件包已是当前版本
showLog|Show log|显示日志
hideLog|Hide log|隐藏日志
updateInstead|Update instead|改为更新
entryName|Entry of the package:|包中的条目：
rolledBack|The version before is current again.|已恢复为之前的版本。
notRolledBack|The version before is not current again.|未能恢复为之前的版本。
lastLines|Last lines|最后几行
installPackage|Install…|安装…
installTitle|Install a plugin|安装插件
updateTitle|Update {0}|更新 {0}
installationOff|Plugins cannot be installed here: {0}|此处无法安装插件：{0}
package||插件包
packageText|A .zip or .tar.gz of at most {0} MB. It can be dropped on the page, too.|.zip 或 .tar.gz，最大 {0} MB。也可以拖放到页面上。
dropHere|Drop the package here|将插件包拖放到此处
onePackage|Drop one package at a time.|请一次拖放一个插件包。
file||文件
size||大小
computing|computing…|计算中…
notComputed|not computed: the page was not loaded by HTTPS|未计算：页面不是通过 HTTPS 加载
startAfter|Start it afterwards|安装后启动
replaceIt|Update it if it is installed already|若已安装则更新
installText|The package is verified and its environment is built before anything changes.|会先验证插件包并构建环境，完成后才做更改。
updateText|The package is verified and its environment is built while the present version goes on. Then {0} is restarted if it runs; if the new version does not get ready, the present one is started again.|先验证插件包并构建环境，当前版本继续运行。随后若 {0} 正在运行则重启；如果新版本未能就绪，会重新启动当前版本。
uploading|Sending…|发送中…
waitingForAnswer|Sent. Waiting for the answer…|已发送，等待响应…
tooLarge|The package is larger than {0} MB.|插件包超过 {0} MB。
noPackage|This is neither a .zip nor a .tar.gz.|这不是 .zip 或 .tar.gz 文件。
unreadable|The file cannot be read.|无法读取文件。
versions||版本
byHand|It was put there by hand: it has no versions to update or roll back.|它是手动放置的，没有可更新或回滚的版本。
current|current|当前
previous|previous|上一个
installedBy|{0} by {1}|{0}，由 {1} 安装
ownEnvironment|own environment {0}|独立环境 {0}
updatePackage|Update…|更新…
rollBack|Roll back…|回滚…
removePlugin|Remove…|移除…
editManifest|Edit plugin.toml…|编辑 plugin.toml…
rollBackTitle|Roll {0} back to {1}?|将 {0} 回滚到 {1}？
rollBackText|Version {1} becomes current in place of {0}, which is kept.|版本 {1} 将取代 {0} 成为当前版本，{0} 会保留。
restartText|{0} is restarted. If that version does not get ready, the present one is started again.|{0} 将重启。如果该版本未能就绪，会重新启动当前版本。
notRunningText|{0} does not run, and is not started.|{0} 未在运行，也不会被启动。
removeTitle|Remove {0}?|移除 {0}？
stepStop|{0} is stopped.|停止 {0}。
stepDependents|It is required by|依赖它的有
stepVersions|Its versions are removed: {0}.|移除其版本：{0}。
stepData|Its data is kept, unless you say otherwise:|它的数据会保留，除非你选择：
purge|Delete its data too, for ever|同时永久删除数据
typeId|To confirm, type {0}|请输入 {0} 以确认
editTitle|plugin.toml of {0}|{0} 的 plugin.toml
earlier|Earlier texts|历史内容
noEarlier|No earlier texts|没有历史内容
earlierOne|until {0}, replaced by {1}|{0} 之前，由 {1} 替换
earlierTaken|An earlier text. It is not saved yet.|已载入历史内容，尚未保存。
tabHint|Tab indents. Esc, then Tab leaves the field.|Tab 键缩进；先按 Esc 再按 Tab 离开输入框。
tabLeaves|Tab leaves the field now.|现在 Tab 键会离开输入框。
updateBringsOwn|An update or a rollback brings a plugin.toml of its own.|更新或回滚后，会改用相应版本自带的 plugin.toml。
notWritable|This file cannot be written by the user that runs the plugins.|运行插件的用户无法写入此文件。
review|Review changes|查看更改
reviewTitle|What will be saved|将保存的更改
backToText|Back to the text|返回编辑
save||保存
saved|Saved.|已保存。
nothingChanged|Nothing has changed.|没有更改。
reloadNeeded|The plugin runs with the text before: reload it.|插件仍按之前的内容运行，请重载。
noReload|No reload is needed.|无需重载。
reloading|Reloading…|重载中…
reloaded|Reloaded.|已重载。
atLine|Line {0}:|第 {0} 行：
atColumn|Line {0}, column {1}:|第 {0} 行第 {1} 列：
goToLine|Go to line {0}|转到第 {0} 行
added|added|新增
removed|removed|删除
differences|{0} lines added, {1} removed|新增 {0} 行，删除 {1} 行
conflictTitle|It was changed meanwhile|内容已被他人更改
conflictText|Red is what the newer text has, green what yours has in its place.|红色是较新的内容，绿色是你的内容。
takeNewer|Take the newer text|采用较新的内容
overwrite|Overwrite it|覆盖
discardTitle|Discard your changes?|放弃更改？
discardText|They were not saved.|更改尚未保存。
discard||放弃
`;
