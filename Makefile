.PHONY: audit build check command-line docs format interop lint lock test

# What CI runs: `lint` and `test`.
check: lint test

lint:
	uv run ruff check
	uv run ruff format --check
	uv run mypy
	uv run lint-imports

test:
	uv run pytest

# Oarlock's LLMs inside the real CrewAI, LangChain, pydantic-ai and OpenAI Agents SDK. They do not agree on versions of
# what they need, so there are two environments, made and kept by uv outside of this folder.
INTEROP = uv run --isolated --no-project --with-editable . --with-requirements
interop:
	$(INTEROP) tests/interop/crewai.txt pytest -o addopts=-ra -o filterwarnings=default -m interop tests/interop
	$(INTEROP) tests/interop/others.txt pytest -o addopts=-ra -o filterwarnings=default -m interop tests/interop

format:
	uv run ruff check --fix
	uv run ruff format

# The documentation, into site/; the second writes the page that shows the commands' options.
docs:
	.ci/docs
command-line:
	uv run python .ci/command_line.py > docs/reference/command-line.md

# After a change of dependencies: write the versions and hashes that everybody gets.
lock:
	uv lock
	uv export --quiet --frozen --no-header --no-emit-project --all-extras --all-groups --output-file requirements.lock

# The distributions and the list of what they need, with hashes (CycloneDX). The same source gives the same bytes.
build: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
build:
	rm -rf dist
	uv run hatchling build --directory dist
	uv export --quiet --frozen --no-dev --all-extras --format cyclonedx1.5 --output-file dist/oarlock-sbom.cdx.json

# Asks the public database of vulnerabilities about every package in requirements.lock; without a network it says so and fails.
audit:
	uvx pip-audit --requirement requirements.lock --require-hashes --disable-pip
