"""Which digit is it? Logistic regression on 8×8 images, trained by train.py."""
import pathlib

import joblib
import numpy

model = None


def setup():
    """Once per worker, before it takes requests."""
    global model
    model = joblib.load(pathlib.Path(__file__).with_name("digits.joblib"))


def predict(rows):
    """rows: images as lists of 64 numbers from 0 (white) to 16 (black), row by row. One answer for each."""
    images = numpy.asarray(rows, dtype=float)
    if images.ndim != 2 or images.shape[1] != 64:
        raise ValueError("an image is a list of 64 numbers")
    probabilities = model.predict_proba(images)
    classes = model.classes_[probabilities.argmax(axis=1)]
    return [{"class": digit, "probabilities": row}
            for digit, row in zip(classes.tolist(), probabilities.round(6).tolist())]
