"""Loads a model with llama.cpp and makes one token. Prints nothing but errors."""
import json
import sys

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx = 512
parameters.n_predict = 1
parameters.warmup = False
parameters.hostnames = ["127.0.0.1"]
parameters.port = 0
server = xllamacpp.Server(parameters)
answer = server.handle_completions({"prompt": "The capital of France is", "max_tokens": 1, "temperature": 0})
if isinstance(answer, (bytes, str)):
    answer = json.loads(answer)
assert answer["choices"], answer
