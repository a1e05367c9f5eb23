"""Trains the model on data that ships with scikit-learn: `python train.py` writes digits.joblib and request.json.

Needs the packages named in hearth.toml, because the file is read with the versions it was written with.
"""
import json
import pathlib

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

here = pathlib.Path(__file__).parent
images, digits = load_digits(return_X_y=True)
train_images, test_images, train_digits, test_digits = train_test_split(images, digits, random_state=0)
model = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=1000)).fit(train_images, train_digits)
print("accuracy on %d images not seen: %.3f" % (len(test_images), model.score(test_images, test_digits)))
joblib.dump(model, here / "digits.joblib")

# A batch of three images: [[id, image], …].
request = {"data": [[number, [int(pixel) for pixel in image]] for number, image in enumerate(test_images[:3])]}
print("request.json shows", test_digits[:3].tolist())
(here / "request.json").write_text(json.dumps(request) + "\n")
