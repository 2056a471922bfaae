#!/usr/bin/env bash
# Trains with several processes: one a GPU, or on the CPU where there is none.
# Environment: PORT, MASTER_ADDR, NNODES, NODE_RANK, OMP_NUM_THREADS, PYTHON.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [arguments of train.py]" >&2
    exit 2
fi
CONFIG=$1
PROCESSES=$2
TOOLS=$(cd "$(dirname "$0")" && pwd)
THREADS=$(($(nproc) / PROCESSES))

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((THREADS > 0 ? THREADS : 1))}
PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
