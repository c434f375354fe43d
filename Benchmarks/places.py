"""Where the benchmark's bytes are and how they get there: a static registry served by nginx, shaped links, mounts."""
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import tarfile
import time


def run(*words, **options):
    result = subprocess.run(words, capture_output=True, text=True, **options)
    if result.returncode:
        raise SystemExit(f"{' '.join(words)}: {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def waits(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain")
        time.sleep(0.002)


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("1\n")


def pages_cached():
    for line in open("/proc/meminfo"):
        if line.startswith("Cached:"):
            return int(line.split()[1]) << 10
    return 0


def safetensors(path, count, size):
    header = {f"tensor.{n}": {"dtype": "U8", "shape": [size], "data_offsets": [n * size, (n + 1) * size]} for n in range(count)}
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(count):
            file.write(os.urandom(size))
    return path


class Model:
    def __init__(self, name, file, path, digest, size):
        self.name, self.file, self.path, self.digest, self.size = name, file, path, digest, size


class Store:
    """The files of a registry that only answers GET and HEAD, as nginx serves them."""

    EMPTY = b"{}"

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(f"{folder}/files")

    def _blob(self, name, data):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with open(f"{self.folder}/v2/bench/{name}/blobs/{digest}", "wb") as file:
            file.write(data)
        return digest

    def add_file(self, name, file, path, annotations=None):
        base = f"{self.folder}/v2/bench/{name}"
        for part in ("blobs", "manifests", "tags"):
            os.makedirs(f"{base}/{part}", exist_ok=True)
        hashed = hashlib.sha256()
        with open(path, "rb") as source:
            while piece := source.read(1 << 20):
                hashed.update(piece)
        digest = f"sha256:{hashed.hexdigest()}"
        blob = f"{base}/blobs/{digest}"
        try:
            os.link(path, blob)
        except OSError:
            run("cp", "--reflink=auto", path, blob)
        # The same bytes under a plain name, for those who know no registries.
        os.link(blob, f"{self.folder}/files/{name}")
        size = os.path.getsize(path)
        self._manifest(name, digest, size, {"org.opencontainers.image.title": file, **(annotations or {})})
        return Model(name, file, blob, digest, size)

    def _manifest(self, name, digest, size, annotations):
        base = f"{self.folder}/v2/bench/{name}"
        manifest = self._document(digest, size, annotations, self._blob(name, self.EMPTY))
        own = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        for target in ("t", own):
            with open(f"{base}/manifests/{target}", "wb") as file:
                file.write(manifest)
        with open(f"{base}/tags/list", "w") as file:
            json.dump({"name": f"bench/{name}", "tags": ["t"]}, file)

    @staticmethod
    def _document(digest, size, annotations, config):
        layer = {"mediaType": "application/octet-stream", "digest": digest, "size": size, "annotations": annotations}
        return json.dumps({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.bench.model",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
            "layers": [layer],
        }).encode()

    def add_random(self, name, size):
        path = f"{self.folder}/{name}.bin"
        with open(path, "wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        return self.add_file(name, f"{name}.bin", path)

    def add_sparse(self, name, size, number):
        path = f"{self.folder}/{name}.bin"
        with open(path, "wb") as file:
            file.write(f"model {number}".encode())
            file.truncate(size)
        return self.add_file(name, f"{name}.bin", path)

    def add_list(self, model, name):
        """The same blob in a repository whose manifest names the list of its chunks."""
        base = f"{self.folder}/v2/bench/{name}"
        for part in ("blobs", "manifests", "tags"):
            os.makedirs(f"{base}/{part}", exist_ok=True)
        digests = b""
        with open(model.path, "rb") as file:
            while piece := file.read(1 << 20):
                digests += hashlib.sha256(piece).digest()
        os.link(model.path, f"{base}/blobs/{model.digest}")
        self._manifest(name, model.digest, model.size, {
            "org.opencontainers.image.title": model.file,
            "dev.weightfs.chunks.digest": self._blob(name, digests),
            "dev.weightfs.chunks.size": str(1 << 20),
        })
        return Model(name, model.file, model.path, model.digest, model.size)

    def layout(self, folder, model):
        if os.path.exists(folder):
            return folder
        os.makedirs(f"{folder}/blobs/sha256")

        def store(data):
            digest = hashlib.sha256(data).hexdigest()
            with open(f"{folder}/blobs/sha256/{digest}", "wb") as file:
                file.write(data)
            return f"sha256:{digest}"

        os.link(model.path, f"{folder}/blobs/sha256/{model.digest.split(':')[1]}")
        annotations = {"org.opencontainers.image.title": model.file}
        manifest = self._document(model.digest, model.size, annotations, store(self.EMPTY))
        kind = "application/vnd.oci.image.manifest.v1+json"
        entry = {"mediaType": kind, "digest": store(manifest), "size": len(manifest)}
        with open(f"{folder}/index.json", "w") as file:
            json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
        with open(f"{folder}/oci-layout", "w") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')
        return folder

    def add_archive(self, path, model):
        layout = self.layout(f"{path}.layout", model)
        with tarfile.open(path, "w") as archive:
            for name in ("oci-layout", "index.json", "blobs"):
                archive.add(f"{layout}/{name}", name)
        return path


class Link:
    """nginx in front of a store, with a delay for each request, a rate for each connection, or a rate for all.

    The rate for all is a token bucket on the loopback device of a network namespace, in which the clients run too.
    The delay is one for each request, not a round trip: this kernel has no netem.
    """

    numbers = itertools.count()

    def __init__(self, store, folder, delay=0, rate=None, gigabits=None):
        os.makedirs(folder)
        self.folder = folder
        self.inside = []
        self.namespace = None
        if gigabits:
            self.namespace = f"weightfs-{os.getpid()}-{next(self.numbers)}"
            run("ip", "netns", "add", self.namespace)
            self.inside = ["nsenter", f"--net=/var/run/netns/{self.namespace}"]
            run(*self.inside, "ip", "link", "set", "lo", "up")
            bucket = ["rate", f"{gigabits}gbit", "burst", "2mb", "limit", "32mb"]
            run(*self.inside, "tc", "qdisc", "add", "dev", "lo", "root", "tbf", *bucket)
        self.port = 18_000 + os.getpid() % 10_000 + next(self.numbers)
        modules = "/usr/lib/nginx/modules"
        sleep = f"access_by_lua_block {{ ngx.sleep({delay}) }}" if delay else ""
        limit = f"limit_rate {rate};" if rate else ""
        with open(f"{folder}/nginx.conf", "w") as file:
            file.write(f"""
load_module {modules}/ndk_http_module.so; load_module {modules}/ngx_http_lua_module.so;
user root; worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format short '$msec $status $body_bytes_sent $request "$http_range"';
  access_log {folder}/access.log short; sendfile on; keepalive_requests 1000000;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{self.port}; root {store.folder}; autoindex on; {sleep} {limit}
    location ~ /manifests/ {{ default_type application/vnd.oci.image.manifest.v1+json; }}
  }}
}}
""")
        self.server = subprocess.Popen([*self.inside, "nginx", "-c", f"{folder}/nginx.conf"])
        waits(lambda: subprocess.run([*self.inside, "curl", "-s", "-o", "/dev/null", self.url], check=False).returncode == 0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self.server.terminate()
        self.server.wait(20)
        if self.namespace:
            run("ip", "netns", "delete", self.namespace)

    def reference(self, model):
        return f"127.0.0.1:{self.port}/bench/{model.name}:t"

    def blob(self, model):
        return f"{self.url}/v2/bench/{model.name}/blobs/{model.digest}"

    def weightfs(self, program, *words):
        run(*self.inside, program, *words)

    def curl(self, model):
        start = time.monotonic()
        run(*self.inside, "curl", "-sf", "-o", "/dev/null", self.blob(model))
        return time.monotonic() - start

    def curl_ranges(self, model, seed, count):
        """Ranges of 64 KiB around the places that `reader` reads with the same seed, one after another."""
        state, parts = seed, []
        for _ in range(count):
            state = (state + 0x9E3779B97F4A7C15) % 2**64
            value = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
            at = (value ^ (value >> 31)) % (model.size // 4096) * 4096 // 65536 * 65536
            end = min(at + 65536, model.size) - 1
            parts.append(f"url={self.blob(model)}\nrange={at}-{end}\noutput=/dev/null\nsilent\nfail\n")
        path = f"{self.folder}/ranges"
        with open(path, "w") as file:
            file.write("next\n".join(parts))
        start = time.monotonic()
        run(*self.inside, "curl", "-K", path)
        return time.monotonic() - start

    def responses(self):
        for line in open(f"{self.folder}/access.log"):
            parts = line.split()
            if len(parts) > 4 and ("/blobs/" in parts[4] or "/files/" in parts[4]) and parts[3] == "GET":
                yield float(parts[0]), int(parts[2])

    def request_count(self, model, before):
        """Requests for bytes of a blob before an offset."""
        count = 0
        for line in open(f"{self.folder}/access.log"):
            if model.digest in line and "GET" in line:
                start = re.search(r'"bytes=(\d+)-', line)
                count += (int(start[1]) if start else 0) < before
        return count

    def last_response(self):
        return max(moment for moment, _ in self.responses())


def bytes_sent(link):
    return sum(count for _, count in link.responses())


class Mount:
    numbers = itertools.count()

    def __init__(self, program, folder, link, *options, root=None, source=None):
        number = next(self.numbers)
        self.program, self.link = program, link
        self.is_kept = root is not None
        self.root = root or f"{folder}/root{number}"
        self.point = f"{folder}/mount{number}"
        os.makedirs(self.point)
        words = [program, "mount", "--registry-root", self.root, *options, *([source] if source else []), self.point]
        run(*(link.inside if link else []), *words)
        found = run("pgrep", "-f", "--", f"ready-descriptor.*{self.point}$").split()
        self.process = int(found[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run(self.program, "unmount", self.point)
        waits(lambda: not os.path.exists(f"/proc/{self.process}"))
        if not self.is_kept:
            run("rm", "-rf", self.root)
        os.rmdir(self.point)

    def path(self, model):
        return f"{self.point}/127.0.0.1:{self.link.port}/bench/{model.name}:t/{model.file}"

    def stop(self):
        os.kill(self.process, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process, signal.SIGCONT)

    def wait_until_complete(self, model):
        waits(lambda: os.path.exists(self.committed(model)))

    def committed(self, model):
        return f"{self.root}/.weightfs/blobs/sha256/{model.digest.split(':')[1]}"

    def when_committed(self, model):
        self.wait_until_complete(model)
        return time.time()

    def processor_time(self):
        """Of the daemon, user and system, seconds."""
        fields = open(f"/proc/{self.process}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_until_idle(self):
        """Until the daemon has used no processor for half a second."""
        while True:
            before = self.processor_time()
            time.sleep(0.5)
            if self.processor_time() - before < 0.02:
                return

    def peak_memory(self):
        text = open(f"/proc/{self.process}/status").read()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) << 10


class Rclone:
    FORMS = {
        "default": [],
        "tuned": ["--vfs-read-chunk-size", "4M", "--vfs-read-ahead", "0", "--buffer-size", "0"],
    }

    def __init__(self, folder, link, form):
        self.point = f"{folder}/rclone"
        self.cache = f"{folder}/rclone.cache"
        os.makedirs(self.point, exist_ok=True)
        words = ["rclone", "mount", ":http:", self.point, "--http-url", f"{link.url}/files/", "--vfs-cache-mode", "full"]
        words += ["--cache-dir", self.cache, "--read-only", *self.FORMS[form]]
        self.process = subprocess.Popen([*link.inside, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        waits(lambda: os.path.ismount(self.point))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run("umount", self.point)
        self.process.wait(60)
        run("rm", "-rf", self.cache)

    def path(self, model):
        return f"{self.point}/{model.name}"
