# Two commands matter: `make demo` and `make test`. Each sets up .venv by itself and needs Python 3.11 or newer.

VENV ?= .venv
OUT ?= out/demo
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := $(VENV)/bin
# What the project's own commands must not inherit: users' PYTHONPATH breaks virtual environments.
export PYTHONPATH =
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help setup demo test lint types fast bench kodak lock clean

help:
	@echo "make demo    evaluate six photographs, solve two problems, write $(OUT)/"
	@echo "make test    lint, type-check, run all tests and the documentation's examples"
	@echo "make fast    the tests without the slow ones"
	@echo "make bench   all benchmarks: speed as ratios, BPG beside the reference, decoders on damaged files, large images"
	@echo "make kodak   the table of README.md, from ../shared/data/kodak"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; none was found on the PATH" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "error: cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup
	@rm -rf $(OUT)
	@$(BIN)/rdp samples $(OUT)/photos
	$(BIN)/rdp evaluate $(OUT)/photos --out $(OUT)/run --metric mse,psnr,ms_ssim,haarpsi \
		--codec 'jpeg:quality=10..90..10' --codec 'webp:quality=5..95..10' --codec 'avif:quality=10..70..10'
	@echo
	@echo "== Rate-distortion: least mean squared error at 0.4 bit/pixel on average"
	$(BIN)/rdp solve $(OUT)/run --minimize mse --at-most bpp=0.4 --out $(OUT)/rd.json
	@echo
	@echo "== Rate-distortion-perception: best perceptual similarity at 0.4 bit/pixel and at least 31 dB on average"
	$(BIN)/rdp solve $(OUT)/run --maximize haarpsi --at-most bpp=0.4 --at-least psnr=31 --out $(OUT)/rdp.json
	@echo
	@$(BIN)/rdp report $(OUT)/run --selection $(OUT)/rd.json --selection $(OUT)/rdp.json --out $(OUT)/report
	@echo
	@echo "Look at $(OUT)/report/report.md and the figures beside it; the table is $(OUT)/run (rdp table show $(OUT)/run)."

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

test: lint types
	$(BIN)/pytest -n auto --maxprocesses 8

fast: setup
	$(BIN)/pytest -n auto --maxprocesses 8 -m 'not slow'

bench: setup
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/solve_process.py
	$(BIN)/python benchmarks/solver.py --only small,large,frontier
	$(BIN)/python benchmarks/streamed.py --images 1000000
	$(BIN)/python benchmarks/evaluate_overhead.py
	$(BIN)/python benchmarks/open_run.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/bpg_fuzz.py --count 100000 --seed 1
	$(BIN)/python benchmarks/bpg_reference.py --speed
	$(BIN)/python benchmarks/bitstream_fuzz.py --count 100000
	$(BIN)/python benchmarks/learned_fuzz.py --count 100000
	-$(BIN)/python benchmarks/same_symbols.py --images ../shared/data/kodak
	$(BIN)/python benchmarks/evaluate_learned.py
	$(BIN)/python benchmarks/large_image.py --side 8192
	-$(BIN)/python benchmarks/bpg_reference.py

kodak: setup
	$(BIN)/python studies/kodak/study.py

# Pin what is installed now: names and versions only.
lock: setup
	$(BIN)/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' > constraints.txt

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis
