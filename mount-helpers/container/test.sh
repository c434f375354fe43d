#!/bin/bash
# Tests of the image and of the manifests for Kubernetes, with podman: test.sh [PROGRAM [SCENARIO...]]
#
# Builds the Debian package from PROGRAM (default: the release build), and the image from it with buildah; then runs
# containers that read a small model from a docker-registry on loopback. Prints a line for each scenario: `ok NAME`,
# `skip NAME REASON` or `FAIL NAME REASON`. Needs root, and podman, runc, buildah, skopeo, docker-registry, uidmap, dpkg-dev
# and python3. The scenario docker needs dockerd and containerd in PATH.
#
# Everything is below a temporary directory with a storage of its own, and is removed at the end.
#
#     WEIGHTFS_TEST_BASE     a base image (default: one made of the packages that are installed on this machine)
#     KUBERNETES_VALIDATE    the program kubernetes-validate (default: installed from PyPI into the temporary directory)
#     KEEP_LOGS              a directory that receives the logs of the scenarios
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
manifests=$top/mount-helpers/kubernetes
program=${1:-$top/.build-release/release/weightfs}
[ $# -eq 0 ] || shift
only=$*
failures=0
registry_process=

for tool in podman runc buildah skopeo docker-registry newuidmap dpkg-shlibdeps python3; do
  command -v "$tool" >/dev/null || { echo "test.sh: $tool is missing" >&2; exit 2; }
done
[ "$(id -u)" = 0 ] || { echo "test.sh: run it as root" >&2; exit 2; }

work=$(mktemp -d /var/tmp/weightfs-containers.XXXXXX)
# Users of the rootless scenarios enter it.
chmod 0711 "$work"
volume=$work/volume
mkdir -p "$volume" "$work/logs"

finish() {
  status=$?
  trap '' INT TERM
  podman rm --force --all --time 0 >/dev/null 2>&1
  [ -z "$registry_process" ] || kill "$registry_process" 2>/dev/null
  [ -z "${KEEP_LOGS:-}" ] || cp -r "$work/logs/." "$KEEP_LOGS/"
  # conmon starts a podman that cleans up after its container, and that mounts the storage again.
  for _ in $(seq 10); do
    unmount_below "$work"
    rm -rf --one-file-system "$work" 2>/dev/null && break
    sleep 0.5
  done
  rm -f /dev/shm/libpod_rootless_lock_4242
  # Control groups that a runtime leaves behind.
  for name in libpod_parent docker; do
    find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} + 2>/dev/null
  done
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# The lines of the documents are run as they are; what this machine needs in addition is in these files.
cat >"$work/containers.conf" <<CONFIGURATION
[containers]
netns = "host"
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
static_dir = "$work/storage/libpod"
volume_path = "$work/storage/volumes"
tmp_dir = "$work/run/libpod"
CONFIGURATION
cat >"$work/storage.conf" <<CONFIGURATION
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
CONFIGURATION
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot

# MARK: - Helpers

# Ends a scenario with a reason.
fail() { echo "REASON $*"; exit 1; }

# Tries a command until it succeeds: wait_until SECONDS COMMAND...
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "not within the time limit: $*"
    sleep 0.1
  done
}

# Unmounts what is mounted below a directory, the innermost first.
unmount_below() {
  awk -v prefix="$1/" 'index($5, prefix) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r path; do
    umount --lazy "$path"
  done
}

# Runs a scenario in a subshell, and removes its containers, volumes and mounts: scenario NAME
scenario() {
  local name=$1 log=$work/logs/$1.log status
  case " ${only:-$name} " in *" $name "*) ;; *) return ;; esac
  ( trap - EXIT; set -e; cd "$work"; "test_${name//-/_}" ) >"$log" 2>&1
  status=$?
  if [ "$status" = 77 ]; then
    echo "skip $name $(tail -n 1 "$log")"
  elif [ "$status" = 0 ]; then
    echo "ok $name"
  else
    failures=$((failures + 1))
    echo "FAIL $name $(sed -n 's/^REASON //p' "$log" | tail -n 1 | grep . || grep . "$log" | tail -n 1)"
  fi
  podman rm --force --all --time 0 >/dev/null 2>&1
  podman volume prune --force >/dev/null 2>&1
  unmount_below "$volume"
  find "$volume" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} +
}

