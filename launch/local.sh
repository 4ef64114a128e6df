#!/usr/bin/env bash
# One run as several processes on this machine, over the loopback interface, to try out what a cluster
# does. (Without a cluster one process is enough: varmixup_jax.main uses all devices it sees.)
#
#     bash launch/local.sh --processes=2 --devices=2 -- --config=configs/digits.py --workdir=runs/a
#
# in a clone of this repository; the words after -- go to varmixup_jax.main. Nothing to edit.
#
#   --processes=N   how many (default 2)
#   --devices=N     pretend that each process has N CPU devices; default: the devices that JAX finds
#   --port=N        of the coordinator (default: a free one)
#   --dry-run       print the commands and do nothing
#   --help          print this
#   PYTHON          the interpreter (default: the first python found)
#   GRACE           seconds from SIGTERM to SIGKILL, if a process has failed (default 10)
#
# Every line of output begins with the number of its process. If a process fails, the others are
# ended. SIGTERM and Ctrl-C are passed on as SIGTERM, on which a run saves its state.
#
# Exit code: that of the first process that failed, or 0.

set -euo pipefail

processes=2 devices="" port="" dry=""
while (($#)); do
    case $1 in
    --processes=*) processes=${1#*=} ;;
    --devices=*) devices=${1#*=} ;;
    --port=*) port=${1#*=} ;;
    --dry-run) dry=yes ;;
    --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --)
        shift
        break
        ;;
    *)
        echo "error: argument '$1': not understood, words for varmixup_jax.main follow a --" >&2
        exit 2
        ;;
    esac
    shift
done
for field in "processes $processes" "devices ${devices:-1}" "port ${port:-1}"; do
    if ! [[ ${field#* } =~ ^[1-9][0-9]{0,4}$ ]]; then
        echo "error: --${field% *} = '${field#* }': must be a whole number >= 1" >&2
        exit 2
    fi
done

python=${PYTHON:-python}
free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
[ -n "$port" ] || port=$("$python" -c "$free_port")
if [ -n "$devices" ]; then
    export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="$devices"
    echo "+ export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=$devices"
fi

pids=() code=0 asked=""
end_all() { # SIGNAL
    for pid in "${pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
trap '[ -n "$asked" ] || { asked=yes; end_all TERM; }' TERM INT

for ((i = 0; i < processes; i++)); do
    command=("$python" -m varmixup_jax.main "$@" "--coordinator=127.0.0.1:$port")
    command+=("--num_processes=$processes" "--process_id=$i")
    # In one write, so that processes already running do not print into the line.
    printf -v line ' %q' "${command[@]}"
    printf '+%s\n' "$line"
    [ -z "$dry" ] || continue
    "${command[@]}" > >(sed -u "s/^/$i: /") 2>&1 &
    pids[i]=$!
done

# A failed process leaves the others waiting for it: SIGTERM, GRACE seconds later SIGKILL.
deadline=""
while ((${#pids[@]})); do
    for i in "${!pids[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null && continue
        ended=0
        wait "${pids[i]}" || ended=$?
        unset "pids[i]"
        ((ended)) || continue
        echo "process $i ended with code $ended" >&2
        ((code)) || code=$ended
    done
    if ((code)) && [ -z "$deadline" ]; then
        deadline=$((SECONDS + ${GRACE:-10}))
        [ -n "$asked" ] || end_all TERM
        asked=yes
    fi
    if [ -n "$deadline" ] && ((SECONDS > deadline)); then end_all KILL; fi
    if ((${#pids[@]})); then sleep 0.2; fi
done
exit "$code"
