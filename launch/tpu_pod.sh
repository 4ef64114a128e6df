#!/usr/bin/env bash
# One run on all hosts of a Cloud TPU slice.
#
#     TPU=my-slice ZONE=us-central2-b bash launch/tpu_pod.sh --config=configs/cifar10.py:varmixup \
#         --workdir=/shared/runs/varmixup --config.vae.store=/shared/vae
#
# from any machine with gcloud; all words go to varmixup_jax.main, which finds its peers by itself.
#
# Edit, or export before:
TPU=${TPU:-}              # name of the slice
ZONE=${ZONE:-}            # where it is
PROJECT=${PROJECT:-}      # the project; empty for gcloud's own
CLONE=${CLONE:-varmixup}  # folder of the repository on every host, relative to the home directory
PYTHON=${PYTHON:-python3} # on every host, an environment with this package and jax[tpu]
DRY_RUN=${DRY_RUN:-}      # not empty: print the command and do nothing
#
# Once, on all hosts (gcloud compute tpus tpu-vm ssh "$TPU" --worker=all --command=...): clone the
# repository, pip install -e . 'jax[tpu]', and mount the same NFS share (Filestore) at the same path;
# --workdir, the VAE store and the data are there.
#
# A preempted slice is recreated by you or by a queued resource; the same command then resumes the run.
#
# Exit code: 0, or that of gcloud when a host failed.

set -euo pipefail

for name in TPU ZONE; do
    if [ -z "${!name}" ]; then
        echo "error: $name is empty: must be set, see the head of $0" >&2
        exit 2
    fi
done

printf -v words ' %q' "$@"
command=(gcloud compute tpus tpu-vm ssh "$TPU" "--zone=$ZONE" --worker=all)
if [ -n "$PROJECT" ]; then command+=("--project=$PROJECT"); fi
command+=("--command=cd $(printf %q "$CLONE") && exec $(printf %q "$PYTHON") -m varmixup_jax.main$words")

printf '+'
printf ' %q' "${command[@]}"
echo
[ -n "$DRY_RUN" ] || exec "${command[@]}"
