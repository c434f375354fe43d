"""Makes docs/benchmarks.md of what bench.py wrote. Usage: report.py RESULT.json >docs/benchmarks.md"""
import json
import statistics
import sys

result = json.load(open(sys.argv[1]))
figures = result["figures"]
medians = result["medians"]


def ratio(name, other):
    """The median of the ratios, run by run."""
    return statistics.median(a / b for a, b in zip(figures[name], figures[other]))


def best(*names):
    return min(names, key=lambda name: medians[name])


def mib(size):
    return f"{size >> 20} MiB" if size % (1 << 30) else f"{size >> 30} GiB"


sizes = result["sizes"]
model, shaped, large = (mib(sizes[name]) for name in ("model", "shaped", "large"))
rows = []


def row(what, target, value, holds, note=""):
    rows.append((what, target, value, "yes" if holds else "**no**", note))


def times(what, target, name, other, most=None, least=None, note=""):
    value = ratio(name, other)
    holds = (most is None or value <= most) and (least is None or value >= least)
    row(what, target, f"{value:.3f}", holds, note or f"{medians[name]:.4g} s against {medians[other]:.4g} s")


def faster(what, target, name, other, least):
    value = ratio(other, name)
    row(what, target, f"{value:.2f}", value >= least, f"{medians[name]:.4g} s against {medians[other]:.4g} s")


def figure(what, target, name, most, unit=""):
    row(what, target, f"{medians[name]:.4g}{unit}", medians[name] <= most)


faster(f"complete {model}, sequential 1 MiB reads, pages warm, speed of native", ">= 0.95",
       "complete/weightfs sequential", "complete/native sequential", 0.95)
row("the same: READs that reach the daemon", "0", "0", True, "the daemon is stopped (SIGSTOP) while it is read")
times("complete, 200,000 random faults of a mapping, time of native", "<= 1.10",
      "complete/weightfs faults", "complete/native faults", 1.10)
faster(f"just fetched {model}, pages warm, sequential 1 MiB reads, speed of native", ">= 0.95",
       "fetched/sequential", "fetched/native sequential", 0.95)
times("the same, 60,000 random faults of a mapping, time of native", "<= 1.15",
      "fetched/faults", "fetched/native faults", 1.15)
if "fetched/processor time, before" in figures:
    times(f"daemon's user and system time for a cold sequential {model}, of e051ed7's", "<= 0.65",
          "fetched/processor time", "fetched/processor time, before", 0.65)
    faster("the same, speed of e051ed7", ">= 1.0", "fetched/cold", "fetched/cold, before", 1.0)
times(f"`verify` of one complete {model}, time of `openssl dgst`", "<= 0.60", "verify/weightfs", "verify/openssl", 0.60)
figure(f"page cache grown by reading a complete {large} blob, of its size", "<= 1.10",
       "complete/page cache grown, of the size", 1.10)
times(f"cold sequential, {shaped}, 1 Gbit/s and 20 ms, time of `curl`", "<= 1.05", "shaped/weightfs", "shaped/curl", 1.05)
times("the same, time of pull and then read", "< 1", "shaped/weightfs", "shaped/pull, then read", 1.0)
times(f"cold sequential, {model}, loopback, time of `curl`, `tee` and `openssl` in one pipe", "<= 1.0",
      "loopback/weightfs", "loopback/curl, tee and openssl in one pipe", 1.0)
faster(f"cold sequential, {shaped}, 30 MB/s a connection, speed of `curl`", ">= 3", "throttled/weightfs", "throttled/curl", 3)
figure("cold sequential, bytes from the registry, of the blob", "<= 1.02", "shaped/bytes sent, of the size", 1.02)
ranges = "random/curl, ranges of 64 KiB on one connection"
for mode, word in (("pread", "`pread`"), ("fault", "mmap")):
    times(f"100 random 4 KiB reads of a cold {model}, {word}, time of `curl`'s ranges", "<= 1.15",
          f"random/weightfs {mode}", ranges, 1.15)
    figure("the same, fetched", "<= 16 MiB", f"random/weightfs {mode}, MiB", 16, " MiB")
    times("the same with a chunk list, time of that without", "<= 1.6",
          f"random/weightfs {mode} with a chunk list", f"random/weightfs {mode}", 1.6)
    figure("the same, fetched", "<= 110 MiB", f"random/weightfs {mode} with a chunk list, MiB", 110, " MiB")
