#!/usr/bin/env bash
# Two kills at system calls of a save, then the rest of the run: it has to end with the bits of a run that nobody killed.
#
#   .ci/double-crash.sh [BINARY]      (without one, mtl is built)
#
# The first kill meets a run at a call that touches its checkpoints, from its second save on; the second one meets the
# run that goes on from there, from its start to the end of its first save. FIRST and SECOND thin them out: every
# FIRST-th call that changes names (and every 3·FIRST-th other one), and so on; 1 and 1 are all pairs.
# Needs strace, whose injection kills the process when it enters the call.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v strace >/dev/null || { echo "skipped: strace is not installed"; exit 77; }
if ! strace -f -o /dev/null true 2>/dev/null; then echo "skipped: strace may not trace here"; exit 77; fi
first_stride=${FIRST:-4} second_stride=${SECOND:-6}

binary=${1:-}
if [ -z "$binary" ]; then
  cargo build --release --package mtl-cli --bin mtl
  binary=${CARGO_TARGET_DIR:-target}/release/mtl
fi
binary=$(realpath "$binary")

# One thread: ordinals of calls are counted by thread.
export RAYON_NUM_THREADS=1 HF_HUB_OFFLINE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

names=mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir
others=openat,write,fsync
arguments=(train embedded --offline --set 'tasks=["planted-topic","planted-tags"]' --set train.steps=3
  --set train.save_every=1 --set train.batch=2 --set train.limit=40 --set train.max_tokens=24 --set evaluation.every=0
  --set evaluation.dev_limit=8 --set evaluation.test_limit=8)

train() { "$binary" "${arguments[@]}" --out run "$@" >out 2>&1 </dev/null; }
# Of a finished run: the bits of weights, moments, rule states and scores.
bits() {
  (cd run && sha256sum checkpoints/last/{model,optimizer,sharing}.safetensors checkpoints/best/model.safetensors &&
    sed -E 's/"(seconds|cpu_seconds)":[0-9.e-]+//g' checkpoints/last/state.json | sha256sum &&
    grep -vE '"(seconds|tokens_per_second|test_opened_at)"' report.json | sha256sum) | sha256sum
}
logged() { strace -f -y -qq -o log -e "trace=$names,$others" "$binary" "${arguments[@]}" --out run "$@" >out 2>&1 </dev/null; }
# killed CALL ORDINAL [--resume]: a run that is killed there.
killed() {
  local call=$1 ordinal=$2
  shift 2
  # The shell would tell of every process that is killed.
  {
    strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=SIGKILL:when=$ordinal" \
      "$binary" "${arguments[@]}" --out run "$@" >out 2>&1 </dev/null && return 1 || [ $? -eq 137 ]
  } 2>/dev/null
}
# positions FROM TO STRIDE: calls of the main thread in `log` that touch the run folder's checkpoints, as `CALL ORDINAL`,
# from the FROM-th time that a save begins (0: the start) to just before the TO-th (0: the end), thinned.
positions() {
  awk -v from="$1" -v to="$2" -v stride="$3" -v names=",$names," '
    NR == 1 { main = $1 }
    $1 != main { next }
    match($0, /[a-z0-9]+\(/) {
      call = substr($0, RSTART, RLENGTH - 1)
      ordinal[call]++
      # Every file of a save asks for the folder; the first one makes it.
      if (call ~ /^mkdir/ && /checkpoints\/\.last\.new".* = 0$/) saves++
      if (saves < from || (to > 0 && saves >= to) || !/run\/(checkpoints|\.writing)|run\/encoder\/\.writing/) next
      if (index(names, "," call ",")) { if (named++ % stride == 0) print call, ordinal[call] }
      else if (other++ % (3 * stride) == 0) print call, ordinal[call]
    }' log
}

logged || { cat out; exit 1; }
wanted=$(bits)
positions 2 0 "$first_stride" >firsts
rm -rf run
[ -s firsts ] || { echo "no call of a save was found in strace's log"; exit 1; }

tried=0 single=0 lost=0 different=0 left=0 missed=0
# judge WHAT: how the run that went on ended.
judge() {
  if [ "$2" -ne 0 ]; then
    lost=$((lost + 1))
    echo "lost: $1: $(tail -n 1 out)"
  elif [ "$(bits)" != "$wanted" ]; then
    different=$((different + 1))
    echo "different: $1"
  elif [ -n "$(find run -name '.writing-*' -o -name '*.new')" ]; then
    left=$((left + 1))
    echo "left over: $1: $(find run -name '.writing-*' -o -name '*.new' | tr '\n' ' ')"
  fi
}

while read -r call ordinal <&3; do
  rm -rf run
  killed "$call" "$ordinal" || { missed=$((missed + 1)); continue; }
  rm -rf after && cp -a run after
  logged --resume && ended=0 || ended=$?
  judge "$call $ordinal" "$ended"
  single=$((single + 1))
  positions 0 2 "$second_stride" >seconds
  while read -r again at <&4; do
    rm -rf run && cp -a after run
    killed "$again" "$at" --resume || { missed=$((missed + 1)); continue; }
    train --resume && ended=0 || ended=$?
    judge "$call $ordinal, then $again $at" "$ended"
    tried=$((tried + 1))
  done 4<seconds
done 3<firsts

echo "single kills: $single; pairs of kills: $tried; lost: $lost; different: $different; left over: $left; not met: $missed"
[ "$tried" -gt 0 ] && [ "$lost$different$left" = 000 ]
