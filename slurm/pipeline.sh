#!/usr/bin/env bash
# The whole method on a cluster: teacher, data, training, evaluation, each when the one before it is done.
#   bash slurm/pipeline.sh            from the folder that holds artifacts/ and runs/
# ---- edit here; resources stand at the top of the four scripts ------------------------------------------------------------
: "${VALIGN_SETTINGS:=+experiment=udhr_mistral}"                         # as for python -m valign.train
: "${RUN:=runs/udhr_mistral/sft_dpo}"                                    # the folder that these settings give a run
: "${TEACHER_MODEL:=mistralai/Mixtral-8x7B-Instruct-v0.1}"               # the teacher
: "${STATE:=$PWD/slurm-state}"                                           # shared folder for the teacher's address
: "${SBATCH_EXTRA:=}"                                                    # options for all jobs, such as --account=project
# ---------------------------------------------------------------------------------------------------------------------------
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v sbatch >/dev/null || ! sinfo >/dev/null 2>&1; then
    echo "error: no SLURM cluster answers here: run this on a login node of a SLURM cluster" >&2
    exit 2
fi
export VALIGN_SETTINGS RUN TEACHER_MODEL STATE
read -ra extra <<<"$SBATCH_EXTRA"
submit() { sbatch --parsable "${extra[@]}" "$@" | cut -d ';' -f 1; }

jobs=()
# a chain that lacks a link would keep the teacher's GPUs for nothing
trap 'code=$?; if ((code && ${#jobs[@]})); then echo "error: cancelling ${jobs[*]}" >&2; scancel "${jobs[@]}"; fi' EXIT

echo "pipeline: $VALIGN_SETTINGS"
teacher=$(submit "$here/teacher.sbatch")
jobs+=("$teacher")
echo "pipeline: job $teacher serves $TEACHER_MODEL"
synthesize=$(submit --dependency="after:$teacher" --kill-on-invalid-dep=yes "$here/synthesize.sbatch")
jobs+=("$synthesize")
echo "pipeline: job $synthesize writes the data once the teacher runs"
stop=$(submit --dependency="afterany:$synthesize" --job-name=valign-stop --output=/dev/null --wrap "scancel $teacher")
jobs+=("$stop")
echo "pipeline: job $stop ends the teacher when the data is there"
train=$(submit --dependency="afterok:$synthesize" --kill-on-invalid-dep=yes "$here/train.sbatch")
jobs+=("$train")
echo "pipeline: job $train trains on the data"
evaluate=$(submit --dependency="afterok:$train" --kill-on-invalid-dep=yes "$here/evaluate.sbatch")
jobs+=("$evaluate")
echo "pipeline: job $evaluate evaluates $RUN and compares it with the runs beside it"
echo "pipeline: watch them with squeue --me; end them with scancel ${jobs[*]}"
