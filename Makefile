.PHONY: check lint format interop lock test

# What CI runs: everything below but `format` and `lock`.
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

# After a change of dependencies: write the versions and hashes that everybody gets.
lock:
	uv lock
	uv export --quiet --frozen --no-header --no-emit-project --all-extras --output-file requirements.lock
