#include "build/build_scripts.hpp"

namespace hearth::build {

const std::string_view kInstallScript = R"sh(set -u
. /hearth/build/env.sh
export HOME=/root TMPDIR=/.hearth-tmp DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
umask 022
mkdir -p "$TMPDIR"

if [ -s /hearth/build/system-packages ]; then
  command -v apt-get >/dev/null || exit 65
  release=
  [ ! -r /etc/os-release ] || release=$(. /etc/os-release; echo "${ID:-} ${VERSION_CODENAME:-}")
  if [ "$release" = "${HEARTH_HOST_RELEASE:-}" ]; then APT_CONFIG=/hearth/build/apt.conf
  else APT_CONFIG=/hearth/build/apt-network.conf; fi
  export APT_CONFIG
  apt-get -q update || exit 67
  # shellcheck disable=SC2046
  apt-get -q install -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
    -o APT::Keep-Downloaded-Packages=false -- $(cat /hearth/build/system-packages) || exit 67
fi

if [ -s /hearth/build/pip-arguments ]; then
  python=$(command -v python3) || python=$(command -v python) || exit 66
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    set -- /hearth/pip/pip-*.whl
    pip_wheel=$1/pip
  fi
  set -- install
  while IFS= read -r argument; do set -- "$@" "$argument"; done < /hearth/build/pip-arguments
  if [ -n "${pip_wheel:-}" ]; then set -- "$python" "$pip_wheel" "$@"; else set -- "$python" -m pip "$@"; fi
  "$@" || exit 68
fi
rm -rf "$TMPDIR"
)sh";

const std::string_view kCheckScript = R"py(import ast, compileall, difflib, importlib.machinery, os, sys

if sys.version_info < (3, 8):
    print('the image has Python %d.%d; models need 3.8 or later' % sys.version_info[:2])
    sys.exit(66)
CODE = '/model'


def fail(message):
    print(message)
    sys.exit(65)


def names_bound(body):
    """Names a module binds at its top level; None when only running it would tell."""
    names = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == '*':
                    return None
                names.add((alias.asname or alias.name).split('.')[0])
        else:
            for child in ast.walk(node):
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                    names.add(child.id)
            for field in ('body', 'orelse', 'finalbody'):
                more = names_bound(getattr(node, field, None) or [])
                if more is None:
                    return None
                names |= more
            for handler in getattr(node, 'handlers', []):
                more = names_bound(handler.body)
                if more is None:
                    return None
                names |= more
    return names


def check(key, entry):
    module, function = entry.split(':')
    path = os.path.join(CODE, *module.split('.'))
    file = next((f for f in (path + '.py', os.path.join(path, '__init__.py')) if os.path.isfile(f)), None)
    if file is None:
        top = module.split('.')[0]
        if os.path.isdir(os.path.join(CODE, top)) or os.path.isfile(os.path.join(CODE, top + '.py')):
            found = os.path.isdir(path)
        else:
            found = importlib.machinery.PathFinder.find_spec(top) is not None
        if not found:
            fail('model.%s = "%s": there is no file %s.py in the folder, and no installed module of that name'
                 % (key, entry, module.replace('.', '/')))
        return
    shown = os.path.relpath(file, CODE)
    try:
        with open(file, 'rb') as source:
            tree = ast.parse(source.read(), shown)
    except SyntaxError as error:
        fail('model.%s = "%s": %s line %s: %s' % (key, entry, shown, error.lineno, error.msg))
    except ValueError as error:
        fail('model.%s = "%s": %s: %s' % (key, entry, shown, error))
    names = names_bound(tree.body)
    if names is None or function in names or '__getattr__' in names:
        return
    functions = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    near = difflib.get_close_matches(function, functions, 1)
    hint = 'did you mean "%s"?' % near[0] if near else (
        'it defines ' + ', '.join(functions[:10]) if functions else 'it defines no function')
    fail('model.%s = "%s": %s has no function %s; %s' % (key, entry, shown, function, hint))


for argument in sys.argv[1:]:
    check(*argument.split('=', 1))
compileall.compile_dir(CODE, quiet=2, maxlevels=50)
)py";

}  // namespace hearth::build
