"""The user's module: import, setup, and what was learned while loading it."""
import gc
import importlib
import sys
import time

from . import errors


class LoadError(Exception):
    """The model cannot be loaded, and Hearth knows better words for it than the exception underneath."""


class Model:
    """A loaded model, or the reason why there is none (`error`)."""

    def __init__(self):
        self.handler = None
        self.ready = None
        self.error = None
        self.phases = {}
        self.modules = []
        self.output = {}

    def state_event(self, state):
        event = {"event": "state", "state": state, "phases": self.phases, "modules": self.modules}
        if self.error:
            event["error"] = self.error
        if self.output:
            event["output"] = self.output
        return event


def load(config, capture):
    """Imports the module and runs setup. Never raises: what goes wrong stands in Model.error."""
    model = Model()
    try:
        began = time.perf_counter()
        try:
            model.handler = _find(config.handler, "handler", config)
            setup = _find(config.setup, "setup", config) if config.setup else None
            model.ready = _find(config.ready, "ready", config) if config.ready else None
            if config.mode == "dataframe":
                _need_pandas()
        finally:
            model.phases["import_ms"] = _ms_since(began)
        began = time.perf_counter()
        if setup is not None:
            _run_setup(setup, config)
        model.phases["setup_ms"] = _ms_since(began)
        model.modules = third_party_modules()
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a model are its failures
        model.error = _describe(error)
    model.output = capture.take_both()
    return model


def preload(names):
    """Imports what a former start has learned, before the fork. Returns what HELLO says about it."""
    began = time.perf_counter()
    failed = {}
    done = []
    for name in names:
        try:
            importlib.import_module(name)
            done.append(name)
        except BaseException as error:  # whatever it is, the model's own import will tell
            failed[name] = errors.one_line(error)
    return {"modules": done, "failed": failed, "import_ms": _ms_since(began)}


def third_party_modules(limit=200):
    """Importable names, at most two levels deep, of what came from site-packages: what a later start may preload."""
    found = []
    for name, module in list(sys.modules.items()):
        if name.count(".") > 1 or "._" in name or name.startswith("_"):
            continue
        origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
        if "/site-packages/" in origin or "/dist-packages/" in origin:
            found.append(name)
    return found[:limit]


def freeze():
    """Keeps the collector away from what was loaded: fewer pages copied after a fork, shorter pauses."""
    gc.collect()
    gc.freeze()


def _ms_since(began):
    return round((time.perf_counter() - began) * 1000, 3)


def _find(name, key, config):
    module_name, _, function_name = name.partition(":")
    if not function_name:
        raise LoadError('%s = "%s" in hearth.toml: write it as "module:function"' % (key, name))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(str(error.name) + "."):
            raise LoadError('%s = "%s" in hearth.toml: there is no module %s in the model\'s folder'
                            % (key, name, module_name)) from None
        raise
    function = module
    for part in function_name.split("."):
        function = getattr(function, part, None)
    if function is None:
        raise LoadError('%s = "%s" in hearth.toml: module %s has no %s%s'
                        % (key, name, module_name, function_name, _nearest(function_name, module)))
    if not callable(function):
        raise LoadError('%s = "%s" in hearth.toml: it is a %s, not a function' % (key, name, type(function).__name__))
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & 0x2a0:  # generator, coroutine, asynchronous generator
        raise LoadError('%s = "%s" in hearth.toml: asynchronous functions and generators are not supported; '
                        "return the result" % (key, name))
    return function


def _nearest(name, module):
    import difflib

    names = [n for n in vars(module) if callable(getattr(module, n, None)) and not n.startswith("_")]
    near = difflib.get_close_matches(name, names, 1)
    return "; did you mean %s?" % near[0] if near else ""


def _need_pandas():
    try:
        importlib.import_module("pandas")
    except ImportError as error:
        raise LoadError('mode = "dataframe" needs pandas in the image: add it to python_packages (%s)' % error)


def _run_setup(setup, config):
    try:
        setup()
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise LoadError('setup = "%s" in hearth.toml: it is called without arguments: %s' % (config.setup, error))
        raise


def _describe(error):
    if isinstance(error, LoadError):
        return {"error": str(error), "type": "LoadError", "stack": ""}
    return errors.describe(error)
