"""Workload tf: import tensorflow, load a keras model, answer once."""
import time

began = time.monotonic()
import tensorflow as tf

imported = time.monotonic()
model = tf.keras.models.load_model("/app/model.keras")
answer = float(model(tf.ones((1, 8)))[0, 0])
print(f"READY tf {tf.__version__} answer={answer:.4f} import={imported - began:.2f}s total={time.monotonic() - began:.2f}s", flush=True)
