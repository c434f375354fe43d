"""First figures: weightfs against curl and the native file, interleaved, medians of five.

Usage: baseline.py PATH_OF_WEIGHTFS [MEGABYTES]. Prints a table for docs/benchmarks.md and writes .build/baseline.json.
"""
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

WEIGHTFS = sys.argv[1]
SIZE = int(sys.argv[2] if len(sys.argv) > 2 else 512) << 20
REPETITIONS = 5


def run(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options)


def timed_read(path):
    start = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        total = 0
        while count := file.readinto(buffer):
            total += count
    assert total == SIZE, total
    return time.monotonic() - start


class Registry:
    def __init__(self, folder):
        self.log_path = os.path.join(folder, "registry.log")
        configuration = os.path.join(folder, "registry.yml")
        with open(configuration, "w") as file:
            file.write(
                "version: 0.1\nlog: {level: info}\n"
                f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
                'http: {addr: "127.0.0.1:0"}\n'
            )
        self.log = open(self.log_path, "w")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", configuration], stdout=self.log, stderr=self.log
        )
        for _ in range(200):
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", open(self.log_path).read())
            if found:
                self.host = f"localhost:{found[1]}"
                return
            time.sleep(0.05)
        raise SystemExit("the registry did not start")

    def blob_bytes(self):
        sum_ = 0
        for line in open(self.log_path):
            found = re.search(r'"GET /v2/\S+/blobs/\S+ HTTP/1\.1" (?:200|206) (\d+)', line)
            if found:
                sum_ += int(found[1])
        return sum_


def layout(folder):
    """An oci-dir with one raw layer of random bytes."""
    import hashlib

    def store(data):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{folder}/layout/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return f"sha256:{digest}"

    os.makedirs(f"{folder}/layout/blobs/sha256")
    data = os.urandom(SIZE)
    digest = store(data)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.test.model",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": store(b"{}"), "size": 2},
            "layers": [
                {
                    "mediaType": "application/octet-stream",
                    "digest": digest,
                    "size": SIZE,
                    "annotations": {"org.opencontainers.image.title": "model.bin"},
                }
            ],
        }
    ).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": store(manifest),
        "size": len(manifest),
    }
    with open(f"{folder}/layout/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
    with open(f"{folder}/layout/oci-layout", "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    return digest


def main():
    folder = tempfile.mkdtemp(prefix="weightfs-bench.")
    mount_point = f"{folder}/mnt"
    os.makedirs(mount_point)
    digest = layout(folder)
    registry = Registry(folder)
    results = {name: [] for name in ("curl", "cold", "cold_to_complete", "native", "complete_first", "complete_warm")}
    amplification = []
    try:
        run(
            "skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false",
            f"oci:{folder}/layout", f"docker://{registry.host}/acme/model:t",
        )
        url = f"http://{registry.host}/v2/acme/model/blobs/{digest}"
        native = f"{folder}/layout/blobs/sha256/{digest.split(':')[1]}"
        for repetition in range(REPETITIONS + 1):
            row = {}
            start = time.monotonic()
            run("curl", "-sf", "-o", "/dev/null", url)
            row["curl"] = time.monotonic() - start
            root = f"{folder}/root{repetition}"
            run(WEIGHTFS, "mount", "--registry-root", root, mount_point)
            path = f"{mount_point}/{registry.host}/acme/model:t/model.bin"
            before = registry.blob_bytes()
            start = time.monotonic()
            row["cold"] = timed_read(path)
            while os.getxattr(path, "user.weightfs.state") != b"complete":
                time.sleep(0.01)
            row["cold_to_complete"] = time.monotonic() - start
            time.sleep(0.2)
            sent = registry.blob_bytes() - before
            run(WEIGHTFS, "unmount", mount_point)
            timed_read(native)
            row["native"] = timed_read(native)
            run(WEIGHTFS, "mount", "--registry-root", root, mount_point)
            timed_read(f"{root}/.weightfs/blobs/sha256/{digest.split(':')[1]}")
            row["complete_first"] = timed_read(path)
            row["complete_warm"] = timed_read(path)
            run(WEIGHTFS, "unmount", mount_point)
            shutil.rmtree(root)
            # The first round warms everything that is warmed once.
            if repetition:
                amplification.append(sent / SIZE)
                for name, seconds in row.items():
                    results[name].append(seconds)
    finally:
        subprocess.run([WEIGHTFS, "unmount", "--lazy", mount_point], capture_output=True)
        registry.process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    report(results, amplification)


def report(results, amplification):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "?")
    machine = f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"
    megabytes = SIZE >> 20
    print(f"{megabytes} MiB, {REPETITIONS} interleaved runs, {machine}\n")
    print("| what | median s | MiB/s | against | ratio of times (median of pairs) |")
    print("|---|---|---|---|---|")
    against = {
        "curl": None, "cold": "curl", "cold_to_complete": "curl", "native": None,
        "complete_first": "native", "complete_warm": "native",
    }
    titles = {
        "curl": "`curl` of the blob to /dev/null",
        "cold": "cold sequential read through the mount",
        "cold_to_complete": "the same, until the blob is verified and committed",
        "native": "native file, pages warm",
        "complete_first": "complete blob through the mount, backing pages warm",
        "complete_warm": "the same again, its own pages warm",
    }
    for name, seconds in results.items():
        median = statistics.median(seconds)
        other = against[name]
        ratio = statistics.median(a / b for a, b in zip(seconds, results[other])) if other else None
        print(
            f"| {titles[name]} | {median:.3f} | {megabytes / median:.0f} | {other or '-'} | "
            f"{f'{ratio:.2f}' if ratio else '-'} |"
        )
    print(f"\nBytes that the registry sent for bytes read, cold: {statistics.median(amplification):.4f}")
    os.makedirs(".build", exist_ok=True)
    with open(".build/baseline.json", "w") as file:
        json.dump({"machine": machine, "bytes": SIZE, "seconds": results, "amplification": amplification}, file)


main()