# Skips a scenario if the program has no such command.
require_command() {
  podman run --rm --no-healthcheck --entrypoint weightfs weightfs "$1" --help | grep "USAGE: weightfs $1" && return
  echo "this weightfs has no command $1"
  exit 77
}

is_exit() { [ "$(podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1")" = "exited $2" ]; }
is_ready() { podman logs "$1" 2>&1 | grep -q 'weightfs-entrypoint: ready: '; }
last_line() { podman logs --tail 1 "$1" 2>&1; }
last_line_has() { last_line "$1" | grep -qF "$2"; }
no_mount_is_left() { ! grep -F "$volume/" /proc/self/mountinfo | grep -q fuse.weightfs; }
# The checksum that a container printed is that of the model.
is_model() { grep -q "^$checksum "; }

fuse=(--no-healthcheck --device /dev/fuse --cap-add SYS_ADMIN)

start_daemon_container() {
  podman run -d --name weightfs "${fuse[@]}" -v "$volume:/models:rshared" -v weightfs-cache:/var/lib/weightfs \
    -e WEIGHTFS_MOUNT_POINT=/models/all weightfs --allow-other "$@"
}

start_reader_container() {
  podman run -d --name reader --no-healthcheck -v "$volume:/models:ro,rslave" --user 1234:1234 --entrypoint sh weightfs -c \
    "while :; do sha256sum /models/all/$reference/model.gguf 2>&1; sleep 0.2; done"
}

# MARK: - Scenarios: the image

test_build() {
  package=$("$top/mount-helpers/build-deb" "$program" "$work")
  if [ -z "${WEIGHTFS_TEST_BASE:-}" ]; then
    # shellcheck disable=SC2046
    "$here/installed-base" "$work/base" $(dpkg-deb --field "$package" Depends | sed 's/([^)]*)//g; s/,/ /g')
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/base" /
    buildah commit --quiet --rm "$container" weightfs-test-base
    rm -rf "$work/base"
  fi
  BUILDER=buildah "$here/build-image" "$package" weightfs "${WEIGHTFS_TEST_BASE:-localhost/weightfs-test-base}"
  buildah inspect --type image --format '{{.Docker.Config.Healthcheck}} {{.Docker.Config.Entrypoint}}' weightfs \
    | grep -F weightfs-healthcheck || fail "the image has no health check"
}

test_one_container() {
  podman run --rm --device /dev/fuse --cap-add SYS_ADMIN weightfs \
    sha256sum "/mnt/models/$reference/model.gguf" | is_model || fail "the bytes differ"
}

test_one_artifact() {
  podman run --rm --device /dev/fuse --cap-add SYS_ADMIN -e WEIGHTFS_SOURCE="$reference" -e WEIGHTFS_MOUNT_POINT=/model weightfs \
    --fill=demand -- sha256sum /model/model.gguf | is_model || fail "the bytes differ"
}

test_exit_status() {
  local status
  for expected in 0 7 127 126; do
    case $expected in
      127) set -- no-such-command ;;
      126) set -- /etc/passwd ;;
      *) set -- sh -c "exit $expected" ;;
    esac
    status=0
    podman run --rm "${fuse[@]}" weightfs "$@" || status=$?
    [ "$status" = "$expected" ] || fail "$*: status $status instead of $expected"
  done
  status=0
  podman run --rm "${fuse[@]}" weightfs --no-such-option || status=$?
  [ "$status" = 64 ] || fail "an unknown option: status $status instead of 64"
  status=0
  podman run --rm "${fuse[@]}" -e WEIGHTFS_SOURCE="${reference%:*}:none" weightfs true || status=$?
  [ "$status" = 3 ] || fail "an artifact that does not exist: status $status instead of 3"
}

test_input_and_options() {
  [ "$(echo hello | podman run --rm -i "${fuse[@]}" weightfs cat)" = hello ] || fail "the command has no standard input"
  podman run --rm "${fuse[@]}" weightfs --allow-other --fill=demand grep -F allow_other /proc/self/mountinfo \
    || fail "--allow-other did not reach the mount"
}

test_signals() {
  local name
  # shellcheck disable=SC2016
  podman run -d --name command "${fuse[@]}" weightfs sh -c \
    'for name in TERM INT HUP QUIT USR1 USR2; do trap "echo got $name" $name; done; echo started; while :; do sleep 0.05; done'
  wait_until 10 last_line_has command started
  for name in INT HUP QUIT USR1 USR2 TERM; do
    podman kill --signal "$name" command
    wait_until 5 last_line_has command "got $name"
  done
  # The command ignored SIGTERM: it is killed after the limit of 3 seconds.
  wait_until 8 is_exit command 137
}

