"""The forward pass of BERT in numpy, with weights read in place from a safetensors file."""
import json
import math

import numpy


def read_safetensors(path):
    """{name: array}, mapped from the file: nothing is read before it is used. Only float32 tensors."""
    raw = numpy.memmap(path, dtype=numpy.uint8, mode="r")
    length = int(raw[:8].view("<u8")[0])
    tensors = {}
    for name, entry in json.loads(bytes(raw[8:8 + length])).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = raw[begin:end].view("<f4").reshape(entry["shape"])
    return tensors


def erf(x):
    """Abramowitz and Stegun 7.1.26; the error is below 2e-7, which float32 hardly sees."""
    t = 1 / (1 + 0.3275911 * numpy.abs(x))
    poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    return numpy.sign(x) * (1 - poly * numpy.exp(-x * x))


def gelu(x):
    return x * 0.5 * (1 + erf(x * numpy.float32(1 / math.sqrt(2))))


def softmax(x):
    x = numpy.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


class Bert:
    def __init__(self, tensors, config):
        self._tensors = tensors
        self._layers = config["num_hidden_layers"]
        self._heads = config["num_attention_heads"]
        self._epsilon = config["layer_norm_eps"]

    def _linear(self, x, name):
        return x @ self._tensors[name + ".weight"].T + self._tensors[name + ".bias"]

    def _norm(self, x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / numpy.sqrt((x * x).mean(axis=-1, keepdims=True) + self._epsilon)
        return x * self._tensors[name + ".weight"] + self._tensors[name + ".bias"]

    def _attention(self, x, hidden, name):
        batch, length, width = x.shape
        query, key, value = (
            self._linear(x, "%s.self.%s" % (name, part)).reshape(batch, length, self._heads, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value"))
        weights = softmax(query @ key.transpose(0, 1, 3, 2) / numpy.float32(math.sqrt(width // self._heads)) + hidden)
        joined = (weights @ value).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return self._linear(joined, name + ".output.dense")

    def __call__(self, ids, mask):
        """ids, mask: (sentences, tokens). Returns (sentences, tokens, width)."""
        tensors = self._tensors
        x = tensors["embeddings.word_embeddings.weight"][ids]
        x = x + tensors["embeddings.position_embeddings.weight"][:ids.shape[1]]
        x = self._norm(x + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        hidden = numpy.where(mask, numpy.float32(0), numpy.float32(-1e9))[:, None, None, :]
        for number in range(self._layers):
            layer = "encoder.layer.%d." % number
            x = self._norm(x + self._attention(x, hidden, layer + "attention"), layer + "attention.output.LayerNorm")
            inner = gelu(self._linear(x, layer + "intermediate.dense"))
            x = self._norm(x + self._linear(inner, layer + "output.dense"), layer + "output.LayerNorm")
        return x
