# The commands of developers and users. `make setup` installs missing dependencies; other targets call it if they need
# it.

PREFIX ?= /usr/local
DESTDIR ?=
BENCH_FLAGS ?=
SWIFT ?= swift
SHELL = /bin/bash
BUILD_FLAGS = --explicit-target-dependency-import-check error
# The program that is installed, and that the mount and command tests run. Each other kind of build has its own scratch
# path, so that the builds do not invalidate each other.
RELEASE_FLAGS = -c release --static-swift-stdlib -Xlinker -s --product weightfs --scratch-path .build-release
ASAN_FLAGS = -c release --sanitize=address --product weightfs --scratch-path .build-asan
TSAN_FLAGS = -c release --sanitize=thread --traits PthreadMutex --product weightfs --scratch-path .build-tsan

# Packages for building, for running, and for the tests.
BUILD_PACKAGES = libfuse3-dev libarchive-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev zlib1g-dev libzstd-dev pkg-config
RUN_PACKAGES = fuse3 ca-certificates attr
# Number of tests in parallel. Without a limit each test would take minutes, and tests that depend on time would fail.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= 6
TEST_PACKAGES = dpkg-dev docker-registry skopeo buildah umoci podman rsync apache2-utils curl python3 python3-venv sqlite3 fio
BENCH_PACKAGES = nginx-light libnginx-mod-http-lua rclone iproute2 util-linux openssl gcc libc6-dev procps
DEMO_PACKAGES = docker-registry skopeo curl python3 python3-venv

SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Installs the packages of a list that are missing, and uses the network only if there are any.
define install_packages
@missing=""; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then echo "installing:$$missing"; $(SUDO) apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

.PHONY: docs test-containers setup build release test test-asan test-tsan deb lint check demo demo-llm bench bench-scale install uninstall clean soak fuzz

# Programs from PyPI for the tests: ommx 2 and ommx 3, with only the dependencies that are used.
PEERS = .build/peers
OMMX2 = ommx==2.9.3 numpy pandas protobuf python-dateutil pytz six tzdata typing_extensions
OMMX3 = ommx==3.0.0b7 numpy

setup: $(PEERS)/ommx2/ready $(PEERS)/ommx3/ready
	$(call install_packages,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES))

$(PEERS)/ommx2/ready $(PEERS)/ommx3/ready:
	$(call install_packages,python3 python3-venv)
	python3 -m venv "$(@D)"
	"$(@D)/bin/python" -m pip install -q --disable-pip-version-check --no-deps $(if $(findstring ommx2,$@),$(OMMX2),$(OMMX3))
	touch "$@"

build:
	$(SWIFT) build $(BUILD_FLAGS)

release:
	$(SWIFT) build $(RELEASE_FLAGS)

# Unit tests in a debug build, mount and command tests with the release build. `swift test` exits with 0 if it finds no
# test, so the count is checked; the summary is printed last.
test: release
	@mkdir -p .build && rm -f .build/test-log .build/test-status
	$(SWIFT) build --build-tests $(BUILD_FLAGS)
	@{ $(SWIFT) test --disable-xctest --skip-build 2>&1; echo "$$?" > .build/test-status; } | tee .build/test-log; \
	summary=$$(grep -E 'Test run with [0-9]+ tests?' .build/test-log | tail -n 1); \
	count=$$(printf '%s' "$$summary" | sed -E 's/.*with ([0-9]+) tests?.*/\1/'); \
	[ "$$(cat .build/test-status)" = 0 ] || { echo "$$summary"; exit 1; }; \
	[ "$${count:-0}" -ge 150 ] || { echo "only $${count:-0} tests ran"; exit 1; }; \
	echo "$$summary"

# Tests of faults and of hostile artifacts with a release build that checks memory accesses (AddressSanitizer).
SANITIZED_TESTS = FaultTests|FaultMatrix|HostileLayoutTests|HostileArtifactTests
test-asan:
	$(SWIFT) build $(ASAN_FLAGS)
	$(SWIFT) build --build-tests $(BUILD_FLAGS)
	WEIGHTFS_PROGRAM=.build-asan/release/weightfs ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
	  $(SWIFT) test --disable-xctest --skip-build --filter '$(SANITIZED_TESTS)'

RACE_TESTS = FaultTests|MountTests.ReadTests|MountTests.FetchTests|MountTests.TreeTests
# Tests of reads and faults with a release build that detects data races (ThreadSanitizer), with pthread mutexes.
test-tsan:
	$(SWIFT) build $(TSAN_FLAGS)
	$(SWIFT) build --build-tests $(BUILD_FLAGS)
	WEIGHTFS_PROGRAM=.build-tsan/release/weightfs TSAN_OPTIONS=halt_on_error=1:abort_on_error=1 \
	  $(SWIFT) test --disable-xctest --skip-build --filter '$(RACE_TESTS)'

# Writes the reference of all options into the documents.
docs: build
	.build/debug/weightfs config document markdown >docs/configuration.md
	.build/debug/weightfs config document man >docs/man/weightfs.toml.5
	.build/debug/weightfs config document options >.build/options.mdoc
	sed -i -e '/^.." options begin/,/^.." options end/{/^.." options/!d}' -e '/^.." options begin/r .build/options.mdoc' docs/man/weightfs.1

