"""The local registry at scale: 10,000 tags in one repository, 2,000 repositories.

Usage: scale.py WEIGHTFS >docs/benchmarks-scale.md

Everything is on this machine and offline; caches are warm but for the names that are looked up, each of which is asked
for once. Each figure is the median of all runs' medians.
"""

import hashlib, json, os, platform, random, shutil, statistics, subprocess, sys, tempfile, time

TAGS, REPOSITORIES, RUNS, SAMPLE = 10_000, 2_000, 5, 300


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def artifact(place, name, text):
    """An oci-dir of one small file, as any tool writes it."""
    os.makedirs(place + "/blobs/sha256")

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        write(f"{place}/blobs/sha256/{digest}", data)
        return {"digest": "sha256:" + digest, "size": len(data)}

    layer = blob(text) | {
        "mediaType": "application/octet-stream",
        "annotations": {"org.opencontainers.image.title": "model.gguf"},
    }
    config = blob(b"{}") | {"mediaType": "application/vnd.oci.empty.v1+json"}
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "artifactType": "application/x", "config": config, "layers": [layer]}
    entry = blob(json.dumps(manifest).encode()) | {
        "mediaType": kind,
        "annotations": {"org.opencontainers.image.ref.name": name},
    }
    write(place + "/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    write(place + "/index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())


def timed(body):
    start = time.perf_counter()
    result = body()
    return time.perf_counter() - start, result


def each(body, names):
    return statistics.median(timed(lambda: body(name))[0] for name in names)


def listed(path):
    return len(subprocess.run(["ls", path], capture_output=True, timeout=120, check=True).stdout.split())


def run(weightfs, root, mount, figures):
    words = [weightfs, "mount", "--offline", "--registry-root", root, "--log-file", root + ".log", mount]
    figures["mount until it serves, s"].append(timed(lambda: subprocess.run(words, check=True, timeout=60))[0])
    try:
        big, acme = mount + "/ghcr.io/acme/big", mount + "/ghcr.io/acme"
        assert listed(big) == TAGS
        time_, count = timed(lambda: listed(big))
        assert count == TAGS
        figures["ls of 10,000 tags, warm, s"].append(time_)
        assert listed(acme) == REPOSITORIES + 1
        repositories = random.sample(range(REPOSITORIES), 2 * SAMPLE)
        tags = random.sample(range(TAGS), SAMPLE)
        figures["look-up of a repository, ms"].append(1e3 * each(lambda n: os.stat(f"{acme}/r{n:04d}"), repositories[:SAMPLE]))
        figures["look-up of a tag among 10,000, ms"].append(1e3 * each(lambda n: os.stat(f"{big}/t{n:05d}"), tags))
        figures["look-up of repository:tag, ms"].append(1e3 * each(lambda n: os.stat(f"{acme}/r{n:04d}:v1"), repositories[SAMPLE:]))
        status = subprocess.run(["pgrep", "-f", f"ready-descriptor.*{mount}"], capture_output=True, text=True).stdout.split()
        text = open(f"/proc/{status[0]}/status").read()
        figures["the daemon's peak, MiB"].append(int(text.split("VmHWM:")[1].split()[0]) / 1024)
    finally:
        subprocess.run([weightfs, "unmount", mount], check=False, timeout=60)


def main():
    weightfs = os.path.abspath(sys.argv[1])
    wanted = {
        "mount until it serves, s": 0.3, "ls of 10,000 tags, warm, s": 0.2, "look-up of a repository, ms": 0.5,
        "look-up of a tag among 10,000, ms": 0.5, "look-up of repository:tag, ms": 0.5, "the daemon's peak, MiB": 64,
    }
    figures = {name: [] for name in wanted}
    folder = tempfile.mkdtemp(prefix="weightfs-scale-")
    try:
        root, mount = folder + "/root", folder + "/mount"
        os.mkdir(mount)
        for number in range(TAGS):
            artifact(f"{root}/ghcr.io/acme/big/__t{number:05d}", f"ghcr.io/acme/big:t{number:05d}", b"tag %d" % number)
        for number in range(REPOSITORIES):
            artifact(f"{root}/ghcr.io/acme/r{number:04d}/__v1", f"ghcr.io/acme/r{number:04d}:v1", b"repository %d" % number)
        random.seed(1)
        for _ in range(RUNS):
            run(weightfs, root, mount, figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    print("# The local registry at scale\n")
    print(f"`make bench-scale` ({RUNS} runs, {SAMPLE} names a figure and run, medians) on {os.cpu_count()} cores of {cpu}, Linux {platform.release()}.\n")
    print(f"{TAGS:,} tags in one repository and {REPOSITORIES:,} repositories, each artifact an oci-dir of one file, `--offline`.\n")
    print("| | median | least | most | must be |\n|---|---|---|---|---|")
    missed = False
    for name, values in figures.items():
        middle = statistics.median(values)
        missed = missed or middle > wanted[name]
        print(f"| {name} | {middle:.3g} | {min(values):.3g} | {max(values):.3g} | {wanted[name]:g} at the most |")
    sys.exit(1 if missed else 0)


main()
