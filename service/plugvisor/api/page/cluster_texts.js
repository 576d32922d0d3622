// The texts of what only a swarm has; see i18n.js. Some take the place of those of supervisord.

export const TEXTS = `
unavailable|No swarm|集群不可达
unavailableTitle|The swarm is unavailable.|集群不可用。
swarm|The swarm|集群
supervisord|State|状态
nodes||节点
lostNodes|{0} lost|{0} 个失联
nodesText|The machines of the swarm, which decides on which of them each plugin runs.|集群中的机器；每个插件在哪台上运行由集群决定。
node_ready|Ready|就绪
node_down|Lost|失联
node_disconnected|Lost|失联
node_unknown|Unknown|未知
node_drain|drained|已排空
node_pause|paused|已暂停
manager|manager|管理节点
worker|worker|工作节点
leader|leader|领导者
taskCount|Tasks: {0}|任务：{0}
memoryOf|{0} of memory|内存 {0}
tasks||任务
replica|Replica {0}|副本 {0}
noNode|no node yet|尚未分配节点
task_new|New|新建
task_pending|Waits for a node|等待节点
task_assigned|Assigned|已分配
task_accepted|Accepted|已接受
task_preparing|Preparing|准备中
task_ready|Ready to start|准备启动
task_starting|Starting|启动中
task_running|Running|运行中
task_complete|Ended|已结束
task_shutdown|Shut down|已关闭
task_failed|Failed|失败
task_rejected|Rejected|被拒绝
task_remove|Being removed|移除中
task_orphaned|Lost|失联
mayRun|Its node is lost: it may still run there.|所在节点失联：可能仍在运行。
`;
