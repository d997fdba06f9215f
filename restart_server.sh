#!/bin/sh
# Restart a process of PM2 gracefully, and wait until it is online and stable.
#
#   restart_server.sh [process]      (default: student-attendance-django)
#
# gunicorn, alone or behind admin_management.serve, gets SIGHUP: its port stays open meanwhile.
# A cluster is reloaded. Anything else is restarted by PM2, with a gap. The new processes must stay
# up for STABLE_SECONDS (default 3; 0 does not wait). Exit codes: 0 restarted, 2 wrong usage, 3 no
# PM2 daemon runs, 4 PM2 does not know the process, 5 it was refused, 6 nothing stable came of it.
set -eu
process=${1:-student-attendance-django}
pm2=${PM2:-pm2}
pm2_home=${PM2_HOME:-$HOME/.pm2}
stable=${STABLE_SECONDS:-3}
fail() { echo "restart_server.sh: $2" >&2; exit "$1"; }
# The living pids by PM2's own files: asking PM2 would cost half a second each time.
pids() {
    prefix=$pm2_home/pids/$(printf %s "$process" | tr -c 'a-zA-Z0-9.-' '-')-
    for file in "$prefix"*.pid; do
        number=${file#"$prefix"}
        case ${number%.pid} in '' | *[!0-9]*) continue ;; esac
        pid=$(cat "$file" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && echo "$pid"
    done
}

# The processes with their children, so that workers that come, go or die are noticed.
family() { for pid in $(pids); do echo "$pid" "$(cat "/proc/$pid/task/$pid/children")"; done; }

# "cluster_mode" or "fork_mode", if PM2 knows it. Only that: jlist holds the whole environment.
mode() {
    "$pm2" jlist --silent --no-color | node -e '
        const lines = require("fs").readFileSync(0, "utf8").split("\n");
        const list = JSON.parse(lines.find((line) => /^\[(\{|\])/.test(line)));
        console.log(list.find((each) => each.name === process.argv[1])?.pm2_env.exec_mode ?? "");' -- "$process"
}

case "$#$process" in [2-9]* | ?-*) fail 2 "usage: restart_server.sh [process]" ;; esac
# Any pm2 command would start an empty daemon where none runs.
kill -0 "$(cat "$pm2_home/pm2.pid" 2>/dev/null)" 2>/dev/null ||
    fail 3 "no PM2 daemon runs for PM2_HOME=$pm2_home"
before=$(family) first=$(pids | head -n 1)
# A shell around gunicorn would die of SIGHUP.
if readlink "/proc/${first:-none}/exe" | grep -q python && grep -q gunicorn "/proc/$first/cmdline"; then
    way=SIGHUP
    # shellcheck disable=SC2046 # one word for each pid
    kill -HUP $(pids) || fail 5 "could not signal '$process'"
else
    case $(mode) in cluster_mode) way=reload ;; fork_mode) way=restart ;;
        *) fail 4 "PM2 knows no process '$process'; see: pm2 list" ;; esac
    "$pm2" "$way" "$process" --silent || fail 5 "PM2 refused to $way '$process'; see: pm2 logs"
fi
same=0 last='' looks=0
while [ "$same" -lt $((stable * 5)) ]; do
    sleep 0.2
    [ $((looks += 1)) -le $((stable * 5 + 150)) ] || fail 6 "'$process' has no new processes that stay up; see: pm2 logs $process"
    now=$(family)
    case $now in "" | "$before") same=0 ;; "$last") same=$((same + 1)) ;; *) same=0 ;; esac
    last=$now
done
echo "restarted $process ($way), pid $(pids | tr '\n' ' ')"
