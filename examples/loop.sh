#!/usr/bin/env bash
# What the recipes of the loop ask the shell: which steps remain, which shard is next, which policy is the newest.
#
#     examples/loop.sh steps make RUN/step-000040/loop.done      # every step that is not done, up to this stamp
#     examples/loop.sh next-shard STEP_FOLDER FOLDER_BEFORE SHARDS DYNAMIC SPREAD
#     examples/loop.sh newest-policy RUN
#     examples/loop.sh other-summary FOLDER STEP_FOLDER          # FOLDER/summary.json, if it is of another policy
#     examples/loop.sh clean RUN
set -euo pipefail

SHOWN=4 # steps of a dry run

fail() {
  echo "loop.sh: $1" >&2
  exit 1
}

# Runs a make for each step that is not done, one after another. A lock is held meanwhile: when make was killed and a
# stage still works, a loop that is started again waits for it.
steps() {
  local make=$1 run=${2%/step-*} folder=${2%/*} step end last stamp make_step
  stamp=$run/eval/000000/summary.json last=$((10#${folder##*step-}))
  ((last > 0)) || fail "$2: steps count from 1; give STEPS"
  is_dry_run || lock "$run"
  for ((step = $(first_to_do "$run" "$last"), end = step + SHOWN; step <= last; step++)); do
    printf -v folder '%s/step-%06d' "$run" "$step"
    make_step=("$make" --no-print-directory -f examples/loop.mk STEP="$step")
    if is_dry_run; then
      ((step < end)) || break
      make_step+=(-o "$stamp") # as if it were there
    elif is_orphan; then
      fail "make was killed"
    fi
    is_dry_run || forget_later_stamps "$folder"
    stamp=$folder/loop.done
    ((step < last)) || stamp=$folder/${2##*/}
    "${make_step[@]}" "$stamp"
  done
  ((step > last)) || echo "# ... and $((last - step + 1)) more steps like these, up to $2"
}

lock() {
  exec 9> "$1/loop.lock" # stages inherit it; the engine and the resident stages do not
  flock --nonblock 9 && return
  echo "loop.sh: $1: waits for another loop that still works there" >&2
  flock 9
}

# The first step of the run whose last stamp is missing, at most LAST.
first_to_do() {
  local step folder
  for ((step = 1; step < $2; step++)); do
    printf -v folder '%s/step-%06d' "$1" "$step"
    [[ -f $folder/loop.done ]] || break
  done
  echo "$step"
}

# Removes the stamps of a step that come after a missing one: what they say is to be made again.
forget_later_stamps() {
  local name missing=
  for name in reward update sync loop; do
    [[ -f $1/$name.done ]] || missing=1
    [[ ! $missing ]] || rm -f "$1/$name.done"
  done
}

# Prints the folder's summary where it is of another policy than the step's: the run goes on, and is evaluated again.
other_summary() {
  local version
  [[ -s $1/summary.json && -f $2/policy/arl.json ]] || return 0
  version=$(sed -nE 's/^ *"version": "([^"]*)".*/\1/p' "$2/policy/arl.json")
  [[ ! $version ]] || grep -qF "\"policy\": \"$version\"" "$1/summary.json" || echo "$1/summary.json"
}

# Removes a run's folder. Refused for one that holds more than a run: this one, the home, or what they lie in.
clean() {
  local run place
  run=$(realpath -m -- "$1")
  for place in "$PWD" ~; do
    [[ $(realpath -m -- "$place")/ != "${run%/}"/* ]] || fail "clean: RUN=$1 is $run, which holds more than a run"
  done
  rm -rf -- "$1"
}

# make puts its letters first into MAKEFLAGS.
is_dry_run() {
  [[ ${MAKEFLAGS-} =~ ^[[:alpha:]]*n ]]
}

# Whether the make that has called is gone.
is_orphan() {
  local parent
  read -r _ _ _ parent _ < "/proc/$$/stat"
  ((parent != PPID))
}

# Prints the name of the step's next shard and adds it to FOLDER/shards. Prints nothing when the step has enough: at
# least one shard, and then DYNAMIC shards or SPREAD groups with non-zero reward variance. Shards come in turn, from
# where the step before stopped (its file `next`).
next_shard() {
  local folder=$1 before=$2 shards=("$3"/*.tar) dynamic=$4 spread=$5 first used name
  [[ -f ${shards[0]} ]] || fail "$3: no shards there"
  first=$((10#${folder##*step-} - 1))
  [[ ! -f $before/next ]] || first=$(< "$before/next")
  used=$(wc -l < "$folder/shards")
  if ((used > 0)) && { ((used >= dynamic || used >= ${#shards[@]})) || has_variance "$folder" "$spread"; }; then
    echo $((first + used)) > "$folder/next"
    return
  fi
  name=${shards[(first + used) % ${#shards[@]}]##*/}
  echo "${name%.tar}" | tee -a "$folder/shards"
}

# Whether this many groups of the step have non-zero reward variance.
has_variance() {
  local groups
  groups=$(arl report --run "${1%/step-*}" --step $((10#${1##*step-})) --groups) || exit 1
  ((groups >= $2))
}

# Prints the policy that the engine had last: that of the last synced step, or the first policy.
newest_policy() {
  local stamps
  shopt -s nullglob
  stamps=("$1"/step-*/sync.done)
  [[ ${#stamps[@]} == 0 ]] && echo "$1/policy" || echo "${stamps[-1]%/sync.done}/policy"
}

case ${1-} in
  steps) steps "$2" "$3" ;;
  next-shard) next_shard "${@:2}" ;;
  newest-policy) newest_policy "$2" ;;
  other-summary) other_summary "$2" "$3" ;;
  clean) clean "$2" ;;
  *) fail "steps, next-shard, newest-policy, other-summary or clean: see the head of this file" ;;
esac
