import joblib
import numpy

MODEL = None


def setup():
    global MODEL
    MODEL = joblib.load("model.joblib")


def answers(rows):
    probabilities = MODEL.predict_proba(numpy.asarray(rows))
    return [{"class": int(c), "probabilities": p} for c, p in zip(probabilities.argmax(axis=1), probabilities.tolist())]


def predict_row(*row):
    return answers([row])[0]


def predict_batch(rows):
    return answers(rows)