test_stop_of_a_command() {
  podman run -d --name command "${fuse[@]}" weightfs sh -c 'trap "exit 5" TERM; echo started; while :; do sleep 0.05; done'
  wait_until 10 last_line_has command started
  podman stop command
  is_exit command 5 || fail "the status is not that of the command"
}

test_stop() {
  podman run -d --name stay "${fuse[@]}" weightfs
  wait_until 10 is_ready stay
  podman stop stay
  is_exit stay 0 || fail "the status is not 0"
}

test_stop_before_ready() {
  # Nothing listens there: the daemon tries for a quarter of --retry-for to load the artifact.
  podman run -d --name early "${fuse[@]}" -e WEIGHTFS_SOURCE=localhost:1/acme/none:1 weightfs --retry-for=3600
  sleep 0.5
  podman stop early
  podman inspect -f '{{.State.ExitCode}}' early
  ! is_exit early 137 || fail "it had to be killed"
}

test_orphans() {
  podman run --rm "${fuse[@]}" weightfs sh -c \
    '(sleep 0.1 & sleep 0.2 &); sleep 0.6; ! grep -h "^State:.*Z" /proc/[0-9]*/status' || fail "orphans remain as zombies"
}

test_daemon_dies() {
  # shellcheck disable=SC2016
  podman run -d --name command "${fuse[@]}" weightfs sh -c \
    'for p in /proc/[0-9]*; do case $(tr "\0" " " <$p/cmdline) in "weightfs mount "*) kill -KILL ${p#/proc/} ;; esac; done; exec sleep 60'
  wait_until 10 is_exit command 137
  podman logs command 2>&1 | grep 'the mount ended with status 137'
}

test_health() {
  require_command health
  podman run -d --name stay --device /dev/fuse --cap-add SYS_ADMIN -e WEIGHTFS_HEALTH_REFERENCE="$reference" weightfs
  wait_until 10 is_ready stay
  podman exec stay weightfs-healthcheck
  podman healthcheck run stay || fail "unhealthy"
  # A stopped daemon does not answer.
  # shellcheck disable=SC2016
  podman exec stay sh -c \
    'for p in /proc/[0-9]*; do case $(tr "\0" " " <$p/cmdline) in "weightfs mount "*) kill -STOP ${p#/proc/} ;; esac; done'
  ! podman healthcheck run stay || fail "healthy although the daemon does not answer"
  podman stop --time 10 stay
  is_exit stay 0 || fail "a daemon that does not answer was not ended within 10 seconds"
}

# MARK: - Scenarios: a volume that containers share

test_daemon_first() {
  podman run -d --name weightfs --device /dev/fuse --cap-add SYS_ADMIN -v "$volume:/models:rshared" \
    -v weightfs-cache:/var/lib/weightfs -e WEIGHTFS_MOUNT_POINT=/models/all weightfs --allow-other
  wait_until 10 is_ready weightfs
  podman run --rm -v "$volume:/models:ro,rslave" --entrypoint sha256sum weightfs "/models/all/$reference/model.gguf" \
    | is_model || fail "the bytes differ"
  start_reader_container
  wait_until 10 last_line_has reader "$checksum"
  podman rm --force --time 0 reader
  podman stop weightfs
  is_exit weightfs 0 || fail "the daemon's container ended with another status"
  no_mount_is_left || fail "a mount is left"
}

test_reader_first() {
  start_reader_container
  wait_until 10 last_line_has reader "No such file"
  start_daemon_container
  wait_until 15 last_line_has reader "$checksum"
}

test_killed_and_restarted() {
  start_daemon_container
  start_reader_container
  wait_until 15 last_line_has reader "$checksum"
  for _ in 1 2 3; do
    podman kill --signal KILL weightfs
    wait_until 5 last_line_has reader "Transport endpoint is not connected"
    podman start weightfs
    wait_until 10 last_line_has reader "$checksum"
  done
  podman logs weightfs 2>&1 | grep 'removing the stale mount on /models/all'
  [ "$(grep -cF "$volume/all" /proc/self/mountinfo)" = 1 ] || fail "stale mounts are left"
}

