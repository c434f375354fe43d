"""Measures weightfs against the native file, curl, rclone, ratarmount and a C passthrough daemon, interleaved.

Usage: bench.py WEIGHTFS PYTHON GGUF RESULT.json [--quick] [--only GROUP[,GROUP]]

WEIGHTFS_BEFORE names another build of weightfs that the groups `fetched` and `verify` measure beside this one.

PYTHON has xllamacpp and ratarmount; GGUF is a model that llama.cpp loads. Needs root: network namespaces, mounts and
the page cache. `report.py` makes docs/benchmarks.md of the result.
"""
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from places import Link, Mount, Rclone, Store, bytes_sent, drop_caches, pages_cached, run, safetensors, waits

WEIGHTFS, PYTHON, GGUF, RESULT = sys.argv[1:5]
QUICK = "--quick" in sys.argv
ONLY = sys.argv[sys.argv.index("--only") + 1].split(",") if "--only" in sys.argv else None
BEFORE = os.environ.get("WEIGHTFS_BEFORE")
REPETITIONS = 2 if QUICK else 5
SIZE = (128 if QUICK else 1024) << 20
SHAPED_SIZE = (64 if QUICK else 256) << 20
LARGE = (256 if QUICK else 2048) << 20
HERE = os.path.dirname(os.path.abspath(__file__))


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.figures = {}
        self.reader = f"{folder}/reader"
        self.floor = f"{folder}/floor"
        run("gcc", "-O2", "-o", self.reader, f"{HERE}/reader.c")
        shim = f"{HERE}/../Sources/CFUSE"
        flags = run("pkg-config", "--cflags", "--libs", "fuse3").split()
        run(
            "gcc", "-O2", "-o", self.floor, f"{HERE}/floor.c", f"{shim}/session.c", f"{shim}/passthrough.c",
            f"-I{shim}/include", *flags, "-lpthread",
        )
        self.store = Store(f"{folder}/store")
        self.model = self.store.add_random("model", SIZE)
        self.shaped_model = self.store.add_random("shaped", SHAPED_SIZE)
        self.listed_model = self.store.add_list(self.model, "listed")
        self.tensors = self.store.add_file("tensors", "model.safetensors", safetensors(f"{folder}/tensors", 12, 16 << 20))
        self.gguf = self.store.add_file("gguf", "model.gguf", GGUF)
        self.large = [self.store.add_sparse(f"large{number}", LARGE, number) for number in range(8)]
        self.archive = self.store.add_archive(f"{folder}/model.tar", self.model)
        self.links = {
            "loopback": Link(self.store, f"{folder}/loopback"),
            "shaped": Link(self.store, f"{folder}/shaped", delay=0.02, gigabits=1),
            "throttled": Link(self.store, f"{folder}/throttled", rate="30m"),
        }

    def close(self):
        for link in getattr(self, "links", {}).values():
            link.close()

    def note(self, name, value):
        self.figures.setdefault(name, []).append(value)
        print(f"{name}: {value:.4g}", flush=True)

    def timed(self, mode, *words, link=None):
        return float(run(*(link.inside if link else []), self.reader, mode, *map(str, words)).split()[0])

    def mount(self, link=None, *options, root=None, source=None):
        return Mount(WEIGHTFS, self.folder, link, *options, root=root, source=source)

    # One repetition of each group; whatever is compared is measured in it side by side.

    def complete(self):
        """A blob that is here, pages warm."""
        root = f"{self.folder}/complete"
        link = self.links["loopback"]
        if not os.path.exists(root):
            link.weightfs(WEIGHTFS, "pull", link.reference(self.model), "--registry-root", root)
        native = f"{root}/.weightfs/blobs/sha256/{self.model.digest.split(':')[1]}"
        with self.mount(link, root=root) as mount:
            path = mount.path(self.model)
            assert os.getxattr(path, "user.weightfs.served") == b"passthrough"
            self.timed("seq", native)
            for name, file in (("native", native), ("weightfs", path)):
                descriptor = os.open(file, os.O_RDONLY)
                # No READ can be answered by a daemon that is stopped. Read from here: a new process would ask it.
                mount.stop()
                try:
                    self.note(f"complete/{name} sequential", read_all(descriptor))
                finally:
                    mount.go_on()
                os.close(descriptor)
            for seed in (1, 2, 3):
                self.note("complete/native faults", self.timed("fault", native, seed, 200_000))
                self.note("complete/weightfs faults", self.timed("fault", path, seed, 200_000))
        point = f"{self.folder}/floor.mnt"
        os.makedirs(point, exist_ok=True)
        floor = subprocess.Popen([self.floor, native, point], stdout=subprocess.PIPE)
        floor.stdout.readline()
        try:
            self.note("complete/floor sequential", self.timed("seq", f"{point}/file"))
            self.note("complete/floor faults", self.timed("fault", f"{point}/file", 1, 200_000))
        finally:
            run("umount", point)
            floor.wait(10)

    def page_cache(self):
        """How much the page cache grows by reading a complete blob."""
        native = self.large[0].path
        layout = self.store.layout(f"{self.folder}/large.layout", self.large[0])
        with self.mount(root=f"{self.folder}/pages", source=f"oci:{layout}") as mount:
            path = f"{mount.point}/{self.large[0].file}"
            if os.getxattr(path, "user.weightfs.verified") != b"blob":
                self.timed("seq", path)
                waits(lambda: os.getxattr(path, "user.weightfs.verified") == b"blob")
            drop_caches()
            before = pages_cached()
            self.timed("seq", path)
            self.note("complete/page cache grown, of the size", (pages_cached() - before) / LARGE)
        del native

    def cold_shaped(self):
        """Cold sequential reads over 1 Gbit/s with 20 ms before each response."""
        link, model = self.links["shaped"], self.shaped_model
        self.note("shaped/curl", link.curl(model))
        with self.mount(link) as mount:
            sent = bytes_sent(link)
            start = time.monotonic()
            os.stat(mount.path(model))
            self.note("shaped/weightfs, looking the name up", time.monotonic() - start)
            self.note("shaped/weightfs", self.timed("seq", mount.path(model)))
            mount.wait_until_complete(model)
            self.note("shaped/bytes sent, of the size", (bytes_sent(link) - sent) / model.size)
        start = time.monotonic()
        root = f"{self.folder}/pulled"
        link.weightfs(WEIGHTFS, "pull", link.reference(model), "--registry-root", root)
        self.timed("seq", f"{root}/.weightfs/blobs/sha256/{model.digest.split(':')[1]}")
        self.note("shaped/pull, then read", time.monotonic() - start)
        run("rm", "-rf", root)
        for form in ("default", "tuned"):
            with Rclone(self.folder, link, form) as rclone:
                os.stat(rclone.path(model))
                self.note(f"shaped/rclone {form}", self.timed("seq", rclone.path(model)))
                if form == "default":
                    self.note("warm/rclone default", self.timed("seq", rclone.path(model)))
                else:
                    self.note("warm/rclone tuned", self.timed("seq", rclone.path(model)))
        with self.mount(link) as mount:
            self.timed("seq", mount.path(model))
            mount.wait_until_complete(model)
            self.note("warm/weightfs", self.timed("seq", mount.path(model)))

    def cold_loopback(self):
        """Cold sequential reads on loopback, where the processors are what is short."""
        link, model = self.links["loopback"], self.model
        pipe = f"curl -sf {link.blob(model)} | tee {self.folder}/tee | openssl dgst -sha256 >/dev/null"
        start = time.monotonic()
        run("bash", "-c", f"set -o pipefail; {pipe}")
        self.note("loopback/curl, tee and openssl in one pipe", time.monotonic() - start)
        os.remove(f"{self.folder}/tee")
        self.note("loopback/curl to /dev/null", link.curl(model))
        with self.mount(link) as mount:
            seen = []
            os.stat(mount.path(model))
            watcher = threading.Thread(target=lambda: seen.append(mount.when_committed(model)))
            watcher.start()
            self.note("loopback/weightfs", self.timed("seq", mount.path(model)))
            watcher.join()
            self.note("loopback/weightfs, from the last byte sent to committed", seen[0] - link.last_response())
        for form in ("default", "tuned"):
            with Rclone(self.folder, link, form) as rclone:
                os.stat(rclone.path(model))
                self.note(f"loopback/rclone {form}", self.timed("seq", rclone.path(model)))

    def builds(self):
        """This build, and the one before it where there is one."""
        return [("", WEIGHTFS)] + ([(", before", BEFORE)] if BEFORE else [])

    def fetched(self):
        """A blob that was fetched a moment ago: the pages that fetching left are what readers get."""
        link, model = self.links["loopback"], self.model
        native = f"{self.folder}/native"
        if not os.path.exists(native):
            run("dd", f"if={self.model.path}", f"of={native}", "bs=1M", "status=none")
        for name, program in self.builds():
            with Mount(program, self.folder, link) as mount:
                path = mount.path(model)
                os.stat(path)
                before = mount.processor_time()
                self.note(f"fetched/cold{name}", self.timed("seq", path))
                mount.wait_until_complete(model)
                mount.wait_until_idle()
                self.note(f"fetched/processor time{name}", mount.processor_time() - before)
                assert os.getxattr(path, "user.weightfs.served") == b"passthrough"
                self.timed("seq", native)
                self.note(f"fetched/native sequential{name}", self.timed("seq", native))
                self.note(f"fetched/sequential{name}", self.timed("seq", path))
                for seed in (1, 2):
                    self.note(f"fetched/native faults{name}", self.timed("fault", native, seed, 60_000))
                    self.note(f"fetched/faults{name}", self.timed("fault", path, seed, 60_000))

    def verify(self):
        """`verify` of one complete blob against `openssl dgst` of the same file."""
        link, model = self.links["loopback"], self.model
        for name, program in self.builds():
            root = f"{self.folder}/verified{len(name)}"
            if not os.path.exists(root):
                link.weightfs(program, "pull", link.reference(model), "--registry-root", root)
            file = f"{root}/.weightfs/blobs/sha256/{model.digest.split(':')[1]}"
            self.timed("seq", file)
            start = time.monotonic()
            run("openssl", "dgst", "-sha256", file)
            self.note(f"verify/openssl{name}", time.monotonic() - start)
            start = time.monotonic()
            link.weightfs(program, "verify", link.reference(model), "--registry-root", root)
            self.note(f"verify/weightfs{name}", time.monotonic() - start)

    def cold_throttled(self):
        """A server that gives each connection 30 MB/s."""
        link, model = self.links["throttled"], self.shaped_model
        self.note("throttled/curl", link.curl(model))
        with self.mount(link) as mount:
            os.stat(mount.path(model))
            self.note("throttled/weightfs", self.timed("seq", mount.path(model)))

    def random(self):
        """100 reads of 4 KiB at random in a cold blob, 20 ms before each response."""
        link, model, seed = self.links["shaped"], self.model, 7
        self.note("random/curl, ranges of 64 KiB on one connection", link.curl_ranges(model, seed, 100))
        for mode in ("pread", "fault"):
            for name, blob in (("", model), (" with a chunk list", self.listed_model)):
                with self.mount(link, "--fill", "demand") as mount:
                    path = mount.path(blob)
                    os.stat(path)
                    if name:
                        # The list is fetched at the first open.
                        os.close(os.open(path, os.O_RDONLY))
                    sent = bytes_sent(link)
                    self.note(f"random/weightfs {mode}{name}", self.timed(mode, path, seed, 100))
                    time.sleep(0.2)
                    self.note(f"random/weightfs {mode}{name}, MiB", (bytes_sent(link) - sent) / (1 << 20))
        for form in ("default", "tuned"):
            with Rclone(self.folder, link, form) as rclone:
                path = rclone.path(model)
                os.stat(path)
                sent = bytes_sent(link)
                self.note(f"random/rclone {form}", self.timed("pread", path, seed, 100))
                time.sleep(0.5)
                self.note(f"random/rclone {form}, MiB", (bytes_sent(link) - sent) / (1 << 20))

    def advice(self):
        """Ascending faults over a cold file, with MADV_RANDOM and without, 1 Gbit/s and 20 ms."""
        link, model = self.links["shaped"], self.shaped_model
        for name, program in self.builds():
            for mode in ("map", "maprandom"):
                with Mount(program, self.folder, link) as mount:
                    path = mount.path(model)
                    os.stat(path)
                    self.note(f"advice/{mode}{name}", self.timed(mode, path))

    def strided(self):
        """One of eight ranks reads its part of each row, nothing else is fetched for it."""
        link, model = self.links["shaped"], self.model
        for name, program in self.builds():
            for rows in (SIZE >> 23, SIZE >> 25):
                with Mount(program, self.folder, link, "--fill", "demand") as mount:
                    path = mount.path(model)
                    os.stat(path)
                    sent = bytes_sent(link)
                    self.note(f"strided/rows of {SIZE // rows >> 20} MiB{name}", self.timed("stride", path, rows, 3))
                    time.sleep(0.2)
                    fetched = bytes_sent(link) - sent
                    self.note(f"strided/rows of {SIZE // rows >> 20} MiB{name}, fetched, of its part", fetched / (model.size / 8))

    def formats(self):
        """Headers and single tensors of cold models."""
        link = self.links["shaped"]
        with self.mount(link, "--fill", "demand") as mount:
            path = mount.path(self.tensors)
            os.stat(path)
            requests, sent = link.request_count(self.tensors, 1), bytes_sent(link)
            with open(path, "rb", buffering=0) as file:
                length = struct.unpack("<Q", file.read(8))[0]
                header = json.loads(file.read(length))
                time.sleep(0.2)
                self.note(
                    "formats/safetensors header, requests for it",
                    link.request_count(self.tensors, 8 + length) - requests,
                )
                self.note(
                    "formats/safetensors header, MiB beyond it", (bytes_sent(link) - sent - 8 - length) / (1 << 20)
                )
                start, end = header["tensor.5"]["data_offsets"]
                file.seek(8 + length + start)
                left = end - start
                while left:
                    left -= len(file.read(min(left, 1 << 20)))
            time.sleep(0.2)
            self.note(
                "formats/one tensor of safetensors, bytes of header and tensor",
                (bytes_sent(link) - sent) / (8 + length + end - start),
            )
            path = mount.path(self.gguf)
            os.stat(path)
            length = int(run(PYTHON, "-c", GGUF_HEADER, GGUF))
            requests, sent = link.request_count(self.gguf, length), bytes_sent(link)
            with open(path, "rb") as file:
                left = length
                while left:
                    left -= len(file.read(min(left, 1 << 16)))
            time.sleep(0.2)
            self.note("formats/GGUF header, requests for it", link.request_count(self.gguf, length) - requests)
            self.note("formats/GGUF header, MiB beyond it", (bytes_sent(link) - sent - length) / (1 << 20))

    def engine(self):
        """llama.cpp from cold to its first tokens, 1 Gbit/s and 20 ms."""
        link = self.links["shaped"]
        run("bash", "-c", f"cat {GGUF} >/dev/null")
        start = time.monotonic()
        with self.mount(link) as mount:
            run(PYTHON, f"{HERE}/first_token.py", mount.path(self.gguf))
            self.note("engine/llama.cpp from the mount", time.monotonic() - start)
        root = f"{self.folder}/engine"
        start = time.monotonic()
        link.weightfs(WEIGHTFS, "pull", link.reference(self.gguf), "--registry-root", root)
        run(PYTHON, f"{HERE}/first_token.py", f"{root}/.weightfs/blobs/sha256/{self.gguf.digest.split(':')[1]}")
        self.note("engine/pull, then llama.cpp", time.monotonic() - start)
        run("rm", "-rf", root)

    def readers(self):
        """16 readers in 16 places of one cold blob, 1 Gbit/s and 20 ms."""
        link, model = self.links["shaped"], self.shaped_model
        with self.mount(link) as mount:
            path, part = mount.path(model), model.size // 16
            os.stat(path)
            start = time.monotonic()
            readers = [
                subprocess.Popen([self.reader, "seq", path, str(part * number), str(part)], stdout=subprocess.DEVNULL)
                for number in range(16)
            ]
            assert [reader.wait() for reader in readers] == [0] * 16
            self.note("shaped/16 readers in 16 places", time.monotonic() - start)

    def archives(self):
        """A local oci-archive, pages of the archive warm."""
        with self.mount(root=f"{self.folder}/archives", source=f"oci-archive:{self.archive}") as mount:
            self.timed("seq", self.archive)
            self.note("archive/weightfs", self.timed("seq", f"{mount.point}/{self.model.file}"))
        point = f"{self.folder}/ratarmount"
        os.makedirs(point, exist_ok=True)
        subprocess.run(
            [os.path.join(os.path.dirname(PYTHON), "ratarmount"), "-c", "--index-file", ":memory:", self.archive, point],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            self.note("archive/ratarmount", self.timed("seq", f"{point}/blobs/sha256/{self.model.digest.split(':')[1]}"))
        finally:
            run("umount", point)

    def memory(self):
        """The daemon's memory while 8 readers stream 8 blobs."""
        link = self.links["loopback"]
        with self.mount(link) as mount:
            readers = [
                subprocess.Popen([self.reader, "seq", mount.path(model)], stdout=subprocess.DEVNULL)
                for model in self.large
            ]
            assert [reader.wait() for reader in readers] == [0] * len(readers)
            self.note("memory/peak resident MiB, 8 readers of 8 blobs", mount.peak_memory() / (1 << 20))


def read_all(descriptor):
    buffer = bytearray(1 << 20)
    start = time.monotonic()
    position = 0
    while count := os.preadv(descriptor, [buffer], position):
        position += count
    return time.monotonic() - start


GGUF_HEADER = """
import os, sys
import struct
data = open(sys.argv[1], 'rb').read(64 << 20)
at = 4
def number(form):
    global at
    value = struct.unpack_from('<' + form, data, at)[0]
    at += struct.calcsize(form)
    return value
def text():
    global at
    count = number('Q')
    at += count
    return data[at - count:at]
WIDTH = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
def skip(kind):
    global at
    if kind == 8:
        text()
    elif kind == 9:
        inner, count = number('I'), number('Q')
        for _ in range(count):
            skip(inner)
    else:
        at += WIDTH[kind]
number('I')
tensors, keys = number('Q'), number('Q')
for _ in range(keys):
    text()
    skip(number('I'))
for _ in range(tensors):
    text()
    dimensions = number('I')
    at += 8 * dimensions + 4 + 8
print((at + 31) // 32 * 32)
"""


def main():
    with tempfile.TemporaryDirectory(prefix="weightfs-bench.") as folder:
        bench = Bench(folder)
        try:
            groups = [
                bench.complete, bench.page_cache, bench.cold_shaped, bench.cold_loopback, bench.fetched, bench.verify,
                bench.cold_throttled, bench.random, bench.advice, bench.strided, bench.formats, bench.engine, bench.readers, bench.archives,
            ]
            if ONLY:
                groups = [group for group in groups if group.__name__ in ONLY]
            for repetition in range(REPETITIONS):
                print(f"== repetition {repetition + 1} of {REPETITIONS}", flush=True)
                for group in groups:
                    group()
            if not ONLY or "memory" in ONLY:
                bench.memory()
        finally:
            bench.close()
        model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "?")
        result = {
            "machine": f"{os.cpu_count()} cores of {model}, Linux {platform.release()}",
            "date": time.strftime("%Y-%m-%d"),
            "repetitions": REPETITIONS,
            "sizes": {"model": SIZE, "shaped": SHAPED_SIZE, "large": LARGE, "gguf": os.path.getsize(GGUF)},
            "figures": bench.figures,
            "medians": {name: statistics.median(values) for name, values in bench.figures.items()},
        }
        os.makedirs(os.path.dirname(RESULT) or ".", exist_ok=True)
        with open(RESULT, "w") as file:
            json.dump(result, file, indent=1)


main()
