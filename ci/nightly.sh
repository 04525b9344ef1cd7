#!/usr/bin/env bash
# The long run: more of the same, with a new seed each night.  Ends with the worst exit status.
set -uo pipefail
cd "$(dirname "$0")/.."
make setup || exit 2
worst=0
run() { echo "== $*"; "$@"; status=$?; [ "$status" -gt "$worst" ] && worst=$status; }
run .venv/bin/python fuzz/run.py --seconds "${SECONDS_PER_SUBJECT:-600}" --seed "$(date +%Y%m%d)" \
    --out out/nightly --json out/nightly.json
ALLOCHECK_PROFILE=nightly run .venv/bin/python -m pytest -n 2 --dist loadfile
run .venv/bin/python proofs/run.py --json out/proofs.json
run .venv/bin/python ci/real_programs.py --json out/real_programs.json
run .venv/bin/python ci/bench_textbook.py --json out/textbook.json
exit "$worst"