test_replaced_container() {
  start_daemon_container
  start_reader_container
  wait_until 15 last_line_has reader "$checksum"
  podman rm --force --time 0 weightfs
  wait_until 5 last_line_has reader "Transport endpoint is not connected"
  start_daemon_container
  wait_until 15 last_line_has reader "$checksum"
}

# A complete file that the kernel reads itself survives the daemon, for a reader that opened it before.
test_open_file_survives() {
  start_daemon_container
  wait_until 10 is_ready weightfs
  sha256sum "$volume/all/$reference/model.gguf" | is_model
  wait_until 10 complete_and_passed_through
  podman run -d --name reader --no-healthcheck -v "$volume:/models:ro,rslave" --entrypoint sh weightfs -c \
    "exec 3</models/all/$reference/model.gguf; echo open; until [ -e /models/killed ]; do sleep 0.1; done; sha256sum <&3"
  wait_until 10 last_line_has reader open
  podman kill --signal KILL weightfs
  touch "$volume/killed"
  wait_until 10 last_line_has reader "$checksum"
}
complete_and_passed_through() {
  python3 -c 'import os, sys
with open(sys.argv[1], "rb") as file:
    sys.exit(os.getxattr(file.fileno(), "user.weightfs.served") != b"passthrough")' "$volume/all/$reference/model.gguf"
}

test_stop_under_an_open_file() {
  start_daemon_container --fill=demand
  wait_until 10 is_ready weightfs
  podman run -d --name reader --no-healthcheck -v "$volume:/models:ro,rslave" --entrypoint sh weightfs -c \
    "exec 3</models/all/$reference/model.gguf; echo \"read \$(head -c 4 <&3)\"; exec sleep 60"
  wait_until 10 last_line_has reader "read GGUF"
  podman stop --time 10 weightfs
  is_exit weightfs 0 || fail "the daemon's container did not end within 10 seconds"
  no_mount_is_left || fail "a mount is left"
}

test_second_daemon() {
  start_daemon_container
  wait_until 10 is_ready weightfs
  local status=0
  podman run --rm "${fuse[@]}" -v "$volume:/models:rshared" -e WEIGHTFS_MOUNT_POINT=/models/all weightfs || status=$?
  [ "$status" = 1 ] || fail "a second daemon on a living mount: status $status instead of 1"
  sha256sum "$volume/all/$reference/model.gguf" | is_model || fail "the first mount does not answer"
}

test_air_gapped() {
  podman run --rm -v store:/store --entrypoint weightfs weightfs pull --registry-root /store "$reference"
  podman run --rm --device /dev/fuse --cap-add SYS_ADMIN --network=none -v store:/store:ro weightfs \
    --offline --additional-store=/store sha256sum "/mnt/models/$reference/model.gguf" | is_model || fail "the bytes differ"
}

# MARK: - Scenarios: without root

# Runs commands in namespaces of their own where /dev/fuse has mode 0666, as on most systems; all processes end with it.
in_own_namespaces() {
  # shellcheck disable=SC2016
  unshare --mount --pid --fork --kill-child --mount-proc bash -euc \
    'mount --make-rprivate /; mount --bind "$0/fuse" /dev/fuse; cd "$0"; eval "$1"' "$work" "$1"
}

# User 1000 of the container, without capabilities: fusermount3 has the set-user-ID bit.
test_user_with_fusermount3() {
  in_own_namespaces "podman run --rm ${fuse[*]} --user weightfs -e WEIGHTFS_MOUNT_POINT=/home/weightfs/models \
    -e WEIGHTFS_ROOT=/home/weightfs/registry --entrypoint setpriv weightfs --inh-caps=-all --ambient-caps=-all weightfs-entrypoint \
    sh -c 'grep CapEff /proc/self/status; sha256sum /home/weightfs/models/$reference/model.gguf'" >user.log
  cat user.log
  grep -q 'CapEff:	0000000000000000' user.log || fail "the command has capabilities"
  is_model <user.log || fail "the bytes differ"
}