for kind in ("safetensors", "GGUF"):
    figure(f"{kind} header of a cold model, requests for it after resolve", "<= 3", f"formats/{kind} header, requests for it", 3)
    figure("the same, fetched beyond it", "<= 2 MiB", f"formats/{kind} header, MiB beyond it", 2, " MiB")
figure("one tensor of 16 MiB of a cold safetensors model, fetched, of header and tensor", "<= 1.12",
       "formats/one tensor of safetensors, bytes of header and tensor", 1.12)
times("llama.cpp from cold to its first token (Gemma 3 270M, 253 MB), 1 Gbit/s, time of pull and then start", "<= 0.90",
      "engine/llama.cpp from the mount", "engine/pull, then llama.cpp", 0.90)
faster(f"16 readers in 16 places of one cold {shaped}, speed of one", ">= 0.9", "shaped/16 readers in 16 places", "shaped/weightfs", 0.9)
figure(f"{model} filled in order: from the last byte sent to committed, with its fdatasync", "<= 0.15 s",
       "loopback/weightfs, from the last byte sent to committed", 0.15, " s")
figure(f"daemon's peak memory, 8 readers of 8 blobs of {large}", "<= 96 MiB",
       "memory/peak resident MiB, 8 readers of 8 blobs", 96, " MiB")
for link in ("shaped", "loopback"):
    other = best(f"{link}/rclone default", f"{link}/rclone tuned")
    faster(f"against rclone ({other.split()[-1]}), cold sequential, {link}", ">= 1.0", f"{link}/weightfs", other, 1.0)
other = best("random/rclone default", "random/rclone tuned")
faster(f"against rclone ({other.split()[-1]}), 100 random reads", ">= 1.0", "random/weightfs pread", other, 1.0)
bytes_ratio = ratio("random/weightfs pread, MiB", f"{other}, MiB")
row("the same, bytes", "<= 1/7", f"1/{1 / bytes_ratio:.1f}", bytes_ratio <= 1 / 7,
    f"{medians['random/weightfs pread, MiB']:.4g} MiB against {medians[other + ', MiB']:.4g} MiB")
other = best("warm/rclone default", "warm/rclone tuned")
faster(f"against rclone ({other.split()[-1]}), warm sequential, {shaped}", ">= 5", "warm/weightfs", other, 5)

print(f"""# Benchmarks

Made by `make bench` (release build) on {result['date']} and written by `Benchmarks/report.py`; do not edit. Machine: {result['machine']}.
{result['repetitions']} repetitions of one interleaved run: whatever is compared is measured side by side in each of them. Ratios are medians of the
ratios run by run; figures are medians.

Links: **loopback** is nginx on this machine. **shaped** is nginx in a network namespace with a token bucket (`tc tbf`) of 1 Gbit/s on its
loopback device, and a sleep of 20 ms before each response: this kernel has no `netem`, so the delay is one for each request and not a
round trip; opening a connection costs nothing of it. **throttled** is nginx with `limit_rate 30m` for each connection. Models are random bytes,
but for the {large} ones, which are zeros. rclone is `--vfs-cache-mode full`, as it comes (*default*) and with `--vfs-read-chunk-size 4M
--vfs-read-ahead 0 --buffer-size 0` (*tuned*); it verifies nothing. weightfs hashes all that it fetches. Names are looked up before the clock
starts, in rclone's mounts and in weightfs' alike, but for llama.cpp, whose time begins with the mount.

## What it must reach

| what | must be | is | holds | figures |
|---|---|---|---|---|""")
for what, target, value, holds, note in rows:
    print(f"| {what} | {target} | {value} | {holds} | {note} |")
print("""
## All figures

Seconds where nothing else is said.

| what | median | least | most |
|---|---|---|---|""")
for name, values in figures.items():
    print(f"| {name} | {statistics.median(values):.4g} | {min(values):.4g} | {max(values):.4g} |")
reasons = [
    ("100 random reads", "both wait for a response of 20 ms each time; weightfs takes some tenths of a millisecond longer for each. Where they go was"
     " not measured"),
    ("cold sequential, shaped", "both fill the link; weightfs asks for the first 1.1 MiB alone before it knows that the host gives ranges, so its second"
     " request is sent one response later"),
    ("cold sequential, loopback", "the processors are what is short, and weightfs hashes every byte on them, which rclone does not"),
]
missed = [what for what, _, _, holds, _ in rows if holds != "yes"]
if not missed:
    print("\nNone is missed.")
for what in missed:
    why = next((why for words, why in reasons if words in what), "not known")
    print(f"\nMissed: {what}. Why: {why}.")
