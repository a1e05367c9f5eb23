"""Disease progression one year after baseline, from ten measurements: LightGBM, trained by train.py."""
import pathlib

import lightgbm

model = None


def setup():
    """Once per worker, before it takes requests."""
    global model
    model = lightgbm.Booster(model_file=pathlib.Path(__file__).with_name("diabetes.txt"))


def predict(df):
    """df: one patient a row, with the columns age, sex, bmi, bp, s1 … s6; what is missing is treated as unknown."""
    columns = model.feature_name()
    unknown = sorted(set(df.columns) - set(columns))
    if unknown:
        raise ValueError("unknown columns %s; known are %s" % (", ".join(map(str, unknown)), ", ".join(columns)))
    measurements = df.reindex(columns=columns).astype(float)
    return model.predict(measurements).round(2)