# Runs a command as a user that exists only in these namespaces: as_rootless_user COMMAND
as_rootless_user() {
  local home=$work/user
  if [ ! -d "$home" ]; then
    mkdir -p "$home/run" "$home/etc"
    for file in passwd group; do cp "/etc/$file" "$home/etc/$file"; done
    echo "weightfs-test:x:4242:4242::$home:/bin/sh" >>"$home/etc/passwd"
    echo "weightfs-test:x:4242:" >>"$home/etc/group"
    echo "weightfs-test:500000:65536" | tee "$home/etc/subuid" >"$home/etc/subgid"
    grep -v -e _dir -e volume_path -e default_ulimits "$work/containers.conf" >"$home/containers.conf"
    skopeo copy --quiet containers-storage:localhost/weightfs:latest "oci-archive:$home/weightfs.tar:localhost/weightfs:latest"
    chown -R 4242:4242 "$home"
    chmod 0700 "$home/run"
  fi
  in_own_namespaces "for file in passwd group subuid subgid; do mount --bind $home/etc/\$file /etc/\$file; done
    cd $home
    setpriv --reuid 4242 --regid 4242 --clear-groups --inh-caps=-all env -i PATH=\"\$PATH\" HOME=$home XDG_RUNTIME_DIR=$home/run \
      CONTAINERS_CONF=$home/containers.conf bash -euc '
        podman image exists weightfs || podman load --quiet --input weightfs.tar
        $1'"
}

test_rootless_podman() {
  as_rootless_user "podman info -f \"{{.Host.Security.Rootless}} {{.Store.GraphDriverName}}\"
    podman run --rm --device /dev/fuse --cap-add SYS_ADMIN weightfs sha256sum /mnt/models/$reference/model.gguf
    podman run --rm --device /dev/fuse --cap-add SYS_ADMIN --user weightfs -e WEIGHTFS_MOUNT_POINT=/home/weightfs/models \
      -e WEIGHTFS_ROOT=/home/weightfs/registry weightfs sha256sum /home/weightfs/models/$reference/model.gguf" >rootless.log
  cat rootless.log
  grep -q '^true' rootless.log || fail "podman is not rootless"
  [ "$(grep -c "^$checksum " rootless.log)" = 2 ] || fail "the bytes differ"
}

test_rootless_podman_with_fusermount3() {
  as_rootless_user "podman run --rm --no-healthcheck --device /dev/fuse --cap-add SYS_ADMIN --user weightfs \
    -e WEIGHTFS_MOUNT_POINT=/home/weightfs/models -e WEIGHTFS_ROOT=/home/weightfs/registry --entrypoint setpriv weightfs \
    --inh-caps=-all --ambient-caps=-all weightfs-entrypoint sha256sum /home/weightfs/models/$reference/model.gguf" \
    | is_model || fail "the bytes differ"
}

test_rootless_podman_with_a_shared_volume() {
  as_rootless_user "mkdir -p volume
    podman unshare sh -c \"mount --bind volume volume && mount --make-shared volume\"
    podman run -d --name weightfs --no-healthcheck --device /dev/fuse --cap-add SYS_ADMIN -v ./volume:/models:rshared \
      -v weightfs-cache:/var/lib/weightfs -e WEIGHTFS_MOUNT_POINT=/models/all weightfs --allow-other
    for attempt in 1 2; do
      for try in \$(seq 100); do [ \$(podman logs weightfs 2>&1 | grep -c ready:) -lt \$attempt ] || break; sleep 0.1; done
      podman run --rm --no-healthcheck -v ./volume:/models:ro,rslave --user 1234 --entrypoint sha256sum weightfs \
        /models/all/$reference/model.gguf
      [ \$attempt = 2 ] || { podman kill --signal KILL weightfs; podman start weightfs; }
    done
    podman stop weightfs
    podman inspect -f \"status {{.State.ExitCode}}\" weightfs
    podman rm weightfs" >shared.log
  cat shared.log
  [ "$(grep -c "^$checksum " shared.log)" = 2 ] || fail "the bytes differ"
  grep -q '^status 0' shared.log || fail "the daemon's container did not end by itself"
}

# MARK: - Scenarios: Docker

test_docker() {
  if ! command -v dockerd >/dev/null || ! command -v containerd >/dev/null; then echo "no dockerd and containerd in PATH"; exit 77; fi
  mkdir -p "$work/docker/volume"
  skopeo copy --quiet containers-storage:localhost/weightfs:latest "docker-archive:$work/docker/weightfs.tar:weightfs:latest"
  export reference
  in_own_namespaces "bash -e $here/test-docker $work/docker" >docker.log 2>&1 || { cat docker.log; fail "$(tail -n 1 docker.log)"; }
  cat docker.log
  [ "$(grep -c "^$checksum " docker.log)" = 4 ] || fail "the bytes differ"
}

