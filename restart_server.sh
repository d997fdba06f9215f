#!/bin/sh
# Restart a process of PM2 gracefully, and wait until it is online and stable.
#
#   restart_server.sh [process]      (default: student-attendance-django)
#
# gunicorn gets SIGHUP: its port stays open while its workers are replaced. A cluster is
# reloaded. Anything else is restarted by PM2, with a gap.
# Exit codes: 0 restarted, 2 wrong usage, 3 no PM2 daemon runs, 4 PM2 does not know the process,
# 5 the restart was refused, 6 the process did not become stable.
set -eu

process=${1:-student-attendance-django}
pm2=${PM2:-pm2}
pm2_home=${PM2_HOME:-$HOME/.pm2}

fail() { echo "restart_server.sh: $2" >&2; exit "$1"; }

# Prints "pid status restarts way". Only these: jlist holds the whole environment.
look() {
    "$pm2" jlist --silent --no-color | node -e '
        const lines = require("fs").readFileSync(0, "utf8").split("\n");
        const list = JSON.parse(lines.find((line) => /^\[(\{|\])/.test(line)));
        const { pid, pm2_env: env } = list.find((each) => each.name === process.argv[1]) || process.exit();
        const command = [env.pm_exec_path].concat(env.args || []).join(" ");
        const way = env.exec_mode === "cluster_mode" ? "reload"
            : pid && command.includes("gunicorn") ? "SIGHUP" : "restart";
        console.log(pid, env.status, env.restart_time, way);' -- "$process"
}

# A process with its children, so that workers that come, go or die are noticed.
family() { echo "$1 $(cat "/proc/$1/task/$1/children" 2>/dev/null || echo gone)"; }

case "$#$process" in [2-9]* | ?-*) fail 2 "usage: restart_server.sh [process]" ;; esac
# Any pm2 command would start an empty daemon where none runs.
kill -0 "$(cat "$pm2_home/pm2.pid" 2>/dev/null)" 2>/dev/null ||
    fail 3 "no PM2 daemon runs for PM2_HOME=$pm2_home"
found=$(look)
[ -n "$found" ] || fail 4 "PM2 knows no process '$process'; see: pm2 list"
pid=${found%% *} way=${found##* }
before=$(family "$pid")
if [ "$way" = SIGHUP ]; then kill -HUP "$pid"; else "$pm2" "$way" "$process" --silent; fi ||
    fail 5 "could not restart '$process' ($way); see: pm2 logs $process"

# Stable: the same new processes in 8 looks in a row, about 3 seconds.
same=0 last='' looks=0
while [ "$same" -lt 8 ]; do
    sleep 0.2
    [ $((looks += 1)) -le 150 ] || fail 6 "'$process' does not come to rest; see: pm2 logs $process"
    found=$(look) pid=${found%% *} now="$found $(family "$pid")"
    case $now in
    *errored* | *stopped*) fail 6 "'$process' is not online after its restart; see: pm2 logs $process" ;;
    *" online "*gone | *" $before") same=0 ;;
    "$last") same=$((same + 1)) ;;
    *) same=0 ;;
    esac
    last=$now
done
echo "restarted $process ($way), pid $pid"