lint:
	$(SWIFT) format lint --strict -r -p Sources Tests Package.swift

# The sanitizer tests run first, so that the summary of all tests is printed last.
check: setup lint build
	$(MAKE) test-asan SANITIZED_TESTS='FaultTests|HostileLayoutTests'
	$(MAKE) test

demo:
	$(call install_packages,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(DEMO_PACKAGES))
	$(SWIFT) build $(RELEASE_FLAGS)
	Tests/demo/demo.sh "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/weightfs"

demo-llm:
	$(call install_packages,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(DEMO_PACKAGES))
	$(SWIFT) build $(RELEASE_FLAGS)
	Tests/demo/demo-llm.sh "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/weightfs"

# Compares weightfs with the native file, curl, rclone, ratarmount and a C passthrough daemon in interleaved runs, as
# root; writes docs/benchmarks.md. Needs 15 minutes and 40 GB of disk; BENCH_FLAGS=--quick needs 2 minutes and prints.
bench:
	$(call install_packages,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(DEMO_PACKAGES) $(BENCH_PACKAGES))
	$(SWIFT) build $(RELEASE_FLAGS)
	Benchmarks/run.sh "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/weightfs" $(BENCH_FLAGS)

# Benchmark with 10,000 tags and 2,000 repositories; writes docs/benchmarks-scale.md. Needs a minute.
bench-scale:
	$(call install_packages,$(BUILD_PACKAGES) $(RUN_PACKAGES) python3 procps)
	$(SWIFT) build $(RELEASE_FLAGS)
	python3 -B Benchmarks/scale.py "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/weightfs" >docs/benchmarks-scale.md
	@cat docs/benchmarks-scale.md

# Slow tests: more kills and more steps than in the other tests. Needs an hour.
SOAK_SEED ?= $(shell date +%s)
soak: release
	WEIGHTFS_ARTIFACTS=2000 WEIGHTFS_FAULTS=150 WEIGHTFS_SEED=$(SOAK_SEED) $(SWIFT) test --disable-xctest --filter HostileArtifactTests
	WEIGHTFS_KILLS=200 $(SWIFT) test --disable-xctest --filter CrashTests
	WEIGHTFS_KILLS=50 $(SWIFT) test --disable-xctest --filter PullTests
	WEIGHTFS_STEPS=10000 $(SWIFT) test --disable-xctest --filter CacheModelTests

# Two million damaged inputs to the parsers, in a release build with the usual runtime checks.
FUZZ_EXECUTIONS ?= 2000000
fuzz:
	@mkdir -p .build-fuzz
	WEIGHTFS_EXECUTIONS=$(FUZZ_EXECUTIONS) WEIGHTFS_SEED=$(SOAK_SEED) WEIGHTFS_FUZZ_STATE=.build-fuzz/state \
	  $(SWIFT) test -c release --scratch-path .build-fuzz --disable-xctest --filter ParserFuzzTests || \
	  { echo "the last seed was: $$(cat .build-fuzz/state)"; exit 1; }

install: release
	install -D -m 0755 "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/weightfs" "$(DESTDIR)$(PREFIX)/bin/weightfs"
	@for page in docs/man/*.[1-9]; do \
	  install -D -m 0644 $$page "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$(basename $$page)"; done
	install -D -m 0755 mount-helpers/mount.weightfs "$(DESTDIR)$(PREFIX)/sbin/mount.weightfs"
	@# For `mount -t fuse.weightfs`.
	ln -sf mount.weightfs "$(DESTDIR)$(PREFIX)/sbin/mount.fuse.weightfs"
	@# mount(8) searches helpers only in /sbin.
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && [ ! "$(PREFIX)/sbin" -ef /sbin ]; then \
	  for name in mount.weightfs mount.fuse.weightfs; do ln -sf "$(PREFIX)/sbin/mount.weightfs" /sbin/$$name; done; fi

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/weightfs" "$(DESTDIR)$(PREFIX)/share/man/man1/weightfs.1" \
	  "$(DESTDIR)$(PREFIX)/share/man/man5/weightfs.toml.5" "$(DESTDIR)$(PREFIX)/share/man/man8/mount.weightfs.8" \
	  "$(DESTDIR)$(PREFIX)/sbin/mount.weightfs" "$(DESTDIR)$(PREFIX)/sbin/mount.fuse.weightfs"
	@if [ -z "$(DESTDIR)" ]; then for name in mount.weightfs mount.fuse.weightfs; do \
	  if [ "$$(readlink /sbin/$$name 2>/dev/null)" = "$(PREFIX)/sbin/mount.weightfs" ]; then rm -f /sbin/$$name; fi; done; fi

# The container image and the Kubernetes manifests, with podman as root. Needs four minutes.
test-containers: release
	$(call install_packages,podman runc buildah python3 python3-venv fuse3 docker-registry dpkg-dev)
	mount-helpers/container/test.sh "$$($(SWIFT) build $(RELEASE_FLAGS) --show-bin-path)/weightfs"

# Builds a package of the program that the tests use: .build/deb/weightfs_VERSION_ARCHITECTURE.deb
deb: release
	$(call install_packages,dpkg-dev)
	mount-helpers/build-deb .build-release/release/weightfs .build/deb

clean:
	rm -rf .build .build-release .build-asan .build-tsan .build-fuzz