# MARK: - Scenarios: Kubernetes

test_kubernetes_validate() {
  KUBERNETES_VALIDATE=$(kubernetes_validate) "$manifests/validate"
}

kubernetes_validate() {
  if [ -n "${KUBERNETES_VALIDATE:-}" ]; then echo "$KUBERNETES_VALIDATE"; return; fi
  if [ ! -x "$work/venv/bin/kubernetes-validate" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install -q --disable-pip-version-check kubernetes-validate >&2
  fi
  echo "$work/venv/bin/kubernetes-validate"
}

# Runs manifests as pods: run_pods MANIFEST... [OPTION...]
run_pods() {
  require_command health
  require_command wait
  if ! podman image exists engine; then
    "$here/installed-base" "$work/engine" python3
    install -D -m 0755 "$manifests/stand-in-engine" "$work/engine/app/llama-server"
    install -D -m 0755 "$manifests/stand-in-engine" "$work/engine/usr/local/bin/vllm"
    install -D -m 0644 "$manifests/stand-in-engine" "$work/engine/usr/local/lib/python3.11/dist-packages/huggingfaceserver.py"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/engine" /
    buildah config --entrypoint '["/app/llama-server"]' "$container"
    buildah commit --quiet --rm "$container" engine
    rm -rf "$work/engine"
  fi
  "$(dirname "$(kubernetes_validate)")/python" "$manifests/run-pod" "$volume" --image weightfs --engine engine \
    --replace "ghcr.io/acme/gemma3:q4=$reference" --replace "ghcr.io/acme/llama3:bf16=$reference" \
    --replace "8080=$free_port" --replace "8000=$free_port" "$@" >pods.log 2>&1 || { cat pods.log; fail "$(tail -n 1 pods.log)"; }
  cat pods.log
}

test_kubernetes_llama_cpp() {
  run_pods "$manifests/daemonset.yaml" "$manifests/llama-cpp.yaml" --kill weightfs --check \
    "podman exec gemma3-llama-server sha256sum /models/all/$reference/model.gguf | grep $checksum"
}
test_kubernetes_sidecar() {
  run_pods "$manifests/sidecar.yaml" --kill weightfs --check \
    "podman exec gemma3-sidecar-llama-server sha256sum /models/gemma3/model.gguf | grep $checksum"
}
test_kubernetes_air_gapped() {
  require_command health
  mkdir "$volume/store"
  podman run --rm --no-healthcheck -v "$volume/store:/store" --entrypoint weightfs weightfs pull --registry-root /store "$reference"
  run_pods "$manifests/air-gapped.yaml" --network none --claim "model-store=$volume/store" --check \
    "podman exec gemma3-air-gapped-llama-server sha256sum /models/all/$reference/model.gguf | grep $checksum"
}
test_kubernetes_vllm() { run_pods "$manifests/daemonset.yaml" "$manifests/vllm.yaml"; }
test_kubernetes_kserve() { run_pods "$manifests/daemonset.yaml" "$manifests/kserve.yaml"; }

# MARK: - Run

cat >"$work/registry.yml" <<CONFIGURATION
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:0"}
CONFIGURATION
docker-registry serve "$work/registry.yml" >"$work/logs/registry.log" 2>&1 &
registry_process=$!
wait_until 10 grep -q 'listening on' "$work/logs/registry.log"
port=$(sed -nE 's/.*listening on 127\.0\.0\.1:([0-9]+).*/\1/p' "$work/logs/registry.log" | head -n 1)
reference=localhost:$port/acme/tiny:q4
"$here/push-model" "$reference" "$work/model.gguf" || exit 1
checksum=$(sha256sum <"$work/model.gguf" | cut -d ' ' -f 1)
free_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# A mount that is shared, as / is on a system with systemd.
mount --bind "$volume" "$volume" && mount --make-private "$volume" && mount --make-shared "$volume" || exit 1
mknod -m 0666 "$work/fuse" c 10 229 || exit 1

names=$(sed -nE 's/^test_([a-z0-9_]+)\(\).*/\1/p' "$0" | tr _ -)
# The image is needed by all others.
[ -z "$only" ] || only="build $only"
for name in $names; do
  scenario "$name"
  [ "$name" != build ] || [ "$failures" = 0 ] || exit 1
done
[ "$failures" = 0 ]
