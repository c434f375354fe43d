"""Starts llama.cpp's own HTTP server on a model file and prints a completion and the file's mapping."""
import json
import sys
import time
import urllib.request

import xllamacpp

started = time.monotonic()
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx = 512
parameters.n_predict = 24
parameters.warmup = False
parameters.hostnames = ["127.0.0.1"]
parameters.port = 0
server = xllamacpp.Server(parameters)
print(f"loaded after {time.monotonic() - started:.2f} s")
request = {"prompt": "The capital of France is", "max_tokens": 24, "temperature": 0}
answer = server.handle_completions(request) if hasattr(server, "handle_completions") else None
if answer is None:
    body = json.dumps(request).encode()
    url = server.listening_address + "/v1/completions"
    answer = json.load(urllib.request.urlopen(urllib.request.Request(url, body), timeout=120))
if isinstance(answer, (bytes, str)):
    answer = json.loads(answer)
text = answer["choices"][0]["text"]
assert text.strip(), "the completion is empty"
print(f"answered after {time.monotonic() - started:.2f} s")
print(f"completion: {request['prompt']}{text}".replace("\n", " "))
with open("/proc/self/maps") as maps:
    mapped = [line.split()[-1] for line in maps if line.rstrip().endswith(".gguf")]
print("mapped:", mapped[0] if mapped else "no")
