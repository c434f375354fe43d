# Shared by the demos: a temporary directory, a registry on loopback, and cleanup at the end.
set -eu
weightfs=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/weightfs-demo.XXXXXX")
mount_point=$work/models
cache=$here/../../.build/demo
mkdir -p "$mount_point" "$cache"
registry_process=

finish() {
  status=$?
  if mountpoint -q "$mount_point"; then "$weightfs" unmount --lazy "$mount_point" || true; fi
  [ -z "$registry_process" ] || kill "$registry_process" 2>/dev/null || true
  rm -rf "$work"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }

# Creates a virtual environment with the given packages, unless it exists.
python_with() {
  if [ ! -x "$cache/venv/bin/python" ]; then python3 -m venv "$cache/venv"; fi
  for package in "$@"; do
    "$cache/venv/bin/python" -m pip show -q "$package" 2>/dev/null \
      || "$cache/venv/bin/python" -m pip install -q --disable-pip-version-check "$package"
  done
  python=$cache/venv/bin/python
}

# docker-registry listens on a free port and logs its number.
start_registry() {
  mkdir -p "$work/registry"
  cat >"$work/registry.yml" <<CONFIGURATION
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:0"}
CONFIGURATION
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry_process=$!
  attempts=0
  until grep -q 'listening on' "$work/registry.log"; do
    attempts=$((attempts + 1))
    [ $attempts -lt 100 ] || { cat "$work/registry.log"; exit 1; }
    sleep 0.1
  done
  port=$(sed -nE 's/.*listening on 127\.0\.0\.1:([0-9]+).*/\1/p' "$work/registry.log" | head -n 1)
  registry=localhost:$port
}

# Prints the bytes of blobs that the registry has sent since its start.
bytes_served() {
  awk '/"GET \/v2\/[^"]*\/blobs\// { for (i = 1; i <= NF; i++) if ($i ~ /^HTTP\//) sum += $(i + 2) } END { print sum + 0 }' "$work/registry.log"
}
