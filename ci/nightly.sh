#!/usr/bin/env bash
# The long run, on a machine that has nothing yet; ci/nightly.py --help says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
make setup || exit 2
exec .venv/bin/python ci/nightly.py "$@"
