#!/usr/bin/env bash
# Makes .venv with a Python that tf_frozen runs on, or says in one line why it cannot.
# Usage: make_venv.sh [INTERPRETER]    without one, python3 and python3.13 to python3.10 are tried in turn
set -euo pipefail

wanted="${1:-}"
candidates=(python3 python3.13 python3.12 python3.11 python3.10)
[ -z "$wanted" ] || candidates=("$wanted")
tried=""

version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none
}

suits() {
  case "$1" in 3.10 | 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac
}

fail() {
  echo "tf_frozen: $1" >&2
  exit 1
}

if [ -x .venv/bin/python ] || [ -L .venv/bin/python ]; then
  found=$(version .venv/bin/python)
  suits "$found" || fail "the Python of .venv is $found, and 3.10 to 3.13 is needed: remove .venv and run make again."
  .venv/bin/python -m pip --version >/dev/null 2>&1 && exit 0
fi

for candidate in "${candidates[@]}"; do
  found=$(version "$candidate")
  if suits "$found"; then
    echo "Making .venv with $candidate ($found)"
    exec "$candidate" -m venv .venv
  fi
  [ "$found" = none ] || tried="$tried $candidate is $found."
done

if [ -n "$wanted" ] && [ -z "$tried" ]; then
  fail "PYTHON=$wanted does not start. Name a Python 3.10 to 3.13, for example: make PYTHON=python3.12"
fi
fail "needs Python 3.10 to 3.13;${tried:- none was found.} Install one, or name it: make quickstart PYTHON=/path/to/python3.12"
