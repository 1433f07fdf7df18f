#!/bin/sh
# Print the path of the first Python that starts, is new enough and can make virtual environments.
#
#     sh tools/find-python.sh 3.12 3.13 /opt/python/bin/python3
#
# A minor version stands for pythonX.Y on PATH, and for the newest one that pyenv has: the shims of pyenv are
# on PATH, but fail unless a version is chosen. That is why each one is started here.
newest_of_pyenv() {
    ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python 2>/dev/null | sort -rV | head -n 1
}

usable='import ensurepip, sys, venv; sys.exit(print(sys.executable) if sys.version_info >= (3, 11) else 1)'

for wanted in "$@"; do
    case $wanted in
    [0-9]*) candidates="python$wanted $(newest_of_pyenv "$wanted")" ;;
    *) candidates=$wanted ;;
    esac
    for python in $candidates; do
        "$python" -c "$usable" 2>/dev/null && exit
    done
done
cat >&2 <<END
No usable Python found; tried: $*
wrenla needs Python 3.11 or newer with its modules venv and ensurepip (3.12 or 3.13 to deploy to AWS Lambda).
Debian, Ubuntu: apt install python3-venv; with pyenv: pyenv install 3.12; one at a place of its own: make PYTHON=/path/to/python3
END
exit 1
