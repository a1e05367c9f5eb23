"""Trains the model on data that ships with scikit-learn: `python train.py` writes diabetes.txt and request.json.

Needs scikit-learn besides the packages named in hearth.toml; the deployed model does not.
"""
import json
import pathlib

import lightgbm
import numpy
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

here = pathlib.Path(__file__).parent
patients, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
train, test, train_y, test_y = train_test_split(patients, progression, random_state=0)
settings = {"objective": "l2", "learning_rate": 0.03, "num_leaves": 7, "min_data_in_leaf": 15, "feature_fraction": 0.6,
            "bagging_fraction": 0.8, "bagging_freq": 1, "seed": 0, "deterministic": True, "verbosity": -1}
model = lightgbm.train(settings, lightgbm.Dataset(train, train_y), num_boost_round=150)
error = numpy.sqrt(((model.predict(test) - test_y) ** 2).mean())
print("root mean square error on %d patients not seen: %.1f (always the mean: %.1f)" % (len(test), error, test_y.std()))
model.save_model(here / "diabetes.txt")

# A batch of three patients: [[id, {column: value}], …].
request = {"data": [[number, row] for number, row in enumerate(test.head(3).to_dict("records"))]}
print("request.json asks for", test_y.head(3).tolist())
(here / "request.json").write_text(json.dumps(request) + "\n")
