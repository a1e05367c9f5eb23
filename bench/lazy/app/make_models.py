"""Makes the two models of the workloads, inside the image's own tree."""
import pickle

import tensorflow as tf
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

layers = tf.keras.layers
tf.keras.utils.set_random_seed(1)
tf.keras.Sequential([tf.keras.Input((8,)), layers.Dense(16, "relu"), layers.Dense(1)]).save("/app/model.keras")
x, y = make_classification(200, 8, random_state=1)
with open("/app/model.pickle", "wb") as file:
    pickle.dump(RandomForestClassifier(20, random_state=1).fit(x, y), file)
