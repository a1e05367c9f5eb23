"""Workload sk: import scikit-learn, load a forest, answer once."""
import time

began = time.monotonic()
import pickle

import sklearn

imported = time.monotonic()
with open("/app/model.pickle", "rb") as file:
    answer = int(pickle.load(file).predict([[0.0] * 8])[0])
print(f"READY sk {sklearn.__version__} answer={answer} import={imported - began:.2f}s total={time.monotonic() - began:.2f}s", flush=True)
