"""Calling the model: rows one by one, or many rows in one joint call."""
from . import convert


def frame_of(rows):
    """Rows of dataframe mode → DataFrame. A row is one JSON object, or (all of them) a list of values."""
    import pandas

    if all(isinstance(row, dict) for row in rows):
        return pandas.DataFrame.from_records(rows)
    if all(isinstance(row, list) for row in rows) and len({len(row) for row in rows}) == 1:
        return pandas.DataFrame(rows)
    raise convert.Malformed("in dataframe mode a row is one JSON object {column: value}; "
                            "lists of values have to be of one length and not mixed with objects")


def joint_caller(handler, mode):
    """Function of many rows' argument lists → list of as many results. Raises what the handler raises, Malformed,
    or Unsendable when there is not one result for each row."""

    def call_batch(arguments):
        # A row is the argument itself when there is one, else the list of arguments.
        rows = [row[0] if len(row) == 1 else row for row in arguments]
        return convert.rows_of(handler(rows), len(rows))

    def call_frame(arguments):
        frame = frame_of([row[0] if len(row) == 1 and type(row[0]) in (dict, list) else row for row in arguments])
        return convert.rows_of(handler(frame), len(arguments))

    return call_frame if mode == "dataframe" else call_batch


def check_row(arguments, mode):
    """None, or why these arguments cannot be a row of this mode."""
    if mode == "dataframe" and not (len(arguments) == 1 and type(arguments[0]) in (dict, list)) and \
            not (arguments and all(not isinstance(a, (dict, list)) for a in arguments)):
        return "in dataframe mode a row is one JSON object {column: value} or a flat list of values"
    return None
